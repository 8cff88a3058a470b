"""A Source without a kernel: a made-up process with every pattern of writing and every coverage.

``FakeSource`` ticks when told to; ``python tests/ui/fake.py`` opens the screen on one that ticks by itself.
"""

from __future__ import annotations

import random
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from memtop.model.actions import Arm, ArmCost, ClearRefs, Method, Notice
from memtop.model.coverage import Coverage, Exactness
from memtop.model.detail import Detail, Numa, Smaps
from memtop.model.layout import COUNT, MAPPING, PAGE, CountFlag, Kind, Perm
from memtop.model.mapping import MappingTable
from memtop.model.peek import PageFlags, Peek
from memtop.model.runs import PageRun, PageRuns
from memtop.model.sample import Cost, Faults, Life, Process, Sample, Totals, TrackerInfo, Watched
from memtop.model.scope import Scope
from memtop.sampler.source import Key, Position, Rewind

RW = Perm.READ | Perm.WRITE
TIME = 1795218067.0  # 2026-11-20 23:41:07Z


@dataclass
class FakeMapping:
    """One mapping; ``write(rng, tick)`` says which pages (offsets) a tick writes."""

    start: int
    pages: int
    kind: Kind
    name: bytes
    write: Callable[[random.Random, int], set[int]]
    resident: Callable[[int], bool] = lambda page: True
    perms: int = RW
    coverage: Coverage = Coverage.EXACT
    huge: float = 0.0
    inode: int = 0
    id: int = 0
    flags: CountFlag = CountFlag.SCANNED


def idle(rng: random.Random, tick: int) -> set[int]:
    return set()


def hot(first: int, pages: int) -> Callable[[random.Random, int], set[int]]:
    return lambda rng, tick: {first + i for i in range(pages) if rng.random() < 0.9}


def sweep(pages: int, step: int) -> Callable[[random.Random, int], set[int]]:
    return lambda rng, tick: {(tick * step + i) % pages for i in range(step)}


def scattered(pages: int, count: int) -> Callable[[random.Random, int], set[int]]:
    return lambda rng, tick: {rng.randrange(pages) for _ in range(count)}


def world() -> list[FakeMapping]:
    """A process with each pattern."""
    m = FakeMapping
    text = Perm.READ | Perm.EXEC
    return [
        m(
            0x55D1C2A00000,
            120,
            Kind.TEXT,
            b"/usr/bin/redis-server",
            idle,
            perms=text,
            inode=411,
            coverage=Coverage.FILE_LEFT_OUT,
        ),
        m(0x55D1C2C41000, 33792, Kind.HEAP, b"[heap]", hot(300, 180), lambda p: p < 30000),
        m(
            0x7F0F80000000,
            524288,
            Kind.ANON,
            b"",
            scattered(200000, 1500),
            lambda p: p < 262144 and p % 7000 < 6500,
        ),
        m(
            0x7F1240000000,
            131072,
            Kind.ANON,
            b"[anon:huge pages]",
            scattered(131072, 20),
            huge=1.0,
            flags=CountFlag.SCANNED | CountFlag.WRITTEN_HUGE,
        ),
        m(
            0x7F12A0000000,
            1048576,
            Kind.ANON,
            b"[anon:jemalloc]",
            sweep(1048576, 16384),
            lambda p: p < 900000 or p % 50000 < 9000,
            huge=0.64,
        ),
        m(
            0x7F13B1C00000,
            76800,
            Kind.FILE,
            b"/var/lib/redis/dump.rdb",
            idle,
            lambda p: p % 4096 < 1100,
            perms=Perm.READ | Perm.SHARED,
            coverage=Coverage.FILE_LEFT_OUT,
            inode=911,
        ),
        m(
            0x7F13C8000000,
            16384,
            Kind.SHARED,
            b"/dev/shm/ring",
            sweep(16384, 512),
            perms=RW | Perm.SHARED,
            coverage=Coverage.OTHER_WRITERS,
            inode=77,
        ),
        m(
            0x7F13D0000000,
            8192,
            Kind.ANON,
            b"[anon:arena 7]",
            hot(0, 700),
            lambda p: p < 4000,
            coverage=Coverage.FRESH,
        ),
        m(0x7F13D4000000, 4096, Kind.ANON, b"[anon:own userfaultfd]", idle, coverage=Coverage.BUSY),
        m(0x7F13D8000000, 512, Kind.JIT, b"", hot(100, 12), perms=RW | Perm.EXEC),
        m(
            0x7F13D9000000,
            40,
            Kind.TEXT,
            b"/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
            idle,
            perms=text,
            inode=12,
            coverage=Coverage.FILE_LEFT_OUT,
        ),
        *(
            m(
                0x7F13DA000000 + n * 0x400000,
                430 + 13 * n,
                Kind.TEXT,
                b"/usr/lib/x86_64-linux-gnu/" + lib,
                idle,
                lambda p: p % 9 < 6,
                perms=text,
                inode=100 + n,
                coverage=Coverage.FILE_LEFT_OUT,
            )
            for n, lib in enumerate(
                (
                    b"libc.so.6",
                    b"libm.so.6",
                    b"libssl.so.3",
                    b"libstdc++.so.6.0.30",
                    b"libsystemd.so.0",
                    b"libjemalloc.so.2",
                    b"libatomic.so.1",
                    b"libz.so.1",
                )
            )
        ),
        *(
            m(
                0x7F13E0000000 + n * 0x1000000,
                2048,
                Kind.STACK if n == 9 else Kind.ANON,
                b"[stack]" if n == 9 else b"[anon:thread %d]" % n,
                hot(2000 - 5 * n, 4 + n),
                lambda p: p > 1900,
            )
            for n in range(10)
        ),
        m(0x7FFFD0000000, 1, Kind.SPECIAL, b"[vdso]", idle, perms=text, coverage=Coverage.SPECIAL),
        m(0x7FFFD0002000, 4, Kind.GUARD, b"", idle, lambda p: False, perms=0),
        m(
            0xFFFFFFFFFF600000,
            1,
            Kind.SPECIAL,
            b"[vsyscall]",
            idle,
            perms=Perm.EXEC,
            coverage=Coverage.SPECIAL,
            flags=CountFlag(0),
        ),
    ]


def process(pid: int = 4711, comm: str = "redis-server", user: str = "redis") -> Process:
    return Process(
        pid, 88_000 + pid, "b" * 32, comm, f"/usr/bin/{comm} 127.0.0.1:6379", user, "db-07", TIME - 273_000
    )


def runs_of(start: int, pages: set[int], huge: bool = False) -> list[PageRun]:
    """Neighbouring pages joined."""
    if not pages:
        return []
    ordered = sorted(pages)
    firsts = [i for i, page in enumerate(ordered) if not i or ordered[i - 1] != page - 1]
    return [
        PageRun(start + ordered[i] * PAGE, end - i, huge)
        for i, end in zip(firsts, [*firsts[1:], len(ordered)], strict=True)
    ]


def bits(pages: set[int], total: int) -> int:
    """The 64 cells of a mapping that hold one of these pages."""
    cell = -(-total // 64)
    return sum(1 << i for i in {page // cell for page in pages})


class FakeTarget:
    """One process and what was asked of it."""

    def __init__(self, who: Process, mappings: list[FakeMapping], seed: int = 1) -> None:
        self.process, self.mappings = who, mappings
        self.rng = random.Random(seed)
        self.method = Method.OFF
        self.baseline = False
        self.ticks = 0
        self.life = Life.RUNNING
        self.message = ""
        self.watch: tuple[int, int, int, int] | None = None
        self._next_id = 1
        self._maps: dict[int, tuple[int, int]] = {}
        self.time = TIME

    def _census(self, m: FakeMapping) -> tuple[int, int]:
        """Resident pages and their 64 cells; counted once, for every 16th page of large mappings."""
        if m.id not in self._maps:
            step = 16 if m.pages > 60000 else 1
            there = [p for p in range(0, m.pages, step) if m.resident(p)]
            self._maps[m.id] = len(there) * step, bits(set(there), m.pages)
        return self._maps[m.id]

    def sample(self, interval: float) -> Sample:
        packed, counts, names, coverage, all_runs = b"", b"", b"", [], []
        ids: array[int] = array("Q")
        written_total = resident_total = huge_total = armed = 0
        tracking = self.method is not Method.OFF
        for m in sorted(self.mappings, key=lambda m: m.start):
            if not m.id:
                m.id, self._next_id = self._next_id, self._next_id + 1
            state = m.coverage if tracking else Coverage.OFF
            if tracking and self.baseline and state.tracked:
                state = Coverage.BASELINE
            pages: set[int] = set()
            if state.tracked and not self.baseline:
                pages = {p for p in m.write(self.rng, self.ticks) if p < m.pages and m.resident(p)}
            resident, resident_map = self._census(m)
            runs = runs_of(m.start, pages, bool(m.flags & CountFlag.WRITTEN_HUGE))
            counts += COUNT.pack(
                resident,
                int(resident * m.huge),
                0,
                0,
                0,
                len(pages),
                resident_map,
                bits(pages, m.pages),
                len(all_runs),
                len(runs),
                m.flags if pages else m.flags & CountFlag.SCANNED,
                0,
            )
            all_runs += runs
            packed += MAPPING.pack(
                m.start,
                m.start + m.pages * PAGE,
                0,
                m.inode,
                8 if m.inode else 0,
                1 if m.inode else 0,
                len(names),
                len(m.name),
                m.perms,
                m.kind,
            )
            names += m.name
            ids.append(m.id)
            coverage.append(state)
            written_total += len(pages)
            resident_total += resident
            huge_total += int(resident * m.huge)
            armed += tracking and state.tracked
        measured = interval * 1.004 if self.ticks else 0.0
        self.time += interval
        self.ticks += 1
        sample = Sample(
            time=self.time,
            interval=measured,
            process=self.process,
            tracker=TrackerInfo(
                "write-protect", Exactness.EXACT, "chosen because it is exact to the page", armed, len(ids)
            )
            if tracking
            else TrackerInfo("off", Exactness.NONE, "", 0, len(ids)),
            table=MappingTable(packed, names, ids),
            counts=counts,
            coverage=bytes(coverage),
            runs=PageRuns.of(all_runs),
            totals=Totals(
                0,
                resident_total * PAGE,
                huge_total * PAGE,
                None,
                written_total if tracking else None,
                written_total * PAGE / (measured or 1) if tracking else None,
            ),
            faults=Faults(written_total + 310.0, 0.0) if self.ticks > 1 else Faults(),
            cost=Cost(0.0118, 0.003, written_total),
            life=self.life,
            baseline=self.baseline,
            message=self.message,
            watched=self._watched(),
        )
        self.baseline = False
        return sample

    def _watched(self) -> Watched | None:
        if self.watch is None:
            return None
        mapping_id, start, cell_pages, cells = self.watch
        m = next((m for m in self.mappings if m.id == mapping_id), None)
        if m is None:
            return None
        resident = array("I", bytes(4 * cells))
        for i in range(cells):
            first = (start - m.start) // PAGE + i * cell_pages
            last = min(first + cell_pages, m.pages)
            step = max(cell_pages // 8, 1)
            resident[i] = sum(step for p in range(max(first, 0), last, step) if m.resident(p))
        return Watched(mapping_id, start, cell_pages, resident.tobytes(), bytes(4 * cells))


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
