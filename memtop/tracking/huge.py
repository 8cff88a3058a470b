"""Huge pages under write protection: how many it has split, and which stay out of it.

Protecting a huge page does not split it; the first write to it afterwards does. It stays split: while a range
is armed, the kernel makes no new huge page of its small ones (khugepaged and MADV_COLLAPSE pass it over).
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import compress

from memtop.linux.errors import MemtopError
from memtop.linux.pagemap import Scanner, follow_huge
from memtop.linux.procfs import max_map_count
from memtop.linux.runs import runs_pages
from memtop.linux.userfaultfd import WriteProtector
from memtop.model.layout import ARMED_MODES, COUNT, HUGE_BYTES, PAGE, Kind, Mode
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRun, PageRuns

Range = tuple[int, int]
"""Start and end, byte addresses, end exclusive."""

MOST_PARTS = 256
"""Ranges that one mapping may be cut into: each is a mapping of its own, and their number is limited."""

LOOK_EVERY = 10.0
"""Seconds between two searches for huge pages, where what is known of them does not add up."""

_ARMED = bytes(mode in ARMED_MODES for mode in range(256))


class SplitCount:
    """Counts the huge pages that being tracked has split.

    What was huge and protected in one scan and reports a written small page in the next was split by that
    write. Not told apart from it: a huge page that the process itself gave back and filled again with small
    pages between two scans.

    Attributes:
        split: how many since the start.
        huge: the pages that huge pages map, as far as known.
    """

    def __init__(self, scanner: Scanner) -> None:
        self.split = 0
        self.huge = PageRuns()
        self._scanner = scanner
        self._looked = time.monotonic()

    def forget(self, ranges: list[Range]) -> None:
        """These are new: what was there before is gone."""
        if ranges and len(self.huge):
            gone = PageRuns.of([PageRun(start, (end - start) // PAGE) for start, end in ranges])
            self.huge, _ = follow_huge(self.huge, gone)

    def follow(self, table: MappingTable, modes: bytes, counts: bytes, written: PageRuns) -> None:
        """Takes the result of one scan; ``written`` with all its runs, also those of the baseline."""
        pages = memoryview(counts).cast("Q")[1 :: COUNT.size // 8].tolist()
        now = sum(compress(pages, modes.translate(_ARMED)))
        self.huge, split = follow_huge(self.huge, written)
        self.split += split
        # Pages given back leave no trace in what was written.
        if runs_pages(self.huge) != now and time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            found = [
                self._scanner.find_huge(*table.range_of(index)).packed
                for index in range(len(table))
                if pages[index] and _ARMED[modes[index]]
            ]
            self.huge = PageRuns(b"".join(found))


class HugeKeeper:
    """Keeps huge pages out of tracking (``--keep-huge``).

    A part of a mapping is left out by not registering it. The kernel then cuts the mapping in two in maps,
    until tracking ends; where that would make too many, the whole mapping is left out.

    Args:
        scanner, protector: of the process; stay the caller's.
        whole: leave out whole mappings, never a part of one.

    Attributes:
        kept: ranges left out.
    """

    def __init__(self, scanner: Scanner, protector: WriteProtector, *, whole: bool = False) -> None:
        self.kept: list[Range] = []
        self._scanner = scanner
        self._protector = protector
        self._whole = whole

    def cut(self, table: MappingTable, index: int) -> bool:
        """Registers what of a new mapping is not huge; True if that cut it in maps.

        A mapping without huge pages, or of a kind whose huge pages do not split, is left to the caller.
        """
        whole = table.range_of(index)
        if table.kind_of(index) in (Kind.SHARED, Kind.HUGETLB) or self._is_kept(whole):
            return False
        parts = self._small_parts(whole)
        if parts == [whole]:
            return False
        if not self._room(table, len(parts)):
            parts = []
        for done, (start, end) in enumerate(parts):
            error = self._protector.register_range(start, end - start)
            if error in (errno.EBUSY, errno.EPERM, errno.EINVAL):
                return False  # so is the whole: the caller will meet it, and say why
            if error:
                parts = parts[:done]
                break
        self.kept += outside(whole, parts)
        return bool(parts)

    def release(self, table: MappingTable, modes: bytes, huge: PageRuns) -> None:
        """Ends the tracking of huge pages that have come up in tracked parts, before a write splits them."""
        for index, runs in _by_mapping(table, huge):
            if modes[index] != Mode.ARMED or table.kind_of(index) in (Kind.SHARED, Kind.HUGETLB):
                continue
            ranges = [(run.start, run.end) for run in runs]
            if not self._room(table, len(ranges)):
                ranges = [table.range_of(index)]
            for start, end in ranges:
                with suppress(MemtopError):  # unmapped meanwhile
                    self._protector.unregister(start, end - start)
            self.kept += ranges

    def left_out(self, table: MappingTable) -> list[int]:
        """Indices of the mappings that are left out."""
        if not self.kept:
            return []
        self.kept = _merged(self.kept)
        return [index for index in range(len(table)) if self._is_kept(table.range_of(index))]

    def adopt(self, table: MappingTable) -> list[int]:
        """The same for a new table; ranges that no mapping of it lies in are forgotten."""
        found = self.left_out(table)
        self.kept = [table.range_of(index) for index in found]
        return found

    def _is_kept(self, whole: Range) -> bool:
        return any(start <= whole[0] and whole[1] <= end for start, end in self.kept)

    def _small_parts(self, whole: Range) -> list[Range]:
        """All of it, if it has no huge page; else the 2 MiB whose pages are mapped one by one. What is empty
        is no such part: the next page there may come as a huge one."""
        start, end = whole
        if not len(self._scanner.find_huge(start, end)):
            return [whole]
        small = self._scanner.find_small(start, end)
        blocks = [(run.start & -HUGE_BYTES, -(-run.end // HUGE_BYTES) * HUGE_BYTES) for run in small]
        return _merged([(max(first, start), min(last, end)) for first, last in blocks])

    def _room(self, table: MappingTable, parts: int) -> bool:
        """Whether to cut at all: at least half of the mappings that a process may have stay its own."""
        return (
            not self._whole
            and parts <= MOST_PARTS
            and len(table) + 2 * (len(self.kept) + parts) < max_map_count() // 2
        )


def outside(whole: Range, parts: list[Range]) -> list[Range]:
    """What of a range lies in none of the sorted parts."""
    edges = [whole[0], *(edge for part in parts for edge in part), whole[1]]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]


def _merged(ranges: list[Range]) -> list[Range]:
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _by_mapping(table: MappingTable, runs: PageRuns) -> Iterator[tuple[int, list[PageRun]]]:
    """The runs of each mapping that has any; both are sorted by address."""
    index = 0
    here: list[PageRun] = []
    for run in runs:
        while index < len(table) and table.range_of(index)[1] <= run.start:
            if here:
                yield index, here
            index, here = index + 1, []
        here.append(run)
    if here and index < len(table):
        yield index, here
