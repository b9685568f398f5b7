"""Checks the standard input that a caller gives (`stdin=`), and encodes text."""

from __future__ import annotations

import io
import reprlib
from typing import TYPE_CHECKING, BinaryIO, cast

from sshfan_async.errors import InvalidSetting

if TYPE_CHECKING:
    from sshfan_async.settings import Input

__all__ = ["check_input", "encoded"]


def check_input(value: object) -> Input | None:
    """Return `value` if it can be a command's standard input.

    Raises:
        InvalidSetting: it is not bytes, text or a binary file, or it cannot be read or encoded.

    """
    if value is None or isinstance(value, (bytes, bytearray, memoryview)):
        return value
    if isinstance(value, str):
        try:
            encoded(value)
        except UnicodeEncodeError as error:
            raise InvalidSetting(f"stdin={reprlib.repr(value)} cannot be encoded as UTF-8: {error}") from None
        return value
    if isinstance(value, io.TextIOBase) or not callable(getattr(value, "read", None)):
        raise InvalidSetting(f"stdin={value!r}: give bytes, text, or a file opened in binary mode")
    if getattr(value, "closed", False) or (isinstance(value, io.IOBase) and not value.readable()):
        raise InvalidSetting(f"stdin={value!r} is closed, or not open for reading: open it with mode 'rb'")
    return cast("BinaryIO", value)


def encoded(text: str) -> bytes:
    """Return the bytes that the hosts get for `text`."""
    return text.encode("utf-8", "surrogateescape")
