"""Which pages a process has written: what a dump follows while it copies.

Reading what was written also clears it, so there is one tracker a process. A dump of its own starts one; a
dump from the live screen takes its share of the tracker that is there.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from memtop.dump.plan import Range, ranges_runs
from memtop.linux.counters import Counters
from memtop.linux.errors import KernelCannot, ProcessGone
from memtop.linux.features import KernelFeatures
from memtop.linux.ksm import mergeable, merging
from memtop.linux.pagemap import Scanner
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader
from memtop.linux.runsets import runs_intersect, runs_subtract, runs_union
from memtop.linux.uring import registered_buffers
from memtop.model.actions import Arm, Care, Method
from memtop.model.coverage import TRACKED, Coverage, Exactness
from memtop.model.layout import Kind
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRuns
from memtop.model.sample import Life, Sample
from memtop.tracking.base import Tracker
from memtop.tracking.choose import arm
from memtop.tracking.doubts import Doubts
from memtop.tracking.soft_dirty import SoftDirtyTracker, Stillness

if TYPE_CHECKING:  # what the screen needs, and a dump of its own does not
    from memtop.sampler.target import Target

Spans = tuple[tuple[int, int], ...]

SWITCH_S = 0.0002
"""Seconds after which other threads give up the interpreter, while a process stands still for this one."""


@dataclass(frozen=True, slots=True)
class Written:
    """Since the last look.

    Attributes:
        runs: pages that were written.
        blind: ranges of which nobody can tell, and which may be written: to be read again.
        shared: ranges that others may write unseen.
        tracked: ranges of which the tracker tells.
        pinned: ranges with memory that devices, or io_uring, may write unseen.
    """

    runs: PageRuns
    blind: tuple[Range, ...] = ()
    shared: tuple[Range, ...] = ()
    tracked: tuple[Range, ...] = ()
    pinned: tuple[Range, ...] = ()


def _told(pid: int, runs: PageRuns, cover: tuple[tuple[Range, ...], ...]) -> Written:
    """Of what is pinned, the buffers that are known are to be read again, as nobody can tell of them."""
    blind, shared, tracked, pinned = cover
    buffers = pinned and registered_buffers(pid)
    if buffers:
        pages = ranges_runs([Range(*span) for span in joined(buffers)])
        told = ranges_runs(tracked)
        tracked = _ranges(runs_subtract(told, pages))
        blind = _ranges(runs_union(ranges_runs(blind), runs_intersect(told, pages)))
    return Written(runs, blind, shared, tracked, pinned)


def _ranges(runs: PageRuns) -> tuple[Range, ...]:
    return tuple(Range(run.start, run.end) for run in runs)


class Feed(Protocol):
    """Tells what was written since it was asked last; the first answer is empty.

    Attributes:
        still: the stops of all threads that asking took, and whether one failed: then a write may be missing.
    """

    still: Stillness

    @property
    def name(self) -> str:
        """Of the tracker."""
        ...

    @property
    def exactness(self) -> Exactness:
        """At its best."""
        ...

    @property
    def protects(self) -> bool:
        """What it has told of and was not written since carries protection: a look is enough to find what
        was, and nothing need be cleared (``recount``)."""
        ...

    def take(self, *, stopped: bool = False) -> Written:
        """Reads and clears.

        Args:
            stopped: the process stands still already.

        Raises:
            ProcessGone: the address space ended.
        """
        ...

    def overheard(self) -> PageRuns:
        """What was told since by looks of others, who cleared it; does not look itself."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """While the process stands still: nobody else reads and clears, or keeps this thread waiting."""
        ...

    def close(self) -> None:
        """Ends it; the process is as before. Idempotent."""
        ...


class OwnFeed:
    """A tracker for this dump alone.

    Attributes:
        still: see ``Feed``. Soft-dirty bits are read and cleared in two steps; what is written between them
            would be lost.

    Raises:
        MemtopError: there is no tracker to be had; the sentence says why.
    """

    def __init__(
        self,
        handle: ProcessHandle,
        kernel: KernelFeatures,
        method: Method = Method.AUTO,
        *,
        files: bool = False,
    ) -> None:
        self.still = Stillness()
        pid, tid = handle.pid, handle.maps_tid()
        self._pid, self._doubts = pid, Doubts()
        self._cover = Cover()
        self._merges = Merges(pid, tid)
        care = Care(Arm.ALL if files else Arm.ANON)
        with ExitStack() as stack:
            self._maps = stack.enter_context(MapsReader(pid, tid))
            self._counters = stack.enter_context(Counters(pid))
            self._scanner = stack.enter_context(
                Scanner(
                    pid,
                    use_ioctl=bool(kernel.pagemap_scan.works),
                    guard_bit=bool(kernel.guard_bit.works),
                    tid=tid,
                )
            )
            self._tracker: Tracker = arm(method, handle, self._scanner, kernel, care).tracker
            stack.callback(self._tracker.close)
            if self._tracker.info.name == "off":
                raise KernelCannot(
                    f"following what process {pid} writes is not possible", self._tracker.info.note
                )
            if isinstance(self._tracker, SoftDirtyTracker):
                self._tracker.still = self.still
            self._held = stack.pop_all()

    @property
    def name(self) -> str:
        """Of the tracker."""
        return self._tracker.info.name

    @property
    def exactness(self) -> Exactness:
        """At its best."""
        return self._tracker.info.exact

    @property
    def protects(self) -> bool:
        """See ``Feed``."""
        return self.exactness is Exactness.EXACT

    def take(self, *, stopped: bool = False) -> Written:
        """See ``Feed``."""
        self.still.stands = stopped
        table = self._maps.read()
        if self._tracker.prepare(table):
            table = self._maps.read()
        tick = self._tracker.tick(table)
        coverage = self._doubts.qualify(tick.coverage, self._counters.memory())
        hidden = self._merges.ranges() if not self.protects else ()
        return _told(self._pid, tick.runs, self._cover.ranges(table, coverage, hidden))

    def overheard(self) -> PageRuns:
        """See ``Feed``: there are no others."""
        return PageRuns()

    def alone(self) -> AbstractContextManager[None]:
        """See ``Feed``: nobody else is there."""
        return nullcontext()

    def close(self) -> None:
        """See ``Feed``."""
        self._held.close()


class SharedFeed:
    """A share of a target's tracker: its screen keeps its rates, and may tick on a thread of its own.

    Under soft-dirty, ticks of the screen stop the process meanwhile, too: what was written between reading
    and clearing would be missing in the dump.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.still = Stillness()
        self._cover = Cover()
        with target.lock:
            self._tracker, self._execs, self._name = target.tracker, target.execs, target.tracker_info.name
            if self._name == "off":
                what = "following what the process writes is not possible"
                raise KernelCannot(what, "writes are not tracked")
            self._merges = Merges(target.process.pid)
            self._consumer = target.fan_out.subscribe()
            self._tick()
            self._consumer.take()
            if isinstance(self._tracker, SoftDirtyTracker):
                self._tracker.still = self.still

    @property
    def name(self) -> str:
        """Of the tracker."""
        return self._name

    @property
    def exactness(self) -> Exactness:
        """At its best."""
        return self._target.tracker_info.exact

    @property
    def protects(self) -> bool:
        """See ``Feed``."""
        return self.exactness is Exactness.EXACT

    def take(self, *, stopped: bool = False) -> Written:
        """See ``Feed``."""
        with self._target.lock:
            self._require_unbroken()
            self.still.stands = stopped
            sample = self._tick()
            self.still.stands = False
            if sample.life is Life.ENDED or self._target.execs != self._execs:
                raise ProcessGone("the address space that was to be dumped is no more")
            self._require_unbroken()
            runs = self._consumer.take()
            hidden = self._merges.ranges() if not self.protects else ()
        cover = self._cover.ranges(sample.table, sample.coverage, hidden)
        return _told(self._target.process.pid, runs, cover)

    def overheard(self) -> PageRuns:
        """See ``Feed``."""
        with self._target.lock:
            self._require_unbroken()
            return self._consumer.take()

    def _require_unbroken(self) -> None:
        if self._target.execs == self._execs and not self.unbroken:
            why = "tracking ended, or was started anew"
            raise KernelCannot("the dump lost track of what the process writes", why)

    def _tick(self) -> Sample:
        """One more sample, which the screen finds between its own."""
        before, sample = self._target.last, self._target.tick()
        if sample is not before:
            self._target.aside.append(sample)
        return sample

    @property
    def unbroken(self) -> bool:
        """It has told, or will tell, all that was written since it was made."""
        return self._target.tracker is self._tracker and not self._target.closed

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See ``Feed``. The screen's thread gives up the interpreter sooner meanwhile."""
        before = sys.getswitchinterval()
        with self._target.lock:
            sys.setswitchinterval(SWITCH_S)
            try:
                yield
            finally:
                sys.setswitchinterval(before)

    def close(self) -> None:
        """See ``Feed``."""
        with self._target.lock:
            self._target.fan_out.unsubscribe(self._consumer)
            if isinstance(self._tracker, SoftDirtyTracker):
                self._tracker.still = None


class Merges:
    """Where same-page merging (KSM) may hide writes from soft-dirty.

    A page that was written and then merged has lost its bit, and taking the merge apart does not set it: so
    what was mergeable at one look counts from then on.

    Args:
        pid, tid: of the process, and the thread that its files are read of.
    """

    def __init__(self, pid: int, tid: int | None = None) -> None:
        self._pid, self._tid = pid, tid
        self._active = False
        self._seen: set[tuple[int, int]] = set()

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First byte and byte behind, by rising address; none touch. Where the host merges at all, asking
        costs a walk of the whole process."""
        self._active = self._active or merging()
        if self._active:
            self._seen.update(mergeable(self._pid, self._tid))
        return tuple(joined(sorted(self._seen)))


def joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Sorted spans, those that touch or overlap as one."""
    first, last = 0, 0
    for start, end in spans:
        if start <= last and last:
            last = max(last, end)
            continue
        if last:
            yield first, last
        first, last = start, end
    if last:
        yield first, last


class Cover:
    """``cover_ranges``, worked out only when something has changed."""

    def __init__(self) -> None:
        self._of: tuple[MappingTable, bytes, Spans] | None = None
        self._answer: tuple[tuple[Range, ...], ...] = ()

    def ranges(
        self, table: MappingTable, coverage: bytes, hidden: Spans = ()
    ) -> tuple[tuple[Range, ...], ...]:
        """See ``cover_ranges``."""
        if self._of is None or self._of[0] is not table or self._of[1:] != (coverage, hidden):
            self._of = (table, coverage, hidden)
            self._answer = cover_ranges(table, coverage, hidden)
        return self._answer


def cover_ranges(
    table: MappingTable, coverage: Sequence[int], hidden: Spans = ()
) -> tuple[tuple[Range, ...], ...]:
    """Mappings that may be written and are not tracked; those that other processes may write, too; those that
    are tracked; of these, those that a device or io_uring may write, too.

    Args:
        hidden: where the tracker may have missed writes, whatever its coverage says; see ``Merges``.
    """
    blind, shared, tracked, pinned = [], [], [], []
    ends = [end for _, end in hidden]
    for index, cover in enumerate(coverage):
        span = Range(*table.range_of(index))
        if cover in (Coverage.OTHER_WRITERS, Coverage.SHARED_FILE, Coverage.SOFT_DIRTY_SHARED):
            shared.append(span)
        if cover == Coverage.PINNED:
            pinned.append(span)
        next_one = bisect_right(ends, span.start)
        may_miss = next_one < len(hidden) and hidden[next_one][0] < span.end
        if TRACKED[cover] and not may_miss:
            tracked.append(span)
            continue
        mapping = table[index]
        stable = mapping.kind is Kind.SPECIAL or not ("w" in mapping.perms or "s" in mapping.perms)
        if not stable:
            blind.append(span)
    return tuple(blind), tuple(shared), tuple(tracked), tuple(pinned)
