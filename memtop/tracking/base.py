"""The Tracker protocol: what was written since the last tick, and how exact that is.

Get-and-clear is destructive, so exactly one Tracker owns a process; whoever else wants the written
pages (a dump, a recorder) takes them from the fan-out in ``consumers``, never from the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from memtop.linux.pagemap import PageCounts
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRuns
from memtop.model.sample import TrackerInfo

NOTHING = PageCounts()


@dataclass(frozen=True, slots=True)
class WatchRange:
    """An address range that a tick also counts in fine cells.

    Attributes:
        mapping_id: whose range it is.
        start: byte address of cell 0.
        cell_pages: base pages in a cell.
        cells: how many.
    """

    mapping_id: int
    start: int
    cell_pages: int
    cells: int


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick of a tracker saw.

    Attributes:
        counts: ``layout.COUNT`` records, one per mapping of the table.
        coverage: one ``Coverage`` byte per mapping.
        runs: pages written since the tick before; empty in a baseline.
        sum: of the counts.
        baseline: the first tick after arming.
        target_faults: upper bound of the write faults that being tracked cost the target since then.
        watched_resident, watched_written: pages per cell of the watched range (32-bit unsigned), or empty.
        stop_s: seconds that all threads of the target stood still for it.
    """

    counts: bytes
    coverage: bytes
    runs: PageRuns
    sum: PageCounts = NOTHING
    baseline: bool = False
    target_faults: int = 0
    watched_resident: bytes = b""
    watched_written: bytes = b""
    stop_s: float = 0.0


class Tracker(Protocol):
    """Owns the written-page state of one process."""

    @property
    def info(self) -> TrackerInfo:
        """Name, exactness and note for header and stream."""
        ...

    def prepare(self, table: MappingTable) -> bool:
        """Called with each table before ``tick``. True: the mappings have changed by it, read them again."""
        ...

    def tick(self, table: MappingTable, *, count_zero: bool = False, watch: WatchRange | None = None) -> Tick:
        """Scans once.

        Raises:
            memtop.linux.errors.ProcessGone: the address space ended (exit or exec).
        """
        ...

    def close(self) -> None:
        """Gives back what was armed; the target runs on as if nothing had been. Idempotent."""
        ...
