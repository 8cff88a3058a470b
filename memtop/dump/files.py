"""Writing at an offset, and making holes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from memtop.linux.fallocate import punch_hole
from memtop.model.layout import PAGE, PIECE

_STEP = 1 << 20


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
