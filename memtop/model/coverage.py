"""How exact the written pages of one mapping are, and why: a closed list with its sentences."""

from __future__ import annotations

from enum import Enum, IntEnum


class Exactness(str, Enum):
    """The word that a stream carries and the screen marks (``~`` approximate, ``²`` huge page)."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    HUGE_PAGE = "huge-page"
    NONE = "none"


MARKS = {Exactness.APPROXIMATE: "~", Exactness.HUGE_PAGE: "²"}
"""What a number carries, wherever it is shown, that is not exact to the page."""


class Coverage(IntEnum):
    """State of one mapping under the tracker of its process; fits one byte."""

    OFF = 0
    EXACT = 1
    BASELINE = 2
    FRESH = 3
    SOFT_DIRTY = 4
    SOFT_DIRTY_NEW = 5
    FILE_LEFT_OUT = 6
    SPECIAL = 7
    BUSY = 8
    REFUSED = 9
    READ_ONLY_FILE = 10
    LOST = 11
    OTHER_WRITERS = 12
    HUGE_KEPT = 13
    ANON_LEFT_OUT = 14
    SHARED_FILE = 15
    PINNED = 16
    MERGED = 17
    SOFT_DIRTY_FROZEN = 18
    SOFT_DIRTY_SHARED = 19
    NO_SOFT_DIRTY = 20
    CROWDED = 21
    OUT_OF_SCOPE = 22

    @property
    def exactness(self) -> Exactness:
        """How far the written pages of this mapping can be trusted."""
        return _SAY[self][0]

    @property
    def reason(self) -> str:
        """One sentence for the user."""
        return _SAY[self][1]

    @property
    def soft_dirty(self) -> bool:
        """Whether what counts as written is what has the soft-dirty bit."""
        return self in _SOFT_DIRTY

    @property
    def tracked(self) -> bool:
        """Whether written pages are known at all."""
        return self.exactness is not Exactness.NONE


_SAY: dict[Coverage, tuple[Exactness, str]] = {
    Coverage.OFF: (Exactness.NONE, "writes are not tracked"),
    Coverage.EXACT: (Exactness.EXACT, "every written page, and no other"),
    Coverage.BASELINE: (Exactness.EXACT, "tracking starts here: nothing counts as written yet"),
    Coverage.FRESH: (
        Exactness.APPROXIMATE,
        "appeared since the last tick: all its present pages count as written",
    ),
    Coverage.SOFT_DIRTY: (
        Exactness.APPROXIMATE,
        "soft-dirty is read, then cleared: writes between the two are missed; a huge page counts whole",
    ),
    Coverage.SOFT_DIRTY_FROZEN: (
        Exactness.APPROXIMATE,
        "soft-dirty, read and cleared while the process was stopped: nothing is missed; a huge page, and "
        "memory mapped anew in the same place, counts whole",
    ),
    Coverage.SOFT_DIRTY_SHARED: (
        Exactness.APPROXIMATE,
        "soft-dirty of shared memory: what is written through another mapping, or paged out since, is "
        "missed; so is what is written between reading and clearing, unless --freeze",
    ),
    Coverage.NO_SOFT_DIRTY: (Exactness.NONE, "the kernel keeps no soft-dirty bits for hugetlb pages"),
    Coverage.SOFT_DIRTY_NEW: (
        Exactness.APPROXIMATE,
        "new or grown mapping: soft-dirty reports all of its pages until the next clear",
    ),
    Coverage.FILE_LEFT_OUT: (
        Exactness.NONE,
        "file mapping, left alone: tracking it would stop the kernel from mapping it in large pieces "
        "(--arm all takes it)",
    ),
    Coverage.SPECIAL: (Exactness.NONE, "kernel or device memory: writes to it can't be tracked"),
    Coverage.BUSY: (Exactness.NONE, "the process itself or another tracker has a userfaultfd on it"),
    Coverage.REFUSED: (Exactness.NONE, "the kernel can't write-protect this kind of mapping"),
    Coverage.READ_ONLY_FILE: (
        Exactness.NONE,
        "shared mapping of a file opened read-only: it can't be written",
    ),
    Coverage.LOST: (
        Exactness.NONE,
        "moved, joined or mapped anew while it was looked at: what was written is told in the next tick",
    ),
    Coverage.OTHER_WRITERS: (
        Exactness.APPROXIMATE,
        "shared memory: writes through another process's mapping are not seen",
    ),
    Coverage.HUGE_KEPT: (
        Exactness.NONE,
        "huge pages, left alone by --keep-huge: tracking would split them on their first write",
    ),
    Coverage.CROWDED: (
        Exactness.NONE,
        "grown while tracked, left alone: it has half as many mappings as vm.max_map_count allows, and "
        "tracking keeps each growth a mapping of its own",
    ),
    Coverage.OUT_OF_SCOPE: (
        Exactness.NONE,
        "only a part of the process is tracked, and this is not in it (w)",
    ),
    Coverage.ANON_LEFT_OUT: (Exactness.NONE, "no file mapping, and --arm file takes only those"),
    Coverage.SHARED_FILE: (
        Exactness.APPROXIMATE,
        "shared file: pages that were first read count too, and writes by other ways are not seen",
    ),
    Coverage.PINNED: (
        Exactness.APPROXIMATE,
        "the process has pages pinned for a device or io_uring: what those write there is not seen",
    ),
    Coverage.MERGED: (
        Exactness.APPROXIMATE,
        "same pages are being merged (KSM): a page that is merged may count as written; with soft-dirty, one "
        "that was written before it was merged is missed",
    ),
}
_SOFT_DIRTY = frozenset(c for c in Coverage if c.name.startswith("SOFT_DIRTY"))

TRACKED = [coverage.tracked for coverage in Coverage]
"""``Coverage.tracked`` by byte, for thousands of mappings."""
