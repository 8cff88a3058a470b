"""Buffers that a process has registered with io_uring (IORING_REGISTER_BUFFERS, io_uring_register(2)).

The kernel keeps their pages pinned and writes there without a fault, so no tracker sees it. Which they are,
/proc/PID/fdinfo tells of each ring (since Linux 5.1).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress

from memtop.model.layout import PAGE

_RING = "anon_inode:[io_uring]"
_BUFFERS = re.compile(rb"^UserBufs:\t\d+\n((?: *\d+: 0x[0-9a-f]+/\d+\n)*)", re.MULTILINE)
_BUFFER = re.compile(rb": 0x([0-9a-f]+)/(\d+)")


def registered_buffers(pid: int) -> list[tuple[int, int]]:
    """Whole pages of all registered buffers, as (start, end) byte addresses, sorted; they may overlap.

    What can't be read is left out, as is a ring that works at this moment (the kernel then shows no buffers).
    """
    return sorted(_buffers(pid))


def _buffers(pid: int) -> Iterator[tuple[int, int]]:
    for text in _rings(pid):
        section = _BUFFERS.search(text)
        for address, length in _BUFFER.findall(section[1]) if section else ():
            start = int(address, 16)
            yield start & -PAGE, -(-(start + int(length)) // PAGE) * PAGE


def _rings(pid: int) -> Iterator[bytes]:
    with suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # closed meanwhile
                if os.readlink(f"/proc/{pid}/fd/{fd}") == _RING:
                    with open(f"/proc/{pid}/fdinfo/{fd}", "rb") as file:
                        yield file.read()
