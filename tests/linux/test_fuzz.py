"""Whatever a target does to its memory: no written page is ever called clean, and "exact" means exact.

    MEMTOP_FUZZ_SECONDS=600 MEMTOP_FUZZ_SEED=1 python -m pytest -s tests/linux/test_fuzz.py

searches for longer, from another seed on. tests/targets/fuzz.c does the random things and logs them.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from struct import Struct

import pytest
from harness import PAGE, Tracked

from memtop.model.coverage import Coverage, Exactness
from memtop.model.sample import Sample

pytestmark = pytest.mark.usefixtures("needs_write_protect")

SECONDS = float(os.environ.get("MEMTOP_FUZZ_SECONDS", "20"))
"""For all tests of this file together."""
SEED = int(os.environ.get("MEMTOP_FUZZ_SEED", "1"))
EVENT = Struct("<QQQII")
WRITTEN, GONE, MAYBE, UNSURE = range(4)
WORDS = ("written", "gone", "maybe", "unsure")
ARENA_PAGES = 4096
ARENAS = range(0x200000000000 // PAGE, 0x210000000000 // PAGE)
"""Page numbers: addresses / 4096, here and below."""


@dataclass(frozen=True)
class Event:
    """What became of some pages, some time between two moments (monotonic, ns)."""

    begin: int
    end: int
    first: int
    pages: int
    what: int

    def __str__(self) -> str:
        return f"{WORDS[self.what]} {self.first:#x}+{self.pages} at {self.begin}…{self.end}"


class Fuzz:
    """A running tests/targets/fuzz.c."""

    def __init__(self, program: Path, seed: int, workers: int, file: Path) -> None:
        self.process = subprocess.Popen(
            [program, str(seed), str(workers), file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def begin(self, steps: int) -> None:
        self.process.stdin.write(b"step %d\n" % steps)  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def answered(self, seconds: float) -> bool:
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def events(self) -> list[Event]:
        head = self.process.stdout.read(8)  # type: ignore[union-attr]
        assert len(head) == 8, f"the target died: {self.process.wait()}"
        count = int.from_bytes(head, "little")
        packed = self.process.stdout.read(count * EVENT.size)  # type: ignore[union-attr]
        return [
            Event(begin, end, start // PAGE, pages, what)
            for begin, end, start, pages, what in EVENT.iter_unpack(packed)
        ]


class Told:
    """What one tick said of the arenas."""

    def __init__(self, began: int, sample: Sample, ended: int) -> None:
        self.began, self.ended = began, ended
        self.baseline = sample.baseline
        self.pages = {
            page
            for run in sample.runs
            if run.start // PAGE in ARENAS
            for page in range(run.start // PAGE, run.start // PAGE + run.pages)
        }
        rows = [
            (row.mapping.start // PAGE, row.mapping.end // PAGE, row.exactness, row.coverage)
            for row in sample.mappings
            if row.mapping.start // PAGE in ARENAS
        ]
        self._starts, self._rows = [row[0] for row in rows], rows

    def about(self, page: int) -> tuple[Exactness, Coverage] | None:
        """How exact this tick calls itself on a page; None: nothing is mapped there."""
        index = bisect_right(self._starts, page) - 1
        if index < 0 or self._rows[index][1] <= page:
            return None
        return self._rows[index][2], self._rows[index][3]

    def exact(self, page: int) -> bool:
        about = self.about(page)
        return about is not None and about[0] is Exactness.EXACT

    def unknown(self, page: int) -> bool:
        """It says itself that it does not know."""
        about = self.about(page)
        return about is not None and about[0] is Exactness.NONE


@dataclass
class Tally:
    """What a search has been through."""

    seeds: int = 0
    rounds: int = 0
    ticks: int = 0
    events: int = 0
    must: int = 0
    unknown: int = 0
    exact: int = 0
    began: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        return (
            f"{self.seeds} seeds, {self.rounds} rounds, {self.ticks} ticks, {self.events} events, "
            f"{self.must} written pages told, {self.exact} pages told by exact mappings, "
            f"{self.unknown} said to be unknown, {time.monotonic() - self.began:.0f} s"
        )


@contextlib.contextmanager
def fuzzed(
    build: Callable[[str], Path], tracked: Callable[[int], Tracked], seed: int, file: Path
) -> Iterator[tuple[Fuzz, Callable[[], Told]]]:
    """A target with some life behind it, and the baseline taken."""
    fuzz = Fuzz(build("fuzz"), seed, seed % 4 + 1, file)
    try:
        fuzz.begin(40)
        fuzz.events()
        tracker = tracked(fuzz.process.pid)

        def tick() -> Told:
            began = time.monotonic_ns()
            sample = tracker.tick().sample
            return Told(began, sample, time.monotonic_ns())

        assert tick().baseline
        yield fuzz, tick
        tracker.close()
    finally:
        fuzz.process.kill()
        fuzz.process.communicate()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Behind the private file mappings."""
    path = tmp_path / "file"
    path.write_bytes(Random(0).randbytes(ARENA_PAGES * PAGE))
    return path


def searches(share: float) -> Iterator[int]:
    """Seeds, as long as there is time."""
    end = time.monotonic() + SECONDS * share
    seed = SEED
    while time.monotonic() < end:
        yield seed
        seed += 1


def test_in_step(build: Callable[[str], Path], tracked: Callable[[int], Tracked], file: Path) -> None:
    """Ticks between rounds: what must be told is known to the page."""
    tally = Tally()
    for seed in searches(0.5):
        random = Random(seed)
        tally.seeds += 1
        with fuzzed(build, tracked, seed, file) as (fuzz, tick):
            recent: list[Event] = []
            for turn in range(60):
                fuzz.begin(random.choice((1, 3, 10, 40)))
                events = fuzz.events()
                recent = [*recent, *events][-20_000:]
                check_round(events, tick(), tally, partial(story, seed, recent, f"round {turn}"))
    print(f"\nin step: {tally}")
    assert tally.must


def check_round(events: list[Event], told: Told, tally: Tally, explain: Callable[[int], str]) -> None:
    must: set[int] = set()
    may: set[int] = set()
    for event in events:
        pages = range(event.first, event.first + event.pages)
        if event.what == WRITTEN:
            must.update(pages)
        elif event.what != MAYBE:
            must.difference_update(pages)
        if event.what == GONE:
            may.difference_update(pages)
        else:
            may.update(pages)
    tally.rounds += 1
    tally.ticks += 1
    tally.events += len(events)
    for page in must - told.pages:
        assert told.unknown(page), f"silently clean: {explain(page)}; {told.about(page)}"
        tally.unknown += 1
    tally.must += len(must & told.pages)
    for page in told.pages:
        if told.exact(page):
            assert page in may, f"called exact, but never written: {explain(page)}; {told.about(page)}"
            tally.exact += 1


def story(seed: int, events: list[Event], when: str, page: int) -> str:
    mine = [str(event) for event in events if event.first <= page < event.first + event.pages]
    return f"page {page:#x}, {when}, MEMTOP_FUZZ_SEED={seed}, its last events: {mine[-6:]}"


def test_at_any_moment(build: Callable[[str], Path], tracked: Callable[[int], Tracked], file: Path) -> None:
    """Ticks in the middle of it: what was written before a tick began, that tick tells at the latest."""
    tally = Tally()
    for seed in searches(0.5):
        random = Random(seed)
        tally.seeds += 1
        with fuzzed(build, tracked, seed, file) as (fuzz, tick):
            ticks = [tick()]
            fuzz.begin(1500)
            while not fuzz.answered(random.choice((0, 0, 0.001, 0.01))):
                ticks.append(tick())
            events = fuzz.events()
            ticks.append(tick())
            check_burst(events, ticks, tally, seed)
    print(f"\nat any moment: {tally}")
    assert tally.must


def check_burst(events: list[Event], ticks: list[Told], tally: Tally, seed: int) -> None:
    lives: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        for page in range(event.first, event.first + event.pages):
            lives[page].append(event)
    began = [told.began for told in ticks]
    ended = [told.ended for told in ticks]
    for page, life in lives.items():
        over: int | None = None  # when what was written was gone
        for event in reversed(life):
            if event.what in (GONE, UNSURE):
                over = event.begin
            elif event.what == WRITTEN:
                latest = bisect_left(began, event.end)
                if over is not None and over <= ended[latest]:
                    continue
                earliest = bisect_left(ended, event.begin)
                if any(page in told.pages for told in ticks[earliest : latest + 1]):
                    tally.must += 1
                    continue
                told = ticks[latest]
                when = f"not told by the tick {told.began}…{told.ended} that began after {event}"
                assert told.unknown(page), (
                    f"silently clean: {story(seed, life, when, page)}; {told.about(page)}"
                )
                tally.unknown += 1
    for before, told in pairwise(ticks):
        for page in filter(told.exact, told.pages):
            near = [
                e for e in lives[page] if e.what != GONE and e.end >= before.began and e.begin <= told.ended
            ]
            when = f"tick {told.began}…{told.ended} after {before.began}…{before.ended}"
            assert near, f"called exact, but never written: {story(seed, lives[page], when, page)}"
            tally.exact += 1
    tally.rounds += 1
    tally.ticks += len(ticks)
    tally.events += len(events)
