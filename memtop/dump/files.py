"""Writing at an offset, and making holes."""

from __future__ import annotations

import errno
import os

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
