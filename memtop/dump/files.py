"""Files of dumps: opened for reading, read and written at an offset, and their holes."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator

from memtop.linux.errors import Failed
from memtop.linux.fallocate import punch_hole
from memtop.model.layout import PAGE, PIECE
from memtop.model.names import clean_text

_STEP = 1 << 20

MOST_OPEN = 16
"""Files that a chain has open at a time."""

SPARSE = 16
"""What tells where things are in a dump has no long holes: it may be so many times as long as what is stored
of it, if a tool that copies files made holes of its zeros."""


def open_dump(path: str) -> int:
    """Opens a file for reading; nothing but a regular one, as a pipe could keep one waiting for ever.

    Raises:
        Failed: it can't be opened.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise explain_input(error, path) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Failed(f"reading {clean_text(path)} failed", "it is no regular file")
    return fd


class OpenFiles:
    """Files to read, ``MOST_OPEN`` of them open at a time: the one that was used longest ago is closed first.

    A chain may have more files than a process may open (RLIMIT_NOFILE).
    """

    def __init__(self) -> None:
        self._most = MOST_OPEN
        self._open: OrderedDict[str, int] = OrderedDict()
        self._known: dict[str, tuple[int, ...]] = {}

    def fd(self, path: str) -> int:
        """The file, open.

        Raises:
            Failed: it can't be opened, or is another one than before.
        """
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        while len(self._open) >= self._most:
            self._close_oldest()
        fd = self._opened(path)
        self._open[path] = fd
        is_now = os.fstat(fd)
        identity = (is_now.st_dev, is_now.st_ino, is_now.st_size)
        if self._known.setdefault(path, identity) != identity:
            raise Failed(f"reading {clean_text(path)} failed", "it was replaced by another file meanwhile")
        return fd

    def _opened(self, path: str) -> int:
        while True:
            try:
                return open_dump(path)
            except Failed as error:
                full = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EMFILE
                if not full or not self._open:
                    raise
            self._close_oldest()
            self._most = max(len(self._open), 1)

    def _close_oldest(self) -> None:
        os.close(self._open.popitem(last=False)[1])

    def close(self, path: str | None = None) -> None:
        """Closes a file, or all. Idempotent."""
        for name in list(self._open) if path is None else [path]:
            fd = self._open.pop(name, -1)
            if fd >= 0:
                os.close(fd)


def is_sparse(fd: int, at: int, length: int) -> bool:
    """Whether a part of a file is hardly stored at all: so a small file can't claim a large one's memory."""
    stored = 0
    for low, high in data_ranges(fd, at, at + length):
        stored += high - low
        if stored >= length // SPARSE:
            return False
    return length > _STEP


def read_at(fd: int, at: int, size: int, path: str) -> bytes:
    """Reads so many bytes; fewer only at the end of the file.

    Raises:
        Failed: the disk does not give them.
    """
    parts = []
    while size > 0:
        try:
            part = os.pread(fd, min(size, 1 << 30), at)
        except OSError as error:
            raise explain_input(error, path) from error
        if not part:
            break
        parts.append(part)
        at, size = at + len(part), size - len(part)
    return b"".join(parts)


def explain_input(error: OSError, path: str) -> Failed:
    """The sentence for a file that can't be read."""
    remedy = "raise the number of open files (ulimit -n)" if error.errno == errno.EMFILE else ""
    return Failed(f"reading {clean_text(path)} failed", os.strerror(error.errno or 0), remedy)


def write_at(fd: int, at: int, data: bytes | memoryview) -> None:
    """Writes all of it.

    Raises:
        OSError: disk full and the like.
    """
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view[: 1 << 30], at)
        if done == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view, at = view[done:], at + done


def clear(fd: int, at: int, length: int) -> None:
    """Makes zeros of a part of a file: a hole, where the file system has such."""
    if length <= 0 or punch_hole(fd, at, length):
        return
    while length > 0:
        step = min(length, _STEP)
        write_at(fd, at, bytes(step))
        at, length = at + step, length - step


def clear_pieces(fd: int, packed: bytes) -> None:
    """The same for ``layout.PIECE`` records."""
    for _, offset, pages, _ in PIECE.iter_unpack(packed):
        clear(fd, offset, pages * PAGE)


def data_ranges(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a range of a file that are no hole, lseek(2)."""
    at = start
    while at < end:
        try:
            low = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # a hole to the end
        if low >= end:
            return
        at = min(os.lseek(fd, low, os.SEEK_HOLE), end)
        yield low, at
