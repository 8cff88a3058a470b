"""Whatever a target does to its memory: no written page is ever called clean, and "exact" means exact."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import Random

import pytest
from harness import PAGE, Area, Runs, Tracked, Writer

pytestmark = pytest.mark.usefixtures("needs_write_protect")

SECONDS = float(os.environ.get("MEMTOP_FUZZ_SECONDS", "3"))
"""For each seed; more of it for a long search."""
ACTS = (
    "poke",
    "poke",
    "poke",
    "write",
    "kernel",
    "read",
    "discard",
    "again",
    "move",
    "protect",
    "fork",
    "unmap",
)
KINDS = ("anon", "anon", "shared", "memfd", "private-file", "thp")
PAGES = 1024


class Model:
    """One area: which pages the next tick must report."""

    def __init__(self, area: Area) -> None:
        self.area = area
        self.must: set[int] = set()
        self.may: set[int] = set()
        self.writable = True
        self.history: list[str] = []

    def wrote(self, runs: Runs) -> None:
        pages = {(start - self.area.start) // PAGE + i for start, pages in runs for i in range(pages)}
        self.must |= pages
        self.may |= pages
        if self.area.name.startswith("thp"):  # a first write brings a whole huge page into being
            shift = self.area.start // PAGE  # a moved area need not begin with a huge page
            self.may |= {(page + shift) // 512 * 512 - shift + i for page in pages for i in range(512)}

    def step(self, random: Random) -> bool:
        """Lets the target do one thing; False when the area is gone."""
        first = random.randrange(self.area.pages)
        pages = random.randint(1, min(64, self.area.pages - first))
        act = random.choice(ACTS)
        self.history.append(f"{act} {first} {pages}")
        if not self.writable and act != "move":
            act = "protect"
        if act == "poke":
            self.wrote(self.area.poke(first, pages))
        elif act == "kernel":
            self.wrote(self.area.by_kernel(first, pages))
        elif act == "write":
            pattern = random.choice(("random", "sequential", "alternate"))
            self.wrote(self.area.write(pattern, pages, random.randint(1, 4), first))
        elif act == "discard":
            self.area.do("discard", first, pages)
            self.must -= set(range(first, first + pages))
        elif act == "again":
            self.area.do("again")
            self.must.clear()
        elif act == "protect":
            self.area.do("protect", random.choice(("r", "none")) if self.writable else "rw")
            self.writable = not self.writable
        elif act == "unmap":
            if random.random() < 0.7:
                return True
            self.area.do("unmap", 0, self.area.pages)
            return False
        elif act == "fork":
            self.area.do("fork", pages)
        else:
            self.area.do(act)
        return True


@pytest.mark.parametrize("seed", range(3))
def test_random_lives(seed: int, writer: Writer, tracked: Callable[[int], Tracked]) -> None:
    random = Random(seed)
    models: list[Model] = []
    tracker: Tracked | None = None
    end = time.monotonic() + SECONDS
    made = 0
    while time.monotonic() < end:
        for _ in range(random.randint(1, 6)):
            if len(models) < 6:
                made += 1
                kind = random.choice(KINDS)
                models.append(Model(writer.map(f"{kind}{made}", kind, PAGES)))
            model = random.choice(models)
            if not model.step(random):
                models.remove(model)
        if tracker is None:
            tracker = tracked(writer.pid)
        check(tracker, models, seed)


def check(tracker: Tracked, models: list[Model], seed: int) -> None:
    seen = tracker.tick()
    for model in models:
        must, may = model.must, model.may
        model.must, model.may = set(), set()
        model.history.append("tick")
        if seen.baseline:
            continue
        told = {
            (start - model.area.start) // PAGE + i for start, n in seen.runs(model.area) for i in range(n)
        }
        exactness = seen.exactness(model.area)
        story = f"seed {seed}, {model.area.name}, {exactness}, after {model.history[-8:]}"
        if "none" not in exactness:
            assert must <= told, f"silently clean: {sorted(must - told)[:9]}; {story}"
        if exactness == {"exact"}:
            assert told <= may, f"never written: {sorted(told - may)[:9]}; {story}"
