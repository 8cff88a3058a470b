"""Sets of page runs: union, cut, counts by mapping; the loops are in C (``native/runs.c``)."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Protocol

from memtop.model.layout import MAPPING, PAGE, RUN
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRun, PageRuns
from memtop.native import ffi, lib


class CellRange(Protocol):
    """An address range that a scan also counts in fine cells."""

    @property
    def start(self) -> int:
        """Byte address of cell 0."""
        ...

    @property
    def cell_pages(self) -> int:
        """Base pages in a cell."""
        ...

    @property
    def cells(self) -> int:
        """How many cells."""
        ...


def runs_union(a: PageRuns, b: PageRuns) -> PageRuns:
    """Pages that are in either set."""
    if not len(a) or not len(b):
        return a if len(a) else b
    out = ffi.new("mt_run[]", len(a) + len(b))
    count = lib.mt_runs_union(native_runs(a), len(a), native_runs(b), len(b), out)
    return PageRuns(packed_runs(out, count))


def runs_pages(runs: PageRuns) -> int:
    """Pages in all runs together; ``PageRuns.pages`` for many runs."""
    return int(lib.mt_runs_pages(native_runs(runs), len(runs)))


def runs_count(sets: Sequence[PageRuns], table: MappingTable) -> array[int]:
    """Pages of all these sets together in each mapping; a page that is in several counts in each.

    Runs of several scans may cross mappings.
    """
    pages = array("Q", bytes(8 * len(table)))
    _count(sets, table.packed, pages, 0)
    return pages


def runs_counts(sets: Sequence[PageRuns], ranges: bytes) -> list[array[int]]:
    """Pages of each of these sets in each range.

    Args:
        ranges: sorted ``layout.MAPPING`` records, of which only the addresses count.
    """
    width = len(ranges) // MAPPING.size
    pages = array("Q", bytes(8 * width * len(sets)))
    _count(sets, ranges, pages, width)
    return [pages[i * width : (i + 1) * width] for i in range(len(sets))]


def _count(sets: Sequence[PageRuns], ranges: bytes, pages: array[int], step: int) -> None:
    runs = [native_runs(each) for each in sets]
    lib.mt_runs_count(
        ffi.new("mt_run *[]", runs),
        ffi.new("size_t[]", list(map(len, sets))),
        len(sets),
        ffi.from_buffer("mt_mapping[]", ranges),
        len(ranges) // MAPPING.size,
        ffi.from_buffer("uint64_t[]", pages),
        step,
    )


def runs_without(runs: PageRuns, start: int, end: int) -> PageRuns:
    """The runs but for those that begin in [start, end) bytes: what was there is another mapping by now."""
    starts = memoryview(runs.packed).cast("Q")[::2]  # of 16-byte records
    first, last = bisect_left(starts, start), bisect_left(starts, end)
    if first == last:
        return runs
    return PageRuns(runs.packed[: first * RUN.size] + runs.packed[last * RUN.size :])


def runs_within(runs: PageRuns, start: int, end: int) -> PageRuns:
    """The part of the runs that lies in [start, end) bytes."""
    starts = memoryview(runs.packed).cast("Q")[::2]
    first, last = bisect_left(starts, start), bisect_left(starts, end)
    if first and runs[first - 1].end > start:  # as runs of several scans may, it crosses into the range
        first -= 1
    part = runs[first:last]
    if not part or (part[0].start >= start and part[-1].end <= end):
        return part
    cut = [max(starts[first], start), *starts[first + 1 : last]]
    ends = [*(run.end for run in part[:-1]), min(part[-1].end, end)]
    return PageRuns.of(
        [PageRun(a, (b - a) // PAGE, run.huge) for a, b, run in zip(cut, ends, part, strict=True)]
    )


def native_mappings(table: MappingTable) -> Any:
    """The records as the C core takes them."""
    return ffi.from_buffer("mt_mapping[]", table.packed)


def native_runs(runs: PageRuns) -> Any:
    """The records as the C core takes them."""
    return ffi.from_buffer("mt_run[]", runs.packed)


def packed_runs(items: Any, count: int) -> bytes:
    """Records that the C core gave."""
    return bytes(ffi.buffer(items, count * RUN.size)) if count else b""
