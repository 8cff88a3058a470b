"""One process under observation: from an open handle to one frozen Sample a tick."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from memtop.linux.counters import Counters
from memtop.linux.errors import Failed, MemtopError, NotPermitted, ProcessGone
from memtop.linux.features import KernelFeatures
from memtop.linux.pagemap import PageCounts, Scanner
from memtop.linux.peek import look, peek
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader, Stat, read_swap
from memtop.linux.userfaultfd import fault_seconds
from memtop.model.actions import Arm, ArmCost, Care, Method
from memtop.model.detail import Detail
from memtop.model.mapping import MappingTable
from memtop.model.peek import Peek
from memtop.model.sample import Cost, Faults, Life, Sample, TrackerInfo
from memtop.model.scope import Scope
from memtop.sampler import telling
from memtop.sampler.budget import FAULT_S, Budget
from memtop.sampler.detail import read_detail
from memtop.sampler.locked import locked
from memtop.sampler.stretch import Stretch
from memtop.sampler.totals import totals_of, watched_of
from memtop.tracking.base import Tick, Tracker, WatchRange
from memtop.tracking.choose import DEFAULT_CARE, NONE, Share, arm
from memtop.tracking.consumers import FanOut
from memtop.tracking.doubts import Doubts
from memtop.tracking.passive import BlindTracker, PassiveTracker
from memtop.tracking.policy import BY_ARM, PASSIVE, cost_of
from memtop.tracking.price import price, share_in_huge

_log = logging.getLogger(__name__)

EXECS = 50
"""How many in a row are met with patience: a process that is being taken down has no address space either."""

ZERO_EVERY = 10.0
"""Seconds between counts of zero pages in armed mappings: they need a second look at every page."""


class Target:
    """Owns everything that memtop holds of one process: handle, maps, pagemap, tracker.

    Attributes:
        lock: held by whatever reads and clears; a dump shares the tracker from a thread of its own.
        aside: samples that a dump has taken, for whoever shows them.
        tracker: in charge now; as long as it is the same, nothing that is written escapes it.
        execs: how often the address space has become another one.
        closed: it was given back.

    Args:
        handle: becomes the target's, closed with it.
        kernel: what this kernel can.
        swap: read smaps each tick for swap per mapping. Expensive: the kernel walks every page and the
            target's own mmap calls wait meanwhile.
        care: what tracking may touch and cost.

    Raises:
        MemtopError: the process can't be looked at.
    """

    def __init__(
        self, handle: ProcessHandle, kernel: KernelFeatures, *, swap: bool = False, care: Care = DEFAULT_CARE
    ) -> None:
        self.process = handle.describe()
        self.watch: WatchRange | None = None
        self.lock = threading.RLock()
        self.aside: list[Sample] = []
        self.fan_out, self.execs, self.closed = FanOut(), 0, False
        self.last: Sample | None = None
        self._handle = handle
        self._kernel = kernel
        self._swap = swap
        self._care = care
        self._budget = Budget(care.max_cost)
        self._stretch = Stretch(self._budget, care.max_cost)
        self._doubts = Doubts()
        self._stop_s = 0.0
        self._scanned_at: float | None = None
        self._zero_at = float("-inf")
        self._stat: tuple[float, Stat] | None = None
        self._message = ""
        self._counters = Counters(self.process.pid)
        try:
            self._open()
        except BaseException:
            self._counters.close()
            raise
        _log.info("%d: looks at %s of user %s", self.process.pid, self.process.comm, self.process.user)

    def _open(self) -> None:
        """Opens maps and pagemap; both stay bound to the address space of this moment."""
        pid, tid = self.process.pid, self._handle.maps_tid()
        self._maps = MapsReader(pid, tid)
        self._scanner: Scanner | None = None
        self.tracker: Tracker
        self.refused: tuple[MemtopError, ...] = ()
        try:
            self._scanner = Scanner(
                pid,
                use_ioctl=bool(self._kernel.pagemap_scan.works),
                guard_bit=bool(self._kernel.guard_bit.works),
                soft_dirty_bit=bool(self._kernel.soft_dirty_bit.works),
                tid=tid,
            )
            self.tracker = PassiveTracker(self._scanner)
        except ProcessGone:
            self._maps.close()
            raise
        except MemtopError as error:
            self.tracker, self.refused = BlindTracker(error.sentence), (error,)

    @property
    def key(self) -> tuple[int, int]:
        """pid and start time."""
        return self.process.pid, self.process.start_time

    @property
    def tracker_info(self) -> TrackerInfo:
        """The tracker in charge now."""
        return self.tracker.info

    @property
    def ended(self) -> bool:
        """The process is gone and the last sample says so."""
        return self.last is not None and self.last.life is Life.ENDED

    @locked
    def arm(self, method: Method, choice: Arm | None = None, scope: Scope | None = None) -> None:
        """Replaces the tracker; OFF goes back to looking only.

        Args:
            method: how writes are tracked.
            choice: which mappings; None: as memtop was started.
            scope: the part of the process to track, whatever it is mapped from; None: all.

        Raises:
            MemtopError: it can't be had, or the scope is not what it was; the tracker of before stays.
        """
        if self._scanner is None:
            if method in (Method.OFF, Method.AUTO):
                return
            raise NotPermitted("tracking is not possible", self.tracker.info.note)
        if self._handle.life() is Life.ENDED:
            raise ProcessGone(f"process {self.process.pid} ({self.process.comm}) has ended")
        if scope is not None:
            choice = Arm.ALL
            if why := scope.why_not(self._maps.read()):
                raise Failed("nothing was done", why)
            if self.tracker.info.name != "off" and self.fan_out.followed:
                raise Failed("nothing was done", "a dump follows the writes that are tracked now")
        care = self._care if choice is None else replace(self._care, arm=choice)
        huge = self._huge() if method is Method.AUTO else NONE
        _log.info("%d: tracking of writes by %s is asked for", self.process.pid, method.value)
        try:
            armed = arm(method, self._handle, self._scanner, self._kernel, care, huge, scope)
        except MemtopError as error:
            _log.info("%d: refused: %s", self.process.pid, error.sentence)
            raise
        if armed.tracker.info.name != "off":
            self._budget.fault_s = fault_seconds() or FAULT_S
        self.tracker.close()
        self.tracker, self.refused = armed.tracker, armed.refused
        self._stop_s += armed.stop_s
        self._stretch.forget()
        info = armed.tracker.info
        _log.info("%d: tracker in charge: %s%s", self.process.pid, info.name, info.note and f" ({info.note})")

    def arm_cost(
        self, method: Method, choice: Arm | None = None, scope: Scope | None = None
    ) -> ArmCost | None:
        """What arming would touch, from the last sample; None before the first."""
        if self.last is None:
            return None
        if scope is not None:
            kept = self._care.keep_huge
            return cost_of(BY_ARM[Arm.ALL], self.last.table, self.last.counts, kept, scope)
        care = self._care if choice is None else replace(self._care, arm=choice)
        return price(method, care, self._kernel, self.last.table, self.last.counts)

    def look_at_cost(self, method: Method) -> ArmCost | None:
        """The same before the first sample, from a look of its own.

        None: page tables can't be read, or it can't be had, as far as that shows beforehand.
        """
        counted = self._look()
        return None if counted is None else price(method, self._care, self._kernel, *counted, self._handle)

    def _huge(self) -> Share:
        """How much of the memory is in huge pages."""
        counted = self._look() if self.last is None else (self.last.table, self.last.counts)
        return NONE if counted is None else share_in_huge(counted[1])

    def _look(self) -> tuple[MappingTable, bytes] | None:
        """What is there, without a sample."""
        if self._scanner is None:
            return None
        table = self._maps.read()
        modes, _ = PASSIVE.decide(table)
        return table, self._scanner.scan(table, bytes(modes)).counts

    @locked
    def peek(self, address: int, pages: int, contents: bool) -> Peek:
        """As ``Source.peek``.

        Raises:
            MemtopError: why it can't be looked at.
        """
        if self._scanner is None:
            raise NotPermitted("page tables can't be read", self.tracker.info.note)
        if contents:
            return peek(self._handle.maps_tid() or self.process.pid, self._scanner, address, pages)
        return look(self._scanner, address, pages)

    def detail(self, mapping_id: int, anyway: bool) -> Detail:
        """As ``Source.detail``; the one method that may run on any thread."""
        if self.last is None or self.ended:
            why = (
                "the process has ended: the kernel says nothing of it any more"
                if self.ended
                else "not yet read"
            )
            return Detail(0, time.time(), why=why)
        try:
            return read_detail(self.last, mapping_id, self._handle.maps_tid(), anyway)
        except MemtopError as error:
            return Detail(0, time.time(), why=error.sentence)

    def share_processor(self, targets: int) -> None:
        """So many targets together may take of memtop's own processor time what one may."""
        self._budget.cpu_share = self._care.max_cost / targets

    def charge(self, cpu_s: float) -> None:
        """Seconds of processor time that were spent on the last sample after it was taken."""
        self._budget.charge(cpu_s)

    def wait(self) -> float:
        """Seconds until the next sample would stay within ``--max-cost``, as far as that is known; 0: now."""
        try:
            wait = self._budget.wait(time.monotonic(), self._counters.stat().minflt)
        except MemtopError:  # it ended: the last tick says so
            return 0.0
        if wait > 0:
            self._stretch.put_off()
        return max(wait, 0.0)

    @locked
    def tick(self) -> Sample:
        """One Sample.

        What a process may do is part of the answer, not an error: after an exec the new image is shown
        and no longer tracked; after its end the last picture stays, marked as such.

        Raises:
            MemtopError: it was never seen alive, or looking at it is refused from now on.
        """
        if self.last is not None and self.last.life is Life.ENDED:
            return self.last
        try:
            self.last = self._tick()
        except ProcessGone:
            self.last = self._after_the_mm()
        return self.last

    @locked
    def close(self) -> None:
        """Gives back what was armed and lets go of the process. Idempotent."""
        self.closed = True
        self.tracker.close()
        self._maps.close()
        if self._scanner is not None:
            self._scanner.close()
        self._counters.close()
        self._handle.close()

    def _tick(self, life: Life = Life.RUNNING) -> Sample:
        began, cpu = time.monotonic(), time.thread_time()
        table = self._maps.read()
        if self.tracker.prepare(table):
            table = self._maps.read()
        count_zero = began - self._zero_at >= ZERO_EVERY
        tick = self.tracker.tick(table, count_zero=count_zero, watch=self.watch)
        ended = time.monotonic()
        if count_zero:
            self._zero_at = ended
        self.fan_out.publish(tick.runs)
        interval = ended - self._scanned_at if self._scanned_at is not None else 0.0
        self._scanned_at = ended
        info, faults = self.tracker.info, self._faults()
        memory, sums = self._counters.memory(), tick.sum
        totals = totals_of(tick, info, interval, memory, sums, scanned=self._scanner is not None)
        swapped = read_swap(self.process.pid, table, self._handle.maps_tid()) if self._swap else None
        stop_s, self._stop_s = self._stop_s + tick.stop_s, 0.0
        cpu_s = time.thread_time() - cpu
        target_s = self._book(tick, info, cpu_s, sums)
        stretched, why = self._stretch.taken(self.process, interval, may_say=not self._message)
        message, self._message = self._message or why, ""
        if life is Life.EXECED:
            _log.info("%d: %s", self.process.pid, message)
        return Sample(
            time=time.time(),
            interval=interval,
            process=self.process,
            tracker=info,
            table=table,
            counts=tick.counts,
            coverage=self._doubts.qualify(tick.coverage, memory),
            runs=tick.runs,
            totals=totals,
            faults=faults,
            cost=Cost(time.monotonic() - began, cpu_s, tick.target_faults, stop_s, target_s),
            life=life,
            baseline=tick.baseline,
            swapped=swapped,
            watched=watched_of(self.watch, tick),
            message=message,
            stretched=stretched,
        )

    def _book(self, tick: Tick, info: TrackerInfo, cpu_s: float, sums: PageCounts) -> float:
        tracked = info.name != "off"
        caused = tick.target_faults if tracked and not tick.baseline else None
        minor = self._stat[1].minflt if self._stat else 0
        protected = sums.resident if tracked else 0
        return self._budget.spend(time.monotonic(), minor, caused, cpu_s, protected)

    def _faults(self) -> Faults:
        now, stat = time.monotonic(), self._counters.stat()
        before, self._stat = self._stat, (now, stat)
        if before is None or now <= before[0]:
            return Faults()
        span = now - before[0]
        return Faults((stat.minflt - before[1].minflt) / span, (stat.majflt - before[1].majflt) / span)

    def _after_the_mm(self) -> Sample:
        """The address space is gone: by an exec the process lives on in a new one, else it ended."""
        clock = time.time()
        name = f"{self.process.comm} {self.process.pid}"
        tracked = self.tracker.info.name != "off"
        for _ in range(EXECS):
            if self._handle.life() is not Life.RUNNING:
                break
            try:
                self._reopen()
                self._message = telling.ran_exec(name, clock, tracked)
                return self._tick(Life.EXECED)
            except ProcessGone:
                pass  # it ended right after, or ran exec once more
        if self.last is None:
            raise ProcessGone(f"process {self.process.pid} ended before it could be looked at")
        _log.info("%d: %s ended", self.process.pid, name)
        return replace(
            self.last,
            time=time.time(),
            life=Life.ENDED,
            message=telling.ended(name, clock),
        )

    def _reopen(self) -> None:
        self.tracker.close()
        self._maps.close()
        if self._scanner is not None:
            self._scanner.close()
        self._scanned_at, self._stat, self.execs = None, None, self.execs + 1
        self.process = self._handle.describe()
        self._open()


def open_target(pid: int, kernel: KernelFeatures, *, swap: bool = False, care: Care = DEFAULT_CARE) -> Target:
    """Opens a process by pid.

    Raises:
        MemtopError: with the sentence why it can't be looked at.
    """
    if pid <= 0:
        raise Failed(f"{pid} is no process id")
    handle = ProcessHandle.open(pid)
    try:
        return Target(handle, kernel, swap=swap, care=care)
    except BaseException:
        handle.close()
        raise
