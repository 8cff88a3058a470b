"""The sampling thread: one tick a target and interval, requests in between.

Deadlines are kept, not sleeps added up: a slow tick shortens the next wait, a missed deadline is
skipped, and so is one whose sample would cost more than it may (``budget``). Rates never depend on it, they
use the measured interval.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from memtop.linux import access
from memtop.linux.clear_refs import clear
from memtop.linux.errors import Failed, MemtopError, ProcessGone
from memtop.model import units
from memtop.model.actions import Arm, ArmCost, ClearRefs, Method, Notice
from memtop.model.detail import Detail
from memtop.model.peek import Peek
from memtop.model.sample import Life, Sample
from memtop.model.scope import Scope
from memtop.model.units import LONGEST, SHORTEST
from memtop.sampler.detail import Errand
from memtop.sampler.source import Key, Position, Rewind
from memtop.sampler.target import Target
from memtop.sampler.telling import refusal, tracking_notice
from memtop.tracking.base import WatchRange

LONG_WAIT = 5.0
"""Seconds without a sample that a user should know the reason of."""


class Sampler:
    """The live Source (see ``source.Source``).

    Args:
        targets: become the sampler's, closed by ``stop``.
        interval: nominal seconds between samples.
        arrivals: asked before each tick for processes that are to be sampled from then on, too; what it
            raises becomes a notice.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        interval: float = 1.0,
        arrivals: Callable[[], Sequence[Target]] = tuple,
    ) -> None:
        self._arrivals = arrivals
        self.readonly = access.readonly()
        self._targets = {target.key: target for target in targets}
        self._interval = min(max(interval, SHORTEST), LONGEST)
        self._frozen = False
        self._stopping = False
        self._requests: deque[Callable[[], None]] = deque()
        self._told: set[Key] = set()
        self._lent: dict[Key, str] = {}
        self._peeks = 0
        self._errand = Errand()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._on_sample: Callable[[Sample], None] = lambda sample: None
        self._on_notice: Callable[[Notice], None] = lambda notice: None

    @property
    def interval(self) -> float:
        """Nominal seconds between samples."""
        return self._interval

    @property
    def position(self) -> Position | None:
        """It keeps no samples."""
        return None

    def start(self, on_sample: Callable[[Sample], None], on_notice: Callable[[Notice], None]) -> None:
        """Starts the thread; the first tick comes at once."""
        self._on_sample, self._on_notice = on_sample, on_notice
        self._thread = threading.Thread(target=self._run, name="memtop-sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the tick that runs; every target is given back. Idempotent."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        else:
            self._close()

    def set_interval(self, seconds: float) -> None:
        """Takes effect for the wait that runs now."""
        self._interval = min(max(seconds, SHORTEST), LONGEST)
        self._request(lambda: None)

    def set_frozen(self, frozen: bool) -> None:
        """While frozen no tick runs; requests still do, and what is armed stays armed."""
        with self._wake:
            self._frozen = frozen
            self._wake.notify()

    def step(self, moments: int, rewind: Rewind) -> None:
        """It keeps no samples."""

    def change_speed(self, steps: int) -> None:
        """Time has one speed."""

    def watch(self, key: Key, mapping_id: int, start: int, cell_pages: int, cells: int) -> None:
        """The next tick counts this range in fine cells, and so do the following ones."""
        if (target := self._targets.get(key)) is not None:  # else it has just ended
            target.watch = WatchRange(mapping_id, start, cell_pages, cells)

    def peek(self, key: Key, address: int, pages: int, contents: bool, then: Callable[[Peek], None]) -> None:
        """On the sampling thread; one that a newer one has overtaken is never made."""
        self._peeks += 1
        number = self._peeks

        def answer() -> None:
            if number == self._peeks:
                try:
                    then(self._target(key).peek(address, pages, contents))
                except MemtopError as error:
                    then(Peek(address, time.time(), why=error.sentence))

        self._request(answer)

    def detail(self, key: Key, mapping_id: int, anyway: bool, then: Callable[[Detail], None]) -> None:
        """On a thread of its own: ticks go on."""
        try:
            target = self._target(key)
        except ProcessGone as error:
            then(Detail(0, time.time(), why=error.sentence))
        else:
            self._errand.send(lambda: then(target.detail(mapping_id, anyway)))

    def arm_cost(
        self, key: Key, method: Method, choice: Arm | None = None, scope: Scope | None = None
    ) -> ArmCost | None:
        """From the last sample."""
        target = self._targets.get(key)
        return None if target is None else target.arm_cost(method, choice, scope)

    def arm(self, key: Key, method: Method, choice: Arm | None = None, scope: Scope | None = None) -> None:
        """On the sampling thread; the baseline follows at once."""
        self._request(lambda: self._act(key, lambda target: self._arm(target, method, choice, scope)))

    def disarm(self, key: Key) -> None:
        """On the sampling thread."""
        self._request(lambda: self._act(key, lambda target: self._arm(target, Method.OFF)))

    def clear_refs(self, key: Key, what: ClearRefs) -> None:
        """On the sampling thread."""
        self._request(lambda: self._act(key, lambda target: self._clear(target, what)))

    @contextmanager
    def lend(self, key: Key, whom: str) -> Iterator[Target]:
        """Shares a target with another thread: meanwhile nobody changes how it is tracked.

        Args:
            key: which process.
            whom: for the sentence why not.

        Raises:
            ProcessGone: it has ended.
        """
        self._lent[key] = whom  # first: from now on it is not let go of
        try:
            yield self._target(key)
        finally:
            del self._lent[key]
            self._request(self._let_go)

    def _target(self, key: Key) -> Target:
        """The process.

        Raises:
            ProcessGone: it has ended.
        """
        target = self._targets.get(key)
        if target is None or target.ended:
            raise ProcessGone(f"process {key[0]} has ended")
        return target

    # ---- on the sampling thread -----------------------------------------------------------------

    def _request(self, action: Callable[[], None]) -> None:
        with self._wake:
            self._requests.append(action)
            self._wake.notify()

    def _act(self, key: Key, action: Callable[[Target], None]) -> None:
        """Runs an action on the process that it was meant for; what fails is a notice."""
        try:
            target = self._target(key)
            if key in self._lent:
                raise Failed("tracking stays as it is", f"{self._lent[key]} follows what is written")
            action(target)
        except MemtopError as error:
            if key in self._targets:  # else its last sample has told
                self._on_notice(refusal(error, "error", key))

    def _arm(
        self, target: Target, method: Method, choice: Arm | None = None, scope: Scope | None = None
    ) -> None:
        cost = target.arm_cost(method, choice, scope)
        if target.tracker_info.name != "off":
            self._tick(target)  # what the tracker of before has seen since its last tick is not lost
            self._target(target.key)
        try:
            target.arm(method, choice, scope)
        finally:
            self._tick(target)  # the baseline, of this process alone: the others keep their rhythm
        if target.last is None or target.last.life is Life.RUNNING:  # else that sample has told what happened
            self._on_notice(tracking_notice(target, method, cost, scope))

    def _clear(self, target: Target, what: ClearRefs) -> None:
        if what is ClearRefs.SOFT_DIRTY and target.tracker_info.name == "soft-dirty":
            self._tick(target)  # those bits are the tracker's: what they say is read before they are cleared
        clear(target.process.pid, what)
        self._on_notice(Notice(f"{target.process.comm}: cleared {what.title}", "information", target.key))

    def _run(self) -> None:
        try:
            self._loop()
        finally:
            self._close()

    def _loop(self) -> None:
        self._tick_all()
        last = time.monotonic()
        while True:
            with self._wake:
                while not (self._stopping or self._requests or self._due(last)):
                    self._wake.wait(self._left(last))
                if self._stopping:
                    return
                requests = list(self._requests)
                self._requests.clear()
            for action in requests:
                action()
            if self._due(last):
                self._tick_all(only_affordable=True)
                # The deadline that was due, so that ticks keep their rhythm; a missed one is skipped.
                last = max(last + self._interval, time.monotonic() - self._interval)

    def _left(self, last: float) -> float | None:
        return None if self._idle else max(last + self._interval - time.monotonic(), 0.0)

    def _due(self, last: float) -> bool:
        return not self._idle and time.monotonic() >= last + self._interval

    @property
    def _idle(self) -> bool:
        return self._frozen or all(target.ended for target in self._targets.values())

    def _welcome(self) -> None:
        try:
            new = self._arrivals()
        except MemtopError as error:
            self._on_notice(refusal(error, "warning"))
            return
        if new:
            # A new dict: the screen's thread looks targets up.
            self._share({**self._targets, **{target.key: target for target in new}})

    def _share(self, targets: dict[Key, Target]) -> None:
        self._targets = targets
        for target in targets.values():
            target.share_processor(len(targets))

    def _let_go(self, unseen: Target | None = None) -> None:
        """Of what has ended nothing is held on to: a process may fork all day. A dump keeps what it follows.

        Args:
            unseen: one that ended before its first sample.
        """
        ended = {key for key, target in self._targets.items() if target.ended or target is unseen}
        over = ended - set(self._lent)
        for key in over:
            self._targets[key].close()
        if over:
            self._share({key: target for key, target in self._targets.items() if key not in over})

    def _tick_all(self, only_affordable: bool = False) -> None:
        self._welcome()
        for target in list(self._targets.values()):
            if target.ended or (only_affordable and self._waits(target)):
                continue
            self._tick(target)

    def _tick(self, target: Target) -> None:
        try:
            samples = self._samples(target)
        except MemtopError as error:
            if isinstance(error, ProcessGone) and target.last is None and len(self._targets) > 1:
                self._let_go(target)  # nobody has seen it, and there are others
            else:
                self._on_notice(refusal(error, "error", target.key))
        except Exception as error:
            # The thread must live on: a bug is shown, not hidden behind a frozen screen.
            self._on_notice(Notice(f"memtop failed in a tick: {error!r}", "error", target.key))
        else:
            if target.ended:
                self._let_go()
            for sample in samples:
                self._on_sample(sample)
            if not samples[-1].stretched:
                self._told.discard(target.key)

    def _samples(self, target: Target) -> list[Sample]:
        """One more, behind those that a dump has taken meanwhile."""
        with target.lock:
            sample = target.tick()
            aside, target.aside = target.aside, []
            return [*aside, sample]

    def _waits(self, target: Target) -> bool:
        """Whether a sample would cost too much now; of a long wait the user is told once."""
        wait = target.wait()
        if wait > LONG_WAIT and target.key not in self._told:
            self._told.add(target.key)
            name, left = target.process.comm, units.seconds(wait)
            text = (
                f"{name}: the next sample comes in about {left}, when the faults since the last are paid for"
            )
            short = f"the next sample comes in about {left} (--max-cost allows more)"
            self._on_notice(Notice(f"{text} (--max-cost)", "information", target.key, (short,)))
        return wait > 0

    def _close(self) -> None:
        for target in self._targets.values():
            target.close()
