"""Giving a file or directory its name, unless something has it: renameat2(2), RENAME_NOREPLACE."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable

from memtop.native import lib


def rename_new(directory_fd: int, old: str, new: str, to_fd: int | None = None) -> None:
    """Renames what is in a directory.

    Args:
        directory_fd: where it is.
        old, new: its names.
        to_fd: where it is to be; there as well, if not said.

    Raises:
        FileExistsError: the new name is taken.
        OSError: it failed.
    """
    to = directory_fd if to_fd is None else to_fd
    done = lib.mt_rename_new(directory_fd, os.fsencode(old), to, os.fsencode(new))
    if done < 0:
        raise OSError(-done, os.strerror(-done), new)
    if done == 0:
        _rename_onto_own(directory_fd, old, to, new)


def _rename_onto_own(directory_fd: int, old: str, to: int, new: str) -> None:
    """A name of one's own first, which is replaced; a directory only if nobody has put anything into it."""
    remove: Callable[..., None]
    if stat.S_ISDIR(os.stat(old, dir_fd=directory_fd, follow_symlinks=False).st_mode):
        os.mkdir(new, 0o700, dir_fd=to)
        remove = os.rmdir
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(new, flags, 0o600, dir_fd=to))
        remove = os.unlink
    try:
        os.rename(old, new, src_dir_fd=directory_fd, dst_dir_fd=to)
    except OSError:
        with contextlib.suppress(OSError):
            remove(new, dir_fd=to)
        raise
