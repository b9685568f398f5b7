from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from sshfan_async import InvalidSetting, Ssh, Target
from sshfan_async.process.argv import common_argv, ssh_environment, target_argv
from sshfan_async.process.client import Client
from sshfan_async.settings import command_text
from sshfan_async.sshlog.lines import LogStyle

if TYPE_CHECKING:
    from pathlib import Path

NEW = Client((9, 2))


def argv(target: Target, *, user: str | None = None, ssh: Ssh | None = None, client: Client = NEW) -> list[str]:
    return target_argv(common_argv(ssh or Ssh(), client), target, "uptime -p", user=user, log_path="/log")


# the client's version


@pytest.mark.parametrize(
    ("banner", "version", "style"),
    [
        ("OpenSSH_9.2p1 Debian-2+deb12u3, OpenSSL 3.0.15 3 Sep 2024\n", (9, 2), LogStyle.LOGVERBOSE),
        ("OpenSSH_for_Windows_8.1p1, LibreSSL 3.0.2\n", (8, 1), LogStyle.DEBUG1),
        ("OpenSSH_8.5p1, OpenSSL 1.1.1k\n", (8, 5), LogStyle.LOGVERBOSE),
        ("OpenSSH_8.4p1 Debian-5, OpenSSL 1.1.1k\n", (8, 4), LogStyle.DEBUG1),
        ("OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.1\n", (10, 0), LogStyle.LOGVERBOSE),
        ("Dropbear v2022.83\n", None, LogStyle.DEBUG1),
        ("", None, LogStyle.DEBUG1),
    ],
)
def test_version_is_read_from_the_banner(banner: str, version: tuple[int, int] | None, style: LogStyle) -> None:
    client = Client.from_banner(banner)
    assert client.version == version
    assert client.log_style is style


def test_options_that_a_client_does_not_know_are_not_given_to_it() -> None:
    old = common_argv(Ssh(), Client((8, 4)))
    assert not any("ForkAfterAuthentication" in each or "LogVerbose" in each for each in old)
    assert "-oLogLevel=DEBUG1" in old


def test_master_compares_a_packets_messages_with_the_first_patterns_only() -> None:
    (patterns,) = (each for each in common_argv(Ssh(), NEW, for_masters=True) if each.startswith("-oLogVerbose="))
    (others,) = (each for each in common_argv(Ssh(), NEW) if each.startswith("-oLogVerbose="))
    excluded = "!channels.c:channel_*,!packet.c:ssh_packet_*,"
    assert patterns == others.replace("=", f"={excluded}", 1)


def test_every_option_is_one_that_this_machines_ssh_takes(tmp_path: Path) -> None:
    shown = subprocess.run(["ssh", "-V"], check=True, capture_output=True, text=True)
    log = tmp_path / "log"
    words = target_argv(
        common_argv(Ssh(config_file="/dev/null"), Client.from_banner(shown.stderr)),
        Target("web1", "ops", 2222),
        "uptime",
        user=None,
        log_path=os.fspath(log),
    )
    ran = subprocess.run([words[0], "-G", *words[1:]], check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    settings = dict(line.partition(" ")[::2] for line in ran.stdout.splitlines())
    wanted = {"hostname": "web1", "user": "ops", "port": "2222", "batchmode": "yes", "controlmaster": "false"}
    assert {key: settings[key] for key in wanted} == wanted


# arguments


def test_host_and_command_follow_a_double_dash() -> None:
    assert argv(Target("web1"))[-3:] == ["--", "web1", "uptime -p"]


def test_user_and_port_of_the_target_win() -> None:
    words = argv(Target("web1", "root", 2222), user="ops")
    assert words[words.index("-l") + 1] == "root"
    assert words[words.index("-p") + 1] == "2222"
    assert "ops" not in words


def test_user_of_the_run_serves_targets_without_one() -> None:
    words = argv(Target("web1"), user="ops")
    assert words[words.index("-l") + 1] == "ops"


def test_no_user_and_no_port_are_passed_if_none_is_named() -> None:
    words = argv(Target("web1"))
    assert "-l" not in words
    assert "-p" not in words


def test_options_of_the_caller_come_before_ours() -> None:
    words = argv(Target("web1"), ssh=Ssh(config_file="/c", options={"ConnectionAttempts": 3}))
    assert words[:3] == ["ssh", "-F", "/c"]
    assert words.index("-oConnectionAttempts=3") < words.index("-oConnectionAttempts=1")


def test_host_key_policy_is_left_to_the_user() -> None:
    assert not any("hostkey" in each.lower() or "knownhosts" in each.lower() for each in argv(Target("web1")))


@pytest.mark.parametrize("name", [b"DISPLAY", b"WAYLAND_DISPLAY", b"SSH_ASKPASS_REQUIRE"])
def test_environment_asks_nobody_for_a_password(name: bytes) -> None:
    environment = {b"PATH": b"/bin", name: b"force"}
    assert ssh_environment(environment) == {**environment, b"SSH_ASKPASS_REQUIRE": b"never"}


def test_environment_in_which_no_window_can_be_opened_serves_as_it_is() -> None:
    assert ssh_environment({b"PATH": b"/bin", b"SSH_ASKPASS": b"/bin/ask"}) is None


# the command


def test_text_goes_out_as_it_is() -> None:
    assert command_text("echo $HOME  'a b'\n") == "echo $HOME  'a b'\n"


def test_arguments_are_quoted_for_the_shell() -> None:
    assert command_text(["printf", "%s\n", "a b", "$HOME", "it's"]) == "printf '%s\n' 'a b' '$HOME' 'it'\"'\"'s'"


@pytest.mark.parametrize("command", ["", [], "a\0b", ["a", "\0"], b"uptime", ["a", 1], 7, None, {"a": "b"}, "\ud800"])
def test_command_that_cannot_be_sent_is_refused(command: Any) -> None:
    with pytest.raises(InvalidSetting, match="command"):
        command_text(command)
