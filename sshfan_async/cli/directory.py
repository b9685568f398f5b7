"""Write files into a directory that other users may be able to write to as well."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["NewFile", "OutputDirectory"]

_LONGEST_PART = 200
"""Bytes of a file's name that the name of its temporary file contains. NAME_MAX is 255 on most Linux file systems."""


class OutputDirectory:
    """An open directory. Its files are reached through its descriptor, whatever happens to its path meanwhile."""

    def __init__(self, option: str, path: str) -> None:
        """Open the directory. `option` names it in messages.

        Raises:
            OSError: the directory cannot be opened.

        """
        self._option = option
        self._path = path
        # O_PATH (Linux) needs no permission to list the directory.
        self.descriptor = os.open(path, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)

    def __str__(self) -> str:
        return f"{self._option} {self._path!r}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the directory."""
        os.close(self.descriptor)

    @property
    def identity(self) -> tuple[int, ...]:
        """A value that is equal for two paths of one directory."""
        return _identity(os.fstat(self.descriptor))

    def others_may_write(self) -> bool:
        """Return whether users other than us and root may write in the directory."""
        found = os.fstat(self.descriptor)
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH:
            return True
        return bool(found.st_mode & stat.S_IWGRP) and not _is_private(found.st_gid)

    def check(self, name: str) -> None:
        """Check that the file can be replaced.

        Raises:
            OSError: it exists, and is no regular file.

        """
        old = self.status(name)
        if old is not None and not stat.S_ISREG(old.st_mode):
            raise OSError(errno.EINVAL, f"it is {_kind(old.st_mode)}, not a regular file")

    def check_writable(self) -> None:
        """Check that files can be written in the directory, with a temporary file.

        Raises:
            OSError: they cannot.

        """
        NewFile(self, "").discard()

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of the file or link itself, or None if there is none."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def message(self, name: str, error: OSError) -> str:
        """Return a message about `error` that names the option and the file; if `name` is empty, the directory."""
        path = os.path.join(self._path, name) if name else self._path
        return f"cannot write to {self._option} {path!r}: {error.strerror}"


class NewFile:
    """A temporary file beside the file `name`, which it replaces when it is complete.

    Another user who may write in the directory can exchange it. So it is reached without following links, and only
    used while it is the file that we created.
    """

    __slots__ = ("_directory", "_identity", "_name", "_temporary")

    def __init__(self, directory: OutputDirectory, name: str) -> None:
        """Create the temporary file, with the permissions of the old file if that is ours.

        Raises:
            OSError: it cannot be created.

        """
        self._directory = directory
        self._name = name
        part = os.fsdecode(os.fsencode(name)[:_LONGEST_PART])
        self._temporary = f".{part}.sshfan-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(self._temporary, flags, 0o666, dir_fd=directory.descriptor)
        try:
            self._identity = _identity(os.fstat(descriptor))
            old = directory.status(name) if name else None
            if old is not None and stat.S_ISREG(old.st_mode) and old.st_uid == os.geteuid():
                os.fchmod(descriptor, old.st_mode & 0o777 | stat.S_IWUSR)
        except OSError:
            self.discard()
            raise
        finally:
            os.close(descriptor)

    def append(self, data: bytes) -> None:
        """Write `data` at the end.

        Raises:
            OSError: it cannot be written.

        """
        self._check(self._directory.status(self._temporary))
        # Opened for each chunk: open files would count against the descriptors that the children need.
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._temporary, flags, dir_fd=self._directory.descriptor)
        try:
            self._check(os.fstat(descriptor))
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)

    def replace(self) -> None:
        """Give the file its name, in place of the old file. A link is replaced, not followed.

        Raises:
            OSError: the old file cannot be replaced.

        """
        self._check(self._directory.status(self._temporary))
        descriptor = self._directory.descriptor
        os.replace(self._temporary, self._name, src_dir_fd=descriptor, dst_dir_fd=descriptor)

    def discard(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError):
            os.unlink(self._temporary, dir_fd=self._directory.descriptor)

    def _check(self, found: os.stat_result | None) -> None:
        if found is None or _identity(found) != self._identity:
            raise OSError(errno.ESTALE, "another user has exchanged the temporary file")


def _identity(found: os.stat_result) -> tuple[int, ...]:
    # Owner and type: the number of a removed file is given to the next new one.
    return found.st_dev, found.st_ino, found.st_uid, stat.S_IFMT(found.st_mode)


def _is_private(group: int) -> bool:
    """Return whether the group is the user's own: the groups of Debian and Fedora that have a user's name."""
    try:
        user, entry = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and entry.gr_name == user.pw_name and set(entry.gr_mem) <= {user.pw_name}


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a FIFO" if stat.S_ISFIFO(mode) else "a device or socket"
