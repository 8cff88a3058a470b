"""A Sample: everything that memtop knows about one process at one tick, frozen.

The sampler makes one per process and tick; screens, streams and exporters only read it. The
per-mapping columns stay packed (see ``layout``); ``MappingSample`` is a view of one row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import overload

from memtop.model.coverage import Coverage, Exactness
from memtop.model.layout import COUNT, PAGE, CountFlag
from memtop.model.mapping import Mapping, MappingTable
from memtop.model.runs import PageRuns


class Life(str, Enum):
    """What became of the process since the last sample."""

    RUNNING = "running"
    EXECED = "execed"
    ENDED = "ended"


def rate_of(amount: float, interval: float) -> float:
    """Per second over a measured interval in seconds; 0 over none, as in a first sample."""
    return amount / interval if interval > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Process:
    """Which process: its identity and its names, cleaned.

    Attributes:
        pid: in the pid namespace of memtop.
        start_time: clock ticks since boot (proc_pid_stat(5), field 22).
        boot_id: of the kernel it runs on; the three together name a process for good.
        comm: up to 15 characters.
        cmdline: arguments joined by spaces, may be empty.
        user: name or number of its real uid.
        host: name of the machine.
        started: unix seconds, by the clock of now; 0: not known.
    """

    pid: int
    start_time: int
    boot_id: str
    comm: str
    cmdline: str
    user: str
    host: str
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class TrackerInfo:
    """The tracker in charge: ``write-protect``, ``soft-dirty`` or ``off``, and how exact it is.

    Attributes:
        exact: exactness of what it reports at its best.
        note: why this one, or why none; empty when there is nothing to say.
        armed, mappings: how many mappings it tracks, of how many.
        huge_split: huge pages that it has split since it started, counted scan by scan; None where the
            tracker splits none. Counted too: those that the process itself gave back and filled again with
            small pages between two scans.
    """

    name: str
    exact: Exactness
    note: str = ""
    armed: int = 0
    mappings: int = 0
    huge_split: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What this tick cost.

    Attributes:
        scan_s: seconds spent reading and scanning (wall clock of the whole tick but its waiting).
        cpu_s: seconds of CPU that memtop's sampling used for it.
        target_faults: write faults that this tick's written pages cost the target; an upper bound,
            one per base page that had been protected.
        stop_s: seconds that a thread of the target stood still for memtop in this tick.
        target_s: seconds of the target's time that these faults took, at the cost of one fault as
            measured on this host.
    """

    scan_s: float = 0.0
    cpu_s: float = 0.0
    target_faults: int = 0
    stop_s: float = 0.0
    target_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Faults:
    """Page faults of the whole process per second, measured; None on the first sample."""

    minor_per_s: float | None = None
    major_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """Cells of one address range, finer than the 64 that every mapping has.

    Attributes:
        mapping_id: whose range it is.
        start: byte address of cell 0.
        cell_pages: base pages in a cell.
        resident, written: pages per cell, native-endian 32-bit unsigned (``memoryview.cast("I")``).
    """

    mapping_id: int
    start: int
    cell_pages: int
    resident: bytes
    written: bytes

    @property
    def cells(self) -> int:
        """How many cells."""
        return len(self.resident) // 4


@dataclass(frozen=True, slots=True)
class MappingSample:
    """One mapping in one sample. Sizes in bytes; None is "not known", with the reason in ``coverage``."""

    mapping: Mapping
    coverage: Coverage
    flags: CountFlag
    resident: int | None
    huge: int | None
    zero: int | None
    swapped: int | None
    guard: int | None
    written_pages: int | None
    written_bytes_per_s: float | None
    resident_map: int
    written_map: int
    written: PageRuns

    @property
    def exactness(self) -> Exactness:
        """Of this mapping in this tick, huge pages considered."""
        exactness = self.coverage.exactness
        if exactness is Exactness.EXACT and self.flags & CountFlag.WRITTEN_HUGE:
            return Exactness.HUGE_PAGE
        return exactness


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of a sample; bytes and pages.

    Attributes:
        size: address space, VmSize of /proc/PID/status.
        resident: summed over the mappings; where those are not readable, VmRSS.
        huge: of these, mapped by huge pages; None where not readable.
        swapped: VmSwap of /proc/PID/status (anonymous memory only).
        written_pages, written_bytes_per_s: over all tracked mappings; None when nothing is tracked.
    """

    size: int = 0
    resident: int = 0
    huge: int | None = None
    swapped: int | None = None
    written_pages: int | None = None
    written_bytes_per_s: float | None = None


@dataclass(frozen=True)
class Sample:
    """One process at one tick.

    Attributes:
        time: unix seconds at the end of the scan.
        interval: measured seconds since the scan before; 0 on the first.
        counts: ``layout.COUNT`` records, one per mapping of ``table``.
        coverage: one ``Coverage`` byte per mapping.
        runs: written pages since the last sample, of all tracked mappings.
        swapped: bytes per mapping id, only where smaps was asked for.
        baseline: first sample after arming: nothing counts as written.
        stretched: ``interval`` is longer than asked for, so that the cost stays below ``--max-cost``.
        message: one sentence when something is to be said (ended, exec'd, degraded); else empty.
    """

    time: float
    interval: float
    process: Process
    tracker: TrackerInfo
    table: MappingTable
    counts: bytes
    coverage: bytes
    runs: PageRuns
    totals: Totals
    faults: Faults = Faults()
    cost: Cost = Cost()
    life: Life = Life.RUNNING
    baseline: bool = False
    swapped: dict[int, int] | None = None
    watched: Watched | None = None
    message: str = ""
    stretched: bool = False
    mappings: MappingSamples = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mappings", MappingSamples(self))

    @property
    def key(self) -> tuple[int, int]:
        """pid and start time: which process this is among those on screen."""
        return self.process.pid, self.process.start_time


_SCANNED, _ZERO = int(CountFlag.SCANNED), int(CountFlag.ZERO)
_NO_HUGE, _NO_GUARD = int(CountFlag.NO_HUGE), int(CountFlag.NO_GUARD)
"""As numbers: ``&`` of two flags takes half a microsecond, and there are many rows."""


class MappingSamples(Sequence[MappingSample]):
    """The rows of a sample, built when looked at."""

    __slots__ = ("_sample",)

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def __len__(self) -> int:
        return len(self._sample.table)

    @overload
    def __getitem__(self, index: int) -> MappingSample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[MappingSample]: ...
    def __getitem__(self, index: int | slice) -> MappingSample | Sequence[MappingSample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        s = self._sample
        mapping = s.table[index]
        coverage = Coverage(s.coverage[index])
        (resident, huge, zero, _swapped, guard, written, resident_map, written_map, first, runs, bits, _) = (
            COUNT.unpack_from(s.counts, (index % len(self)) * COUNT.size)
        )
        scanned = bool(bits & _SCANNED)
        tracked = scanned and coverage.tracked
        if s.baseline:
            written, written_map, runs = 0, 0, 0
        return MappingSample(
            mapping=mapping,
            coverage=coverage,
            flags=CountFlag(bits),
            resident=resident * PAGE if scanned else None,
            huge=huge * PAGE if scanned and not bits & _NO_HUGE else None,
            zero=zero * PAGE if bits & _ZERO else None,
            swapped=s.swapped.get(mapping.id) if s.swapped is not None else None,
            guard=guard * PAGE if bits & _ZERO and not bits & _NO_GUARD else None,
            written_pages=written if tracked else None,
            written_bytes_per_s=rate_of(written * PAGE, s.interval) if tracked else None,
            resident_map=resident_map,
            written_map=written_map,
            written=s.runs[first : first + runs] if tracked else PageRuns(),
        )

    def __iter__(self) -> Iterator[MappingSample]:
        return (self[i] for i in range(len(self)))
