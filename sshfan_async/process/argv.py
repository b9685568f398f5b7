"""Builds the argument list and the environment of an `ssh` child.

The facts are from ssh(1), ssh_config(5) and OpenSSH's source.
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

# The functions whose messages show the phases and the verdict, at any LogLevel (LogVerbose, from 8.5 on). The `*` at
# the end matches the line number and process id. Every line costs a write here and a line to parse: errors, as those
# about host keys, are logged anyway (LogLevel=ERROR). All of packet.c would log every packet.
_LOG_VERBOSE = (
    "ssh.c:resolve_*",
    "sshconnect.c:ssh_connect_direct*",
    "sshconnect.c:ssh_proxy_*",
    "sshconnect.c:ssh_login*",
    "sshconnect2.c:ssh_userauth2*",
    "sshconnect2.c:userauth():*",
    "kex.c:kex_exchange_identification*",
    "kex.c:kex_input_newkeys*",
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

# The functions that log each packet of a fleet's command. ssh compares every message with the patterns one after the
# other, and stops at the first that excludes it (match.c: match_pattern_list). A master without a session needs no
# message of theirs.
_NOT_OF_MASTERS = ("!channels.c:channel_*", "!packet.c:ssh_packet_*")

_ALWAYS = (
    "BatchMode=yes",  # nobody can answer a prompt
    "ConnectionAttempts=1",  # sshfan retries itself: counted, paced, logged
    "RequestTTY=no",  # a terminal merges stdout with stderr and changes line ends
    "RemoteCommand=none",  # ssh accepts no command on the command line beside RemoteCommand (ssh.c: main)
    "ClearAllForwardings=yes",  # the children would all try to listen on the same forwarded ports
    "ForwardX11=no",  # a batch command shows no windows
    "PermitLocalCommand=no",  # nothing but ssh runs on this machine
    "EscapeChar=none",  # standard input passes unchanged
    "ControlMaster=no",  # leaves no master behind for each host; an existing master is still used
)

# Options that exist from 8.7 on. Another value in the user's ssh_config would break a batch run.
_FROM_8_7 = (
    "ForkAfterAuthentication=no",  # ssh would exit with 0 before the command ends
    "SessionType=default",  # `none` would wait for ever, without a command
    "StdinNull=no",  # ssh would not read the standard input that it is given
)


def common_argv(
    ssh: Ssh, client: Client, *, connect_timeout: float | None = None, for_masters: bool = False
) -> tuple[str, ...]:
    """Return the part of the argument list that all targets share: the program and its options.

    `connect_timeout`: seconds of the run's clock. ssh's own ConnectTimeout is at least a second longer: it ends an
    ssh that outlives this process (it limits the TCP connection and the wait for the server's first line).
    `for_masters`: the list is for `master_argv`.

    ssh uses the first value that it gets for an option (ssh_config(5)). So `ssh.options` win over the options of this
    module, and both win over every file.
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
        # Before 8.3, ssh does not log that it sends a command over a master.
        argv += ["-oControlPath=none"]
    # Not -v: a jump host's ssh would inherit it, and write its log to the command's stderr.
    if client.log_style is LogStyle.DEBUG1:
        argv += ["-oLogLevel=DEBUG1"]
    else:
        # ERROR keeps the server's banner off stderr (sshconnect2.c: input_userauth_banner).
        patterns = (*_NOT_OF_MASTERS, *_LOG_VERBOSE) if for_masters else _LOG_VERBOSE
        argv += ["-oLogLevel=ERROR", f"-oLogVerbose={','.join(patterns)}"]
    return tuple(argv)


def target_argv(
    common: tuple[str, ...], target: Target, command: str, *, user: str | None, log_path: str
) -> list[str]:
    """Return the whole argument list for one child. A target's own user wins over `user`."""
    return [*_with_target(list(common), target, user=user, log_path=log_path), command]


def _with_target(argv: list[str], target: Target, *, user: str | None, log_path: str) -> list[str]:
    argv += ["-E", log_path]
    if target.port is not None:
        argv += ["-p", str(target.port)]
    effective_user = user if target.user is None else target.user
    if effective_user is not None:
        argv += ["-l", effective_user]
    # Without `--`, ssh also reads options after the host name.
    return [*argv, "--", target.host]


# Options of a fleet's connection, after those of `common_argv`.
_MASTER = (
    "ControlPersist=no",  # ssh would go into the background, and would no longer be our child
    # ssh notices a dead connection within a minute.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
)


def master_argv(
    common: tuple[str, ...], target: Target, *, user: str | None, log_path: str, socket_path: str
) -> list[str]:
    """Return the whole argument list for a ControlMaster without a session, which listens at `socket_path`.

    ssh uses the first value of an option (readconf.c). So `-N`, `-M` and `-S` come first, and win over any `-o` for
    session, master or path (ssh.c: main). The keep-alive options come last, so `Ssh.options` win over them.
    """
    argv = [common[0], "-N", "-M", "-S", socket_path, *common[1:], *(f"-o{option}" for option in _MASTER)]
    return _with_target(argv, target, user=user, log_path=log_path)


_ASKPASS_VARIABLES = frozenset({b"DISPLAY", b"WAYLAND_DISPLAY", b"SSH_ASKPASS_REQUIRE"})


def ssh_environment(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes] | None:
    """Return an environment in which ssh opens no window to ask for a password, or None to inherit ours.

    ssh opens such a window only if it has a display, or if SSH_ASKPASS_REQUIRE asks for it (readpass.c). If neither
    is set, the child inherits our environment: a separate one adds 3 % to the cost of a child. The variables are
    bytes, so that they are not encoded again for each child. Before 8.4, ssh ignores SSH_ASKPASS_REQUIRE, and
    BatchMode=yes is enough.
    """
    if _ASKPASS_VARIABLES.isdisjoint(environment):
        return None
    return {**environment, b"SSH_ASKPASS_REQUIRE": b"never"}
