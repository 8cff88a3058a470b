"""A file without a name until it is whole (O_TMPFILE, open(2)): even a kill -9 leaves nothing of it."""

from __future__ import annotations

import contextlib
import errno
import os

from memtop.dump.leftovers import create
from memtop.linux.directio import open_direct
from memtop.linux.rename import rename_new
from memtop.linux.vmread import OutFile

_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""On file systems without hard links: those of cameras and of Windows, many in FUSE."""


class Nameless:
    """A new file, for its owner alone; where the file system has no such files, a hidden name.

    Attributes:
        fd: written at any offset.
        direct: the same past the page cache; -1: not possible.

    Args:
        directory_fd: where it is to live; stays the caller's.
        name: what it will be called, for the hidden name.
        cached: it will be read again at once: not past the page cache.

    Raises:
        OSError: it can't be made.
    """

    def __init__(self, directory_fd: int, name: str, *, cached: bool = False) -> None:
        self.fd = self.direct = -1
        self._directory = directory_fd
        self._hidden: str | None = None
        self._open(name)
        if not cached:
            self.direct = open_direct(self.fd)

    def _open(self, name: str) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            self.fd = os.open(".", flags | os.O_TMPFILE, 0o600, dir_fd=self._directory)
            return
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
        self.fd, self._hidden = create(self._directory, name)

    @property
    def out(self) -> OutFile:
        """For whoever writes pages."""
        return OutFile(self.fd, self.direct)

    def link(self, name: str, directory_fd: int | None = None) -> None:
        """Gives the file this name, when all of it is on the disk; nothing that is there is replaced.

        Args:
            name: the file's.
            directory_fd: where; the directory it lives in, if not said.

        Raises:
            OSError: something has that name, or the disk is full.
        """
        to = self._directory if directory_fd is None else directory_fd
        os.fsync(self.fd)
        if self._hidden is None:
            os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=to, follow_symlinks=True)
            return
        try:
            os.link(self._hidden, name, src_dir_fd=self._directory, dst_dir_fd=to)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            rename_new(self._directory, self._hidden, name, to)
            self._hidden = None
        self._forget()

    def _forget(self) -> None:
        if self._hidden is not None:
            os.unlink(self._hidden, dir_fd=self._directory)
            self._hidden = None

    def close(self) -> None:
        """Lets go; without a name, it is gone. Idempotent."""
        with contextlib.suppress(OSError):
            self._forget()
        for fd in (self.fd, self.direct):
            if fd >= 0:
                os.close(fd)
        self.fd = self.direct = -1
