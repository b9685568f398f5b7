"""`-o`: ssh_config's `Key=value`, or arguments of ssh as clush takes them → the settings of `Ssh`."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from sshfan_async.errors import InvalidSetting
from sshfan_async.settings import Ssh

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ssh_settings"]

_ASSIGNMENT = re.compile(r"\s*([A-Za-z][A-Za-z0-9]*)\s*[=\s]\s*(.*\S)\s*")

# ssh(1): the argument's letter, and the option of ssh_config(5) that it sets.
_WITH_VALUE = {
    "B": "BindInterface",
    "I": "PKCS11Provider",
    "J": "ProxyJump",
    "P": "Tag",
    "b": "BindAddress",
    "c": "Ciphers",
    "i": "IdentityFile",
    "l": "User",
    "m": "MACs",
    "p": "Port",
}
_FLAGS = {
    "4": ("AddressFamily", "inet"),
    "6": ("AddressFamily", "inet6"),
    "A": ("ForwardAgent", "yes"),
    "C": ("Compression", "yes"),
    "K": ("GSSAPIAuthentication", "yes"),
    "a": ("ForwardAgent", "no"),
    "k": ("GSSAPIDelegateCredentials", "no"),
}
_GRANTED = frozenset("Tnqx")
"""Arguments that ask for what is so anyway: no terminal, no standard input, no messages, no X11."""

# What people write in scripts for other tools, and what is so anyway; lower case, as ssh compares the keys.
_SO_ANYWAY = {
    "batchmode": {"yes", "true"},
    "controlmaster": {"no", "false"},
    "loglevel": {"quiet", "fatal", "error", "info"},
    "requesttty": {"no", "false"},
}


def ssh_settings(config_file: str | None, values: Iterable[str]) -> Ssh:
    """Return the settings that `--ssh-config` and all the `-o` make.

    Raises:
        InvalidSetting: one of them is no option, or one that sshfan sets itself.

    """
    options: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    for value in values:
        for key, text in _options(value):
            if key == "-F":
                config_file = text
            elif text.lower() not in _SO_ANYWAY.get(key.lower(), ()):
                # ssh itself knows which of several values counts: the first, or all (IdentityFile).
                options.setdefault(spelled.setdefault(key.lower(), key), []).append(text)
    return Ssh(config_file=config_file, options=options)


def _options(value: str) -> Iterator[tuple[str, str]]:
    if not value.lstrip().startswith("-"):
        yield _assigned(value)
        return
    try:
        arguments = shlex.split(value)
    except ValueError as error:
        raise InvalidSetting(f"-o {value!r} cannot be split into arguments: {error}") from None
    left = iter(arguments)
    for argument in left:
        yield from _argument(argument, left, value)


def _argument(argument: str, left: Iterator[str], whole: str) -> Iterator[tuple[str, str]]:
    """Yield what one argument sets, as getopt(3) reads it: flags may share a dash, a value may follow its letter."""
    if not argument.startswith("-") or argument in ("-", "--"):
        raise InvalidSetting(f"-o {whole!r}: {argument!r} is not an argument of ssh: give Key=value or '-p 2022'")
    for at, letter in enumerate(argument[1:], 2):
        if letter in _GRANTED:
            continue
        if letter in _FLAGS:
            yield _FLAGS[letter]
            continue
        if letter not in _WITH_VALUE and letter not in "oF":
            raise InvalidSetting(f"-o {whole!r}: ssh's -{letter} cannot be used here")
        text = argument[at:] or next(left, "")
        if not text:
            raise InvalidSetting(f"-o {whole!r}: -{letter} lacks its value")
        if letter == "o":
            yield _assigned(text)
        else:
            yield _WITH_VALUE.get(letter, "-F"), text
        return


def _assigned(text: str) -> tuple[str, str]:
    found = _ASSIGNMENT.fullmatch(text)
    if found is None:
        raise InvalidSetting(f"-o {text!r} is not an option of ssh: give Key=value, or arguments such as '-p 2022'")
    return found[1], found[2]
