"""The trackers that track nothing: one looks at residency, one can't even do that.

Neither changes anything in the target.
"""

from __future__ import annotations

from memtop.linux.pagemap import Scanner
from memtop.model.coverage import Coverage, Exactness
from memtop.model.layout import COUNT
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRuns
from memtop.model.sample import TrackerInfo
from memtop.tracking.base import Tick, WatchRange
from memtop.tracking.policy import PASSIVE


class PassiveTracker:
    """A census per tick.

    Args:
        scanner: of the process; stays the caller's.
        note: why nothing is tracked, if something else was asked for.
    """

    def __init__(self, scanner: Scanner, note: str = "") -> None:
        self._scanner = scanner
        self._note = note
        self._table: MappingTable | None = None
        self._modes = self._coverage = b""

    @property
    def info(self) -> TrackerInfo:
        """Name ``off``; exactness none."""
        return TrackerInfo(
            "off", Exactness.NONE, self._note, mappings=len(self._table) if self._table is not None else 0
        )

    def prepare(self, table: MappingTable) -> bool:
        """Nothing to prepare."""
        return False

    def tick(self, table: MappingTable, *, count_zero: bool = False, watch: WatchRange | None = None) -> Tick:
        """Counts what is resident."""
        if table is not self._table:
            modes, coverage = PASSIVE.decide(table)
            self._table, self._modes, self._coverage = table, bytes(modes), bytes(coverage)
        result = self._scanner.scan(table, self._modes, count_zero=count_zero, watch=watch)
        return Tick(
            counts=result.counts,
            coverage=self._coverage,
            runs=PageRuns(),
            sum=result.sum,
            watched_resident=result.watched_resident,
            watched_written=result.watched_written,
        )

    def close(self) -> None:
        """Nothing to give back."""


class BlindTracker:
    """For where page tables can't be read (no pagemap, as in some sandboxes): nothing per mapping is known.

    Args:
        reason: why, in a sentence.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._mappings = 0

    @property
    def info(self) -> TrackerInfo:
        """Name ``off``; exactness none; the reason as the note."""
        return TrackerInfo("off", Exactness.NONE, self._reason, mappings=self._mappings)

    def prepare(self, table: MappingTable) -> bool:
        """Nothing to prepare."""
        return False

    def tick(self, table: MappingTable, *, count_zero: bool = False, watch: WatchRange | None = None) -> Tick:
        """Counts nothing: every record stays without its SCANNED flag."""
        self._mappings = len(table)
        return Tick(
            counts=bytes(COUNT.size * len(table)),
            coverage=bytes([Coverage.OFF]) * len(table),
            runs=PageRuns(),
        )

    def close(self) -> None:
        """Nothing to give back."""
