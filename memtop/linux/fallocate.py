"""Room in files, fallocate(2): given in advance and taken away again."""

from __future__ import annotations

import os

from memtop.linux.vmread import Pieces
from memtop.native import ffi, lib


def punch_hole(fd: int, at: int, length: int) -> bool:
    """Makes zeros of a part of a file and gives its room back. False: this file system has no holes.

    Raises:
        OSError: it failed.
    """
    done = lib.mt_punch_hole(fd, at, length)
    _check(done)
    return bool(done)


def reserve(fd: int, pieces: Pieces, least: int) -> None:
    """Gives pieces of at least so many pages their room on the disk, in few parts of it.

    Not every file system does so in advance; that is no error.

    Raises:
        OSError: there is no room.
    """
    _check(lib.mt_reserve(fd, ffi.from_buffer("mt_piece[]", pieces.packed), len(pieces), least))


def unreserve(fd: int, pieces: Pieces, least: int) -> None:
    """Takes it from them again: they become holes, where there are such.

    Raises:
        OSError: it failed.
    """
    _check(lib.mt_unreserve(fd, ffi.from_buffer("mt_piece[]", pieces.packed), len(pieces), least))


def _check(done: int) -> None:
    if done < 0:
        raise OSError(-done, os.strerror(-done))
