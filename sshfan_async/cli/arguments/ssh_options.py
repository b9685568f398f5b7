"""`-o`: turn `Key=value` of ssh_config, or arguments of ssh as clush takes them, into an `Ssh`."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from sshfan_async.errors import InvalidSetting
from sshfan_async.settings import Ssh

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ssh_settings"]

_KEY_VALUE = re.compile(r"\s*([A-Za-z][A-Za-z0-9]*)\s*[=\s]\s*(.*\S)\s*")

# ssh(1): letters that take a value, and the option of ssh_config(5) that each sets.
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
_FLAGS_WITHOUT_EFFECT = frozenset("Tnqx")
"""Letters that sshfan accepts and drops: it runs without a terminal, standard input, messages and X11 anyway."""

# Accepted and dropped: scripts for other tools set them, and sshfan sets them anyway. Keys compare in lower case.
_VALUES_WITHOUT_EFFECT = {
    "batchmode": {"yes", "true"},
    "controlmaster": {"no", "false"},
    "loglevel": {"quiet", "fatal", "error", "info"},
    "requesttty": {"no", "false"},
}


def ssh_settings(config_file: str | None, values: Iterable[str]) -> Ssh:
    """Return the settings from `--ssh-config` and all `-o` options.

    Raises:
        InvalidSetting: a value is not an ssh option, or is one that sshfan sets itself.

    """
    options: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    for value in values:
        for key, text in _options(value):
            if key == "-F":
                config_file = text
            elif text.lower() not in _VALUES_WITHOUT_EFFECT.get(key.lower(), ()):
                # Pass all values on: ssh uses the first, or all of them (IdentityFile).
                options.setdefault(spelled.setdefault(key.lower(), key), []).append(text)
    return Ssh(config_file=config_file, options=options)


def _options(value: str) -> Iterator[tuple[str, str]]:
    if not value.lstrip().startswith("-"):
        yield _key_value(value)
        return
    try:
        arguments = shlex.split(value)
    except ValueError as error:
        raise InvalidSetting(f"-o {value!r} cannot be split into arguments: {error}") from None
    remaining = iter(arguments)
    for argument in remaining:
        yield from _argument(argument, remaining, value)


def _argument(argument: str, remaining: Iterator[str], whole: str) -> Iterator[tuple[str, str]]:
    """Yield the options that one argument sets. As in getopt(3), flags may share a dash: `-4Ap22`."""
    if not argument.startswith("-") or argument in ("-", "--"):
        raise InvalidSetting(f"-o {whole!r}: {argument!r} is not an ssh argument: give Key=value or '-p 2022'")
    for at, letter in enumerate(argument[1:], 2):
        if letter in _FLAGS_WITHOUT_EFFECT:
            continue
        if letter in _FLAGS:
            yield _FLAGS[letter]
            continue
        if letter not in _WITH_VALUE and letter not in "oF":
            raise InvalidSetting(f"-o {whole!r}: ssh's -{letter} cannot be used with sshfan: leave it out")
        text = argument[at:] or next(remaining, "")
        if not text:
            raise InvalidSetting(f"-o {whole!r}: ssh's -{letter} needs a value")
        if letter == "o":
            yield _key_value(text)
        else:
            yield _WITH_VALUE.get(letter, "-F"), text
        return


def _key_value(text: str) -> tuple[str, str]:
    found = _KEY_VALUE.fullmatch(text)
    if found is None:
        raise InvalidSetting(f"-o {text!r} is not an ssh option: give Key=value, or arguments such as '-p 2022'")
    return found[1], found[2]
