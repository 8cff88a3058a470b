"""A Source without a kernel.

``FakeSource`` ticks when told to; ``python tests/ui/fake.py`` opens the screen on one that ticks by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from fake_target import FakeTarget
from fake_world import process, world

from memtop.model.actions import Arm, ArmCost, ClearRefs, Method, Notice
from memtop.model.detail import Detail, Numa, Smaps
from memtop.model.layout import PAGE
from memtop.model.peek import PageFlags, Peek
from memtop.model.sample import Process, Sample
from memtop.model.scope import Scope
from memtop.sampler.source import Key, Position, Rewind


class FakeSource:
    """Implements ``memtop.sampler.source.Source``; records what was asked in ``asked``."""

    def __init__(self, *targets: FakeTarget, interval: float = 1.0, readonly: bool = False) -> None:
        self.targets = {
            (t.process.pid, t.process.start_time): t for t in targets or (FakeTarget(process(), world()),)
        }
        self.readonly = readonly
        self.asked: list[tuple[object, ...]] = []
        self.frozen = self.started = self.stopped = False
        self.position: Position | None = None
        self._interval = interval
        self._on_sample: Callable[[Sample], None] = lambda sample: None
        self._on_notice: Callable[[Notice], None] = lambda notice: None

    @property
    def interval(self) -> float:
        return self._interval

    @property
    def processes(self) -> list[Process]:
        return [t.process for t in self.targets.values()]

    @property
    def target(self) -> FakeTarget:
        return next(iter(self.targets.values()))

    def start(self, on_sample: Callable[[Sample], None], on_notice: Callable[[Notice], None]) -> None:
        self._on_sample, self._on_notice, self.started = on_sample, on_notice, True

    def stop(self) -> None:
        self.stopped = True

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            for target in self.targets.values():
                self._on_sample(target.sample(self._interval))

    def notice(self, text: str, severity: str = "information", key: Key | None = None) -> None:
        self._on_notice(Notice(text, severity, key))

    def set_interval(self, seconds: float) -> None:
        self._interval = seconds
        self.asked.append(("interval", seconds))

    def set_frozen(self, frozen: bool) -> None:
        self.frozen = frozen
        self.asked.append(("frozen", frozen))

    def step(self, moments: int, rewind: Rewind) -> None:
        self.asked.append(("step", moments))

    def change_speed(self, steps: int) -> None:
        self.asked.append(("speed", steps))

    def watch(self, key: Key, mapping_id: int, start: int, cell_pages: int, cells: int) -> None:
        self.targets[key].watch = mapping_id, start, cell_pages, cells
        self.asked.append(("watch", key, mapping_id, start, cell_pages, cells))

    def peek(self, key: Key, address: int, pages: int, contents: bool, then: Callable[[Peek], None]) -> None:
        self.asked.append(("peek", key, address, pages, contents))
        target = self.targets[key]
        m = next((m for m in target.mappings if m.start <= address < m.start + m.pages * PAGE), None)
        if m is None:
            then(Peek(address, target.time, why="nothing is mapped there any more"))
            return
        first = (address - m.start) // PAGE
        there = [p for p in range(first, min(first + pages, m.pages)) if m.resident(p)]
        if not contents:
            then(Peek(address, target.time, PageFlags(pages, len(there), 0, 0, pages, 0, 0, 0, 0)))
        elif not there:
            then(Peek(address, target.time, PageFlags(1, 0, 0), None, "not resident: not read"))
        else:
            text = b"\x1b]52;c;AAAA\x07 page %d of %s " % (there[0], m.name)
            page = (text + bytes(range(256)) * 15).ljust(PAGE, b"\0")[:PAGE]
            then(Peek(m.start + there[0] * PAGE, target.time, PageFlags(1, 1, 0, 1, 1, 0, 0, 0, 0), page))

    def detail(self, key: Key, mapping_id: int, anyway: bool, then: Callable[[Detail], None]) -> None:
        self.asked.append(("detail", key, mapping_id, anyway))
        then(self.details(key, mapping_id))

    def details(self, key: Key, mapping_id: int) -> Detail:
        target = self.targets[key]
        m = next((m for m in target.mappings if m.id == mapping_id), None)
        if m is None:
            return Detail(0, target.time, 0.0, None, why="the mapping is gone")
        there = sum(m.resident(p) for p in range(0, m.pages, 64)) * 64 * PAGE
        sizes = {
            "Size": m.pages * PAGE,
            "KernelPageSize": PAGE,
            "MMUPageSize": PAGE,
            "Rss": there,
            "Pss": there,
        }
        sizes |= {"Pss_Dirty": there // 2, "Shared_Clean": 0, "Shared_Dirty": 0, "Private_Clean": there // 2}
        sizes |= {"Private_Dirty": there - there // 2, "Referenced": there, "Anonymous": there, "KSM": 0}
        sizes |= {"LazyFree": 0, "AnonHugePages": 0, "ShmemPmdMapped": 0, "FilePmdMapped": 0}
        sizes |= {
            "Shared_Hugetlb": 0,
            "Private_Hugetlb": 0,
            "Swap": 12 << 20,
            "SwapPss": 12 << 20,
            "Locked": 0,
        }
        flags = ("rd", "wr", "mr", "mw", "me", "ac", "sd", "hg", "uw", "zz")
        smaps = Smaps(m.start, m.start + m.pages * PAGE, sizes, {"THPeligible": 1}, flags)
        numa = Numa(
            "bind:0-1", {0: there // PAGE // 3, 1: there // PAGE // 3 * 2}, PAGE, {"mapmax": 3, "dirty": 77}
        )
        huge = "may have huge pages: transparent_hugepage/enabled is madvise and it asked for them (madvise)"
        return Detail(m.start, target.time, 0.0123, smaps, huge, numa)

    def arm_cost(
        self, key: Key, method: Method, choice: Arm | None = None, scope: Scope | None = None
    ) -> ArmCost | None:
        t = self.targets[key]
        if not t.ticks:
            return None
        if scope is not None:
            pages = (scope.span[1] - scope.span[0]) // PAGE
            part = None if scope.part is None else pages * PAGE
            return ArmCost(method, 1, len(t.mappings) - 1, pages, pages // 512, part=part, one=True)
        tracked = [m for m in t.mappings if m.coverage.tracked]
        return ArmCost(Method.WRITE_PROTECT, len(tracked), len(t.mappings) - len(tracked), 2_100_000, 1980)

    def arm(self, key: Key, method: Method, choice: Arm | None = None, scope: Scope | None = None) -> None:
        self.targets[key].method, self.targets[key].baseline = method, True
        self.asked.append(("arm", key, method) if scope is None else ("arm", key, method, scope))

    def disarm(self, key: Key) -> None:
        self.targets[key].method = Method.OFF
        self.asked.append(("disarm", key))

    def clear_refs(self, key: Key, what: ClearRefs) -> None:
        self.asked.append(("clear_refs", key, what))


class LiveFake(FakeSource):
    """Ticks on a thread of its own, like the real one."""

    def __init__(self, *targets: FakeTarget, interval: float = 1.0, readonly: bool = False) -> None:
        super().__init__(*targets, interval=interval, readonly=readonly)
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, on_sample: Callable[[Sample], None], on_notice: Callable[[Notice], None]) -> None:
        super().start(on_sample, on_notice)
        self._thread.start()

    def stop(self) -> None:
        super().stop()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self.stopped:
            if not self.frozen:
                self.tick()
            self._wake.wait(self._interval)


def two() -> FakeSource:
    """A source of two processes."""
    return FakeSource(
        FakeTarget(process(), world()), FakeTarget(process(812, "postgres", "postgres"), world()[:6], 2)
    )


if __name__ == "__main__":
    import sys

    from memtop.ui import run

    others = [FakeTarget(process(812, "postgres", "postgres"), world()[:6], 2)] if "--two" in sys.argv else []
    source = LiveFake(FakeTarget(process(), world()), *others)
    sys.exit(
        run(
            lambda: source,
            source.processes,
            arm_at_start=None if "--off" in sys.argv else Method.AUTO,
            readonly="--readonly" in sys.argv,
            ascii="--ascii" in sys.argv,
        )
    )
