"""The file behind a mapping, opened for reading: proc_pid_map_files(5), else by its name."""

from __future__ import annotations

import os
import stat

_COARSE_S = 0.1
"""Times of files are behind the clock by up to a tick of the kernel."""


def open_mapped(pid: int, start: int, end: int, name: bytes, inode: int) -> int | None:
    """A descriptor; None where it can't be had: unlinked and no right to map_files, or another one by now.

    Args:
        pid: the process.
        start, end: byte addresses of the mapping, as maps has them.
        name: as maps has it.
        inode: of the file.
    """
    for path in (
        f"/proc/{pid}/map_files/{start:x}-{end:x}".encode(),
        b"/proc/%d/root%b" % (pid, _plain(name)),
    ):
        fd = _open(path, inode)
        if fd is not None:
            return fd
    return None


def open_unchanged(name: bytes, major: int, minor: int, inode: int, since: float) -> int | None:
    """The same for a mapping that is no more.

    Args:
        name: as maps had it, opened as memtop sees it.
        major, minor, inode: of the file, as maps had them.
        since: unix seconds; a file whose times are later is another one by now, as far as one can tell.
    """
    fd = _open(_plain(name), inode)
    if fd is None:
        return None
    what = os.fstat(fd)
    same = (os.major(what.st_dev), os.minor(what.st_dev)) == (major, minor)
    if same and max(what.st_mtime, what.st_ctime) + _COARSE_S < since:
        return fd
    os.close(fd)
    return None


def _plain(name: bytes) -> bytes:
    return name.replace(b"\\012", b"\n")


def _open(path: bytes, inode: int) -> int | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError):
        return None
    what = os.fstat(fd)
    if stat.S_ISREG(what.st_mode) and what.st_ino == inode:
        return fd
    os.close(fd)
    return None
