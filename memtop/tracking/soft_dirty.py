"""The soft-dirty tracker: whole process, no ptrace, approximate (CONFIG_MEM_SOFT_DIRTY).

Reading the bits and clearing them are two steps (Documentation/admin-guide/mm/soft-dirty.rst): what the
target writes in between is lost to this tracker, so its numbers are never called exact. Clearing
destroys the state of every other soft-dirty user.
"""

from __future__ import annotations

from memtop.linux.clear_refs import clear
from memtop.linux.pagemap import Scanner
from memtop.model.actions import ClearRefs
from memtop.model.coverage import Coverage, Exactness
from memtop.model.layout import MAPPING, Mode
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRuns
from memtop.model.sample import TrackerInfo
from memtop.tracking.base import Tick, WatchRange
from memtop.tracking.policy import SOFT_DIRTY


class SoftDirtyTracker:
    """Reads the soft-dirty bits, then clears them.

    Args:
        pid: the process.
        scanner: of the process; stays the caller's.
        note: why this tracker was chosen.
    """

    def __init__(self, pid: int, scanner: Scanner, note: str = "") -> None:
        self._pid = pid
        self._scanner = scanner
        self._note = note
        self._table = MappingTable()
        self._modes = b""
        self._coverage = bytearray()
        self._new: list[int] = []
        self._started = False

    @property
    def info(self) -> TrackerInfo:
        """Name ``soft-dirty``; approximate."""
        tracked = self._modes.count(Mode.SOFT_DIRTY)
        return TrackerInfo("soft-dirty", Exactness.APPROXIMATE, self._note, tracked, len(self._modes))

    def prepare(self, table: MappingTable) -> bool:
        """Nothing to prepare."""
        return False

    def tick(self, table: MappingTable, *, count_zero: bool = False, watch: WatchRange | None = None) -> Tick:
        """Reads and clears; the first tick only clears."""
        for index in self._new:
            self._coverage[index] = SOFT_DIRTY.coverage_of(self._table, index)
        self._new = []
        if table is not self._table:
            self._adopt(table)
        result = self._scanner.scan(table, self._modes, count_zero=count_zero, watch=watch)
        clear(self._pid, ClearRefs.SOFT_DIRTY)
        baseline, self._started = not self._started, True
        return Tick(
            counts=result.counts,
            coverage=bytes(self._coverage),
            runs=PageRuns() if baseline else result.runs,
            sum=result.sum,
            baseline=baseline,
            target_faults=0 if baseline else result.written,
            watched_resident=result.watched_resident,
            watched_written=bytes(len(result.watched_written)) if baseline else result.watched_written,
        )

    def close(self) -> None:
        """Nothing to give back: the bits stay as they are."""

    def _adopt(self, table: MappingTable) -> None:
        """Marks new and grown mappings: VM_SOFTDIRTY makes all their pages dirty until the next clear."""
        known = {(id_, self._range(self._table, i)) for i, id_ in enumerate(self._table.ids)}
        modes, coverage = SOFT_DIRTY.decide(table)
        if self._started:
            for index, id_ in enumerate(table.ids):
                if (id_, self._range(table, index)) not in known and coverage[index] == Coverage.SOFT_DIRTY:
                    coverage[index] = Coverage.SOFT_DIRTY_NEW
                    self._new.append(index)
        self._table, self._modes, self._coverage = table, bytes(modes), coverage

    @staticmethod
    def _range(table: MappingTable, index: int) -> bytes:
        """Start and end as packed bytes: enough to compare."""
        at = index * MAPPING.size
        return table.packed[at : at + 16]
