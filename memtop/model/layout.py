"""The C core's packed records as Python reads them.

The same fields, in the same order, as ``memtop/native/api.h``; a test holds the two together.
Packed bytes are what travels through memtop: 30 000 mappings stay three ``bytes`` objects and
become Python objects only where somebody looks at one.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct

PAGE = 4096
"""Bytes in a base page on every architecture that memtop knows."""

HIGHEST = 1 << 63
"""Where the kernel's half of the address space begins ([vsyscall]), which can't be looked at."""

HUGE_PAGES = 512
"""Base pages in a PMD-sized huge page."""

HUGE_BYTES = HUGE_PAGES * PAGE

MAPPING = Struct("<QQQQIIIIBB6x")
"""start, end, offset, inode, dev_major, dev_minor, name_at, name_len, perms, kind."""

TRAITS_AT = 50
"""Offset of the byte ``kind << 4 | perms`` in a MAPPING record: ``packed[TRAITS_AT::MAPPING.size]`` is the
column of all mappings, ready for ``bytes.translate``."""

COUNT = Struct("<QQQQQQQQIIII")
"""resident, huge, zero, swapped, guard, written (pages), resident_map, written_map (64 cells),
first_run, run_count, flags, reserved."""

FIRST_RUN_AT = 64
"""Offset of ``first_run`` in a COUNT record: of an answer put together anew, what is known last."""

RUN = Struct("<QII")
"""start (byte address), pages, flags."""

REGION = Struct("<QQQ")
"""start, end (byte addresses), categories (``PAGE_IS_*``)."""

PIECE = Struct("<QQII")
"""address (byte address in a process), offset (bytes in a file), pages, reserved."""


class Perm(IntFlag):
    """Permissions of a mapping (proc_pid_maps(5))."""

    READ = 1
    WRITE = 2
    EXEC = 4
    SHARED = 8


class Kind(IntEnum):
    """What a mapping is for, as far as its name, backing and permissions tell."""

    ANON = 0
    HEAP = 1
    STACK = 2
    TEXT = 3
    DATA = 4
    FILE = 5
    SHARED = 6
    HUGETLB = 7
    JIT = 8
    GUARD = 9
    SPECIAL = 10

    @property
    def label(self) -> str:
        """The lower-case word that tables and streams show."""
        return self.name.lower()


class Mode(IntEnum):
    """How a scan treats one mapping (``MT_MODE_*``)."""

    SKIP = 0
    CENSUS = 1
    ARMED = 2
    ARMED_FILE = 3
    SOFT_DIRTY = 4


ARMED_MODES = (Mode.ARMED, Mode.ARMED_FILE)
"""Those that protect what they find written."""


class CountFlag(IntFlag):
    """What is to be said about the numbers of one mapping (``MT_COUNT_*``)."""

    SCANNED = 1
    WRITTEN_HUGE = 2
    ZERO = 4
    TOO_SPARSE = 8
    NO_HUGE = 16
    NO_GUARD = 32


class RunFlag(IntFlag):
    """``MT_RUN_*``."""

    HUGE = 1


class Category(IntFlag):
    """What PAGEMAP_SCAN says of a page (``PAGE_IS_*``)."""

    WPALLOWED = 0x001
    WRITTEN = 0x002
    FILE = 0x004
    PRESENT = 0x008
    SWAPPED = 0x010
    PFNZERO = 0x020
    HUGE = 0x040
    SOFT_DIRTY = 0x080  # since 6.8
    GUARD = 0x100  # newer still
