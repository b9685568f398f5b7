"""A target, a command and settings -> the argument list and the environment of one `ssh` child.

Facts are from ssh(1), ssh_config(5) and OpenSSH's source.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from sshfan_async.settings import MOST_SECONDS
from sshfan_async.sshlog.lines import LogStyle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sshfan_async.process.client import Client
    from sshfan_async.settings import Ssh
    from sshfan_async.targets import Target

__all__ = ["common_argv", "master_argv", "ssh_environment", "target_argv"]

# The functions whose messages tell the phases and the verdict, whatever LogLevel says (LogVerbose, from 8.5 on). The
# trailing `*` takes the line number and process id that follow. packet.c as a whole would log every packet.
_LOG_VERBOSE = (
    "ssh.c:resolve_*",
    "sshconnect.c:ssh_connect_direct*",
    "sshconnect.c:ssh_proxy_*",
    "sshconnect.c:verify_host_key*",
    "sshconnect.c:check_host_key*",
    "sshconnect.c:warn_*",
    "sshconnect.c:ssh_login*",
    "sshconnect2.c:ssh_userauth2*",
    "sshconnect2.c:userauth*",
    "sshconnect2.c:input_userauth_failure*",
    "kex.c:kex_exchange_identification*",
    "kex.c:kex_input_newkeys*",
    "kex.c:kex_send_newkeys*",
    "packet.c:sshpkt_vfatal*",
    "clientloop.c:client_loop*",
    "clientloop.c:client_session2_setup*",
    "clientloop.c:client_status_confirm*",
    "clientloop.c:client_input_channel_req*",
    "clientloop.c:server_alive_check*",
    "channels.c:channel_input_open_failure*",
    "mux.c:muxclient*",
    "mux.c:mux_client_request_session*",
    "mux.c:mux_client_hello_exchange*",
)

_ALWAYS = (
    "BatchMode=yes",  # nobody is there to answer a prompt
    "ConnectionAttempts=1",  # retries are ours: counted, paced, logged
    "RequestTTY=no",  # a terminal merges stdout with stderr and changes line ends
    "RemoteCommand=none",  # a user's RemoteCommand beside ours is fatal (ssh.c: main)
    "ClearAllForwardings=yes",  # forwarded ports of one config entry would collide between hosts
    "ForwardX11=no",  # a batch command shows no windows
    "PermitLocalCommand=no",  # nothing runs on this machine but ssh
    "EscapeChar=none",  # standard input passes unchanged
    "ControlMaster=no",  # no master per host stays behind; an existing one is still used
)

# Options that OpenSSH knows from 8.7 on; a user's own setting of each breaks a batch run.
_FROM_8_7 = (
    "ForkAfterAuthentication=no",  # ssh would end with 0 before the command has ended
    "SessionType=default",  # `none` would wait for ever, without a command
    "StdinNull=no",  # our stdin is /dev/null or a pipe already
)


def common_argv(ssh: Ssh, client: Client, *, connect_timeout: float | None = None) -> tuple[str, ...]:
    """Return the part of the argument list that all targets share: the program and its options.

    `connect_timeout`: seconds of our own clock. It fires first; ssh's own ConnectTimeout, a second later, is for an
    ssh that has outlived us (it bounds the TCP connection and the server's first line).

    The first value that ssh obtains for an option wins (ssh_config(5)): those of `ssh.options` come first, ours
    follow, and both win over every file.
    """
    argv = [os.fspath(ssh.program)]
    if ssh.config_file is not None:
        argv += ["-F", os.fspath(ssh.config_file)]
    argv += ssh.option_arguments()
    argv += [f"-o{option}" for option in _ALWAYS]
    if client.version is not None and client.version >= (8, 7):
        argv += [f"-o{option}" for option in _FROM_8_7]
    if connect_timeout is not None:
        argv += [f"-oConnectTimeout={min(math.ceil(connect_timeout) + 1, MOST_SECONDS)}"]
    if client.version is not None and client.version < (8, 3):
        # Until 8.3 a master's client logs nothing when it sends the command: nobody could say whether it was sent.
        argv += ["-oControlPath=none"]
    # LogLevel as an option, not -v: a jump host's ssh would inherit -v and write into the command's stderr.
    if client.log_style is LogStyle.DEBUG1:
        argv += ["-oLogLevel=DEBUG1"]
    else:
        # ERROR keeps the server's banner off stderr (sshconnect2.c: input_userauth_banner).
        argv += ["-oLogLevel=ERROR", f"-oLogVerbose={','.join(_LOG_VERBOSE)}"]
    return tuple(argv)


def target_argv(
    common: tuple[str, ...], target: Target, command: str, *, user: str | None, log_path: str
) -> list[str]:
    """Return the whole argument list for one child; a target's own user wins over `user`."""
    return [*_addressed(list(common), target, user=user, log_path=log_path), command]


def _addressed(argv: list[str], target: Target, *, user: str | None, log_path: str) -> list[str]:
    argv += ["-E", log_path]
    if target.port is not None:
        argv += ["-p", str(target.port)]
    effective_user = user if target.user is None else target.user
    if effective_user is not None:
        argv += ["-l", effective_user]
    # Without `--`, ssh reads options after the host name too.
    return [*argv, "--", target.host]


# What a fleet's connection needs beyond a command's options; those of `common_argv` follow, and the first value wins.
_MASTER = (
    "ControlPersist=no",  # ssh would go into the background: it stays our child
    # A link that freezes is noticed within a minute; a server that keeps no state of it holds it up too.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
)


def master_argv(
    common: tuple[str, ...], target: Target, *, user: str | None, log_path: str, socket_path: str
) -> list[str]:
    """Return the whole argument list for a ControlMaster without a session, which listens at `socket_path`.

    `-N`, `-M` and `-S` come first: whatever `-o` says of session, master and path is then passed over (ssh.c: main;
    readconf.c: the first value wins). The keep-alive comes behind the options of `Ssh`, which therefore win.
    """
    argv = [common[0], "-N", "-M", "-S", socket_path, *common[1:], *(f"-o{option}" for option in _MASTER)]
    return _addressed(argv, target, user=user, log_path=log_path)


_ASKS_BY_WINDOW = frozenset({b"DISPLAY", b"WAYLAND_DISPLAY", b"SSH_ASKPASS_REQUIRE"})


def ssh_environment(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes] | None:
    """Return the environment for every child: `environment`, and no window that asks for a password.

    None where there can be none, and the child may inherit ours as it is: ssh needs a display for it, or to be told
    by SSH_ASKPASS_REQUIRE (readpass.c). An environment of its own costs 3 % of what a child costs us. It is in bytes,
    so that it need not be encoded again for each. SSH_ASKPASS_REQUIRE is read from 8.4 on; before that, ssh asks by a
    window only where stdin is no terminal and BatchMode is off.
    """
    if _ASKS_BY_WINDOW.isdisjoint(environment):
        return None
    return {**environment, b"SSH_ASKPASS_REQUIRE": b"never"}
