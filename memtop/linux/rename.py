"""Giving a directory its name, unless there is something of that name: renameat2(2), RENAME_NOREPLACE."""

from __future__ import annotations

import os

from memtop.native import lib


def rename_new(directory_fd: int, old: str, new: str) -> None:
    """Renames a directory within a directory.

    Raises:
        FileExistsError: the new name is taken.
        OSError: it failed.
    """
    done = lib.mt_rename_new(directory_fd, os.fsencode(old), os.fsencode(new))
    if done < 0:
        raise OSError(-done, os.strerror(-done), new)
    if done == 0:  # a name of one's own first; what somebody puts into it meanwhile is not replaced either
        os.mkdir(new, 0o700, dir_fd=directory_fd)
        os.rename(old, new, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
