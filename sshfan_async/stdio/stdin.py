"""What a caller may give as the hosts' standard input, checked at the door."""

from __future__ import annotations

import io
import reprlib
from typing import TYPE_CHECKING, BinaryIO, cast

from sshfan_async.errors import InvalidSetting

if TYPE_CHECKING:
    from sshfan_async.settings import Input

__all__ = ["check_input", "encoded"]


def check_input(value: object) -> Input | None:
    """Return `value` where it can be somebody's standard input.

    Raises:
        InvalidSetting: it is neither bytes, text nor a binary file.

    """
    if value is None or isinstance(value, (bytes, bytearray, memoryview)):
        return value
    if isinstance(value, str):
        try:
            encoded(value)
        except UnicodeEncodeError as error:
            raise InvalidSetting(f"stdin={reprlib.repr(value)} cannot be encoded: {error}") from None
        return value
    if isinstance(value, io.TextIOBase) or not callable(getattr(value, "read", None)):
        raise InvalidSetting(f"stdin={value!r}: give bytes, text, or a file opened in binary mode")
    if getattr(value, "closed", False) or (isinstance(value, io.IOBase) and not value.readable()):
        raise InvalidSetting(f"stdin={value!r} is closed, or not open for reading")
    return cast("BinaryIO", value)


def encoded(text: str) -> bytes:
    """Return text as the hosts get it."""
    return text.encode("utf-8", "surrogateescape")
