"""Holes in files, fallocate(2)."""

from __future__ import annotations

import os

from memtop.native import lib


def punch_hole(fd: int, at: int, length: int) -> bool:
    """Makes zeros of a part of a file and gives its room back. False: this file system has no holes.

    Raises:
        OSError: it failed.
    """
    done = lib.mt_punch_hole(fd, at, length)
    if done < 0:
        raise OSError(-done, os.strerror(-done))
    return bool(done)
