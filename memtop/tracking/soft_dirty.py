"""The soft-dirty tracker: whole process, no ptrace, approximate (CONFIG_MEM_SOFT_DIRTY).

Reading the bits and clearing them are two steps (Documentation/admin-guide/mm/soft-dirty.rst): what the
target writes in between is lost to this tracker, unless it is stopped for that moment. New memory reads as
written whole, so its numbers are never called exact. Clearing destroys the state of every other soft-dirty
user.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from memtop.linux.clear_refs import clear
from memtop.linux.errors import MemtopError, ProcessGone
from memtop.linux.pagemap import Scanner
from memtop.linux.process import ProcessHandle
from memtop.linux.standstill import PATIENCE_MS, Frozen, frozen
from memtop.model.actions import ClearRefs
from memtop.model.coverage import Coverage, Exactness
from memtop.model.layout import MAPPING, Mode
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRuns
from memtop.model.sample import TrackerInfo
from memtop.model.units import seconds
from memtop.tracking.base import Tick, WatchRange
from memtop.tracking.policy import SOFT_DIRTY

_LONGEST = seconds(PATIENCE_MS / 1000)
_FROZEN = bytes(Coverage.SOFT_DIRTY_FROZEN if c == Coverage.SOFT_DIRTY else c for c in range(256))


@dataclass(slots=True)
class Stillness:
    """For somebody who must not miss a write, for as long as he is there.

    Attributes:
        stands: the process stands still already.
        stops: seconds of each stop that was made.
        missed: how often it ran all the same while the bits were read and cleared; ``why``: the last time.
    """

    stands: bool = False
    stops: list[float] = field(default_factory=list)
    missed: int = 0
    why: str = ""


class SoftDirtyTracker:
    """Reads the soft-dirty bits, then clears them.

    Attributes:
        still: while this is set, every tick is made in a stop, whatever ``freeze`` says.

    Args:
        process: stays the caller's, as its scanner does.
        note: why this tracker was chosen.
        freeze: stop all its threads from before maps is read until the bits are cleared.
    """

    def __init__(
        self, process: ProcessHandle, scanner: Scanner, note: str = "", *, freeze: bool = False
    ) -> None:
        self._process = process
        self._scanner = scanner
        self._freezes = freeze
        self.still: Stillness | None = None
        self._frozen: Frozen | None = None
        self._thaw = ExitStack()
        self._unfrozen = ""
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
        note = "; ".join(filter(None, (self._note, self._unfrozen)))
        return TrackerInfo("soft-dirty", Exactness.APPROXIMATE, note, tracked, len(self._modes))

    def prepare(self, table: MappingTable) -> bool:
        """Stops the process, if it is to be stopped: what it mapped until then must be in the table."""
        self._thaw.close()
        self._frozen, self._unfrozen = None, ""
        if self.still.stands if self.still else not self._freezes:
            return False
        try:
            self._frozen = self._thaw.enter_context(frozen(self._process, registers=False))
        except ProcessGone:
            raise
        except MemtopError as error:  # a debugger holds it
            self._unfrozen = error.sentence
        return self._frozen is not None

    def tick(self, table: MappingTable, *, count_zero: bool = False, watch: WatchRange | None = None) -> Tick:
        """Reads and clears; the first tick only clears."""
        with self._thaw:
            tick = self._read_and_clear(table, count_zero, watch)
        stop = self._frozen.stop if self._frozen else None
        if stop is not None and stop.late:
            self._unfrozen = (
                f"thread {stop.late[0]} did not stop in time: it waits in the kernel, or gets no processor"
            )
        elif stop is not None and not stop.complete:
            self._unfrozen = (
                f"the stop ended early: it had lasted {_LONGEST}, or its helper process was ended"
            )
        held = not self._unfrozen if stop is not None else self.still is not None and self.still.stands
        if self.still is not None:
            self.still.stops += [stop.whole_s] if stop is not None else []
            if not held:
                self.still.missed, self.still.why = self.still.missed + 1, self._unfrozen
        coverage = tick.coverage.translate(_FROZEN) if held else tick.coverage
        return replace(tick, coverage=coverage, stop_s=stop.whole_s if stop is not None else 0.0)

    def _read_and_clear(self, table: MappingTable, count_zero: bool, watch: WatchRange | None) -> Tick:
        for index in self._new:
            self._coverage[index] = SOFT_DIRTY.coverage_of(self._table, index)
        self._new = []
        if table is not self._table:
            self._adopt(table)
        result = self._scanner.scan(table, self._modes, count_zero=count_zero, watch=watch)
        clear(self._process.pid, ClearRefs.SOFT_DIRTY)
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
        """Lets the process go on. The bits stay as they are."""
        self._thaw.close()

    def _adopt(self, table: MappingTable) -> None:
        """Marks new and grown mappings: VM_SOFTDIRTY makes all their pages dirty until the next clear."""
        known = {(id_, self._range(self._table, i)) for i, id_ in enumerate(self._table.ids)}
        modes, coverage = SOFT_DIRTY.decide(table)
        if self._started:
            for index, id_ in enumerate(table.ids):
                if (id_, self._range(table, index)) not in known and Coverage(coverage[index]).soft_dirty:
                    coverage[index] = Coverage.SOFT_DIRTY_NEW
                    self._new.append(index)
        self._table, self._modes, self._coverage = table, bytes(modes), coverage

    @staticmethod
    def _range(table: MappingTable, index: int) -> bytes:
        """Start and end as packed bytes: enough to compare."""
        at = index * MAPPING.size
        return table.packed[at : at + 16]
