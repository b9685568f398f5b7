from __future__ import annotations

import pytest

from sshfan_async.cli.arguments.ssh_options import ssh_settings
from sshfan_async.errors import InvalidSetting


@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        (["Port=2022"], ["-oPort=2022"]),
        (["Port 2022"], ["-oPort=2022"]),
        (["-p 2022 -i key"], ["-oPort=2022", "-oIdentityFile=key"]),
        (["-p2022 -i 'my key'"], ["-oPort=2022", "-oIdentityFile=my key"]),
        (["-i one", "-i two"], ["-oIdentityFile=one", "-oIdentityFile=two"]),
        (["-oPort=1 -o Port=2"], ["-oPort=1", "-oPort=2"]),
        (["port=1", "Port=2"], ["-oport=1", "-oport=2"]),
        (["-4AC -J jump"], ["-oAddressFamily=inet", "-oForwardAgent=yes", "-oCompression=yes", "-oProxyJump=jump"]),
        (["-oBatchMode=yes -oStrictHostKeyChecking=no"], ["-oStrictHostKeyChecking=no"]),
        (["-q -x -T -n", "LogLevel=ERROR"], []),
        (["ProxyCommand=nc -x proxy %h %p"], ["-oProxyCommand=nc -x proxy %h %p"]),
    ],
)
def test_options_as_ssh_and_clush_take_them(values: list[str], arguments: list[str]) -> None:
    assert ssh_settings(None, values).option_arguments() == arguments


def test_a_configuration_among_the_arguments() -> None:
    assert ssh_settings(None, ["-F config"]).config_file == "config"


@pytest.mark.parametrize("value", ["x", "-W a:1", "-p", "-i 'open", "-p 22 host", "-oBatchMode=no", "-v", "=x", "--"])
def test_what_cannot_be_used_is_refused(value: str) -> None:
    with pytest.raises(InvalidSetting):
        ssh_settings(None, [value])
