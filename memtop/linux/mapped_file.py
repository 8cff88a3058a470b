"""The file behind a mapping, opened for reading: proc_pid_map_files(5), else by its name."""

from __future__ import annotations

import os
import stat


def open_mapped(pid: int, start: int, end: int, name: bytes, inode: int) -> int | None:
    """A descriptor; None where it can't be had: unlinked and no right to map_files, or another one by now.

    Args:
        pid: the process.
        start, end: byte addresses of the mapping, as maps has them.
        name: as maps has it.
        inode: of the file.
    """
    plain = name.replace(b"\\012", b"\n")
    for path in (f"/proc/{pid}/map_files/{start:x}-{end:x}".encode(), b"/proc/%d/root%b" % (pid, plain)):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            continue
        what = os.fstat(fd)
        if stat.S_ISREG(what.st_mode) and what.st_ino == inode:
            return fd
        os.close(fd)
    return None
