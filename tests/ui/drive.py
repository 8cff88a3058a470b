"""A seeded driver: random keys, clicks, sizes and changes of the processes, and what must hold after each.

``python tests/ui/drive.py STEPS [SEED [EACH]]`` runs the long form: EACH steps (500) on one screen, then the
next seed's.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from fake import FakeSource
from fake_dumps import FakeDumps
from fake_target import FakeTarget
from fake_world import RW, FakeMapping, idle, process, scattered
from screen import Driver, opened

from memtop.model.actions import Method
from memtop.model.layout import PAGE, Kind
from memtop.model.sample import Life
from memtop.ui.columns import ADDRESS
from memtop.ui.keymap import KEYMAP
from memtop.ui.state import ProcessView

LEAVES = ("leave(0)", "leave(130)", "suspend", "screenshot", "save_settings")
"""Actions that end the drive, or write files."""

SIZES = ((120, 40), (80, 24), (60, 15), (200, 60), (100, 30), (40, 10))
LIKELY = (
    *("down", "up", "right", "left", "enter", "escape", "space", "tab", "backspace"),
    *("w", "c", "d", "1", "2", "3", "v"),
)
PLANS = (
    *(("w", number, "enter") for number in "123"),
    *(("c", number, "enter") for number in "123"),
    ("enter", "v", "right", "v", "w", "3", "enter"),
    ("f", "ctrl+u", "enter"),
    ("escape", "escape", "home"),
    ("d", "enter"),
    ("d", "right", "down", "down", "right", "enter"),
    ("enter", "v", "down", "v", "d", "down", "down", "right", "right", "enter"),
)
"""Keys that belong together; between them anything may happen."""

BORN = 2000
"""Processes that come later have pids from here on."""

ACTS = ("arm", "disarm", "clear_refs")


def keys() -> list[str]:
    """All keys of the table that may be pressed blindly."""
    table = [key for key in KEYMAP if key.action not in LEAVES and key.action != "palette"]
    leaving = {name for key in KEYMAP if key.action in LEAVES for name in key.keys.split(",")}
    return [name for key in table for name in key.keys.split(",") if name and name not in leaving]


class World:
    """Processes that change at random, each mapping apart from its neighbours."""

    def __init__(self, rng: random.Random, processes: int) -> None:
        self.rng = rng
        self._next = 0x7F0000000000
        self.targets = [
            FakeTarget(process(1000 + i, f"p{i}"), [self.mapping() for _ in range(rng.randrange(1, 30))], i)
            for i in range(processes)
        ]
        self.source = FakeSource(*self.targets)

    def mapping(self) -> FakeMapping:
        rng, pages = self.rng, self.rng.choice((1, 2, 7, 64, 200, 700))
        start, self._next = self._next, self._next + 0x10000000
        kind = rng.choice((Kind.ANON, Kind.HEAP, Kind.FILE, Kind.STACK))
        name = rng.choice((b"", b"[heap]", b"/lib/libc.so", b"a\\b", b"[anon:x]"))
        write = scattered(pages, rng.randrange(1, 20)) if rng.random() < 0.6 else idle
        inode = rng.randrange(1, 4) if kind is Kind.FILE else 0
        return FakeMapping(start, pages, kind, name, write, perms=RW, inode=inode)

    def change(self) -> str:
        """Something happens in a process."""
        rng, target = self.rng, self.rng.choice(self.targets)
        if target.life is Life.ENDED:
            return "nothing"
        what = rng.choice(
            ("appear", "vanish", "grow", "shrink", "split", "move", "all", "end", "message", "born")
        )
        there = target.mappings
        live = sum(each.life is not Life.ENDED for each in self.targets)
        if what == "born":
            if live < 4 and len(self.targets) < 20 and rng.random() < 0.1:
                pid = BORN + len(self.targets)
                born = FakeTarget(process(pid, f"q{pid}"), [self.mapping()], pid)
                self.targets.append(born)
                self.source.targets[pid, born.process.start_time] = born
        elif what == "appear":
            there.append(self.mapping())
        elif what == "all" and rng.random() < 0.1:
            there.clear()
        elif what == "end":
            if live > 1 and rng.random() < 0.05:  # somebody stays, to act on
                target.life, target.message = Life.ENDED, "it ended"
        elif what == "message":
            target.message = rng.choice(("", "samples come every 3 s"))
        elif there:
            m = rng.choice(there)
            if what == "vanish":
                there.remove(m)
            elif what == "grow":
                m.pages += rng.randrange(1, 300)
            elif what == "shrink":
                m.pages = max(m.pages // 2, 1)
            elif what == "split" and m.pages > 1:
                half = m.pages // 2
                there.append(FakeMapping(m.start + half * PAGE, m.pages - half, m.kind, m.name, idle))
                m.pages = half
            elif what == "move":
                m.start, self._next = self._next, self._next + 0x10000000
            target._maps.pop(m.id, None)
        return what


class Drive:
    """One drive; ``step`` raises AssertionError with what was done."""

    def __init__(self, screen: Driver, world: World, seed: int) -> None:
        self.screen, self.world, self.rng = screen, world, random.Random(seed)
        self.keys = keys()
        self.done: list[str] = []
        self.counts: Counter[str] = Counter()
        self.bound: tuple[Any, ...] | None = None
        self.plan: list[str] = []
        self.acted = len(self.actions)
        self.form: tuple[Any, ...] | None = None
        self.dumped = 0
        self.widgets = self._widgets()

    @property
    def live(self) -> Any:
        return self.screen.live

    @property
    def actions(self) -> list[tuple[Any, ...]]:
        return [asked for asked in self.screen.source.asked if asked[0] in ACTS]

    def _widgets(self) -> int:
        return sum(1 for _ in self.live.walk_children(with_self=True))

    async def step(self) -> None:
        """Does one thing and checks everything."""
        rng = self.rng
        does = rng.choices(
            (
                *(self._key, self._likely, self._type, self._click, self._resize),
                *(self._tick, self._change, self._end_dump),
            ),
            (25, 300 if self.plan else 30, 3, 8, 2, 20, 12, 2),
        )[0]
        before = self.live.view, self.live.view.selected, self.live.view.sample, self._mark(self.live.view)
        question, form = self.live.prompt.question, self.live.form.choice
        by_user = await does()
        await self.screen.pilot.pause()
        self._check(before, question, by_user)
        self._check_dumps(before, form)

    async def run(self, steps: int, said: Callable[[str], None] = lambda text: None) -> None:
        """So many steps; the last ones done are in the failure."""
        for n in range(steps):
            if n and n % 1000 == 0:
                said(f"{n} steps: {dict(self.counts)}")
            try:
                await self.step()
            except BaseException as error:
                error.args = (f"step {n}, after {self.done[-25:]}: {error}",)
                raise

    # ---- what is done ------------------------------------------------------------------------------

    def _say(self, what: str) -> None:
        self.done.append(what)
        del self.done[:-100]
        self.counts[what.split()[0]] += 1

    async def _press(self, key: str) -> bool:
        self._say(f"key {key}")
        await self.screen.pilot.press(key)
        return True

    async def _key(self) -> bool:
        return await self._press(self.rng.choice(self.keys))

    async def _likely(self) -> bool:
        """Now and then a question with its answer, between which anything may happen."""
        rng = self.rng
        if not self.plan and rng.random() < 0.3:
            self.plan = list(rng.choice(PLANS))
        return await self._press(self.plan.pop(0) if self.plan else rng.choice(LIKELY))

    async def _type(self) -> bool:
        return await self._press(self.rng.choice("abckindheap:&!()0x7f"))

    async def _click(self) -> bool:
        width, height = self.screen.app.size
        at = self.rng.randrange(width), self.rng.randrange(height)
        self._say(f"click {at}")
        await self.screen.pilot.click(offset=at)
        return True

    async def _resize(self) -> bool:
        size = self.rng.choice(SIZES)
        self._say(f"resize {size}")
        await self.screen.pilot.resize_terminal(*size)
        return False

    async def _tick(self) -> bool:
        self._say("tick")
        source = self.screen.source
        if self.rng.random() < 0.1:
            source.notice("something failed", self.rng.choice(("error", "information")), self._any_key())
        if not source.frozen:  # and sometimes a sample of one process alone
            for target in list(source.targets.values()):
                if self.rng.random() < 0.8:
                    source._on_sample(target.sample(1.0))
        return False

    def _any_key(self) -> tuple[int, int]:
        return self.rng.choice(list(self.screen.source.targets))

    async def _change(self) -> bool:
        self._say(f"world {self.world.change()}")
        return False

    async def _end_dump(self) -> bool:
        self._say("dump ends")
        self.screen.app.open_dumps().end(error="the disk is full")
        return False

    # ---- what must hold ----------------------------------------------------------------------------

    @staticmethod
    def _mark(view: ProcessView) -> tuple[int, int] | None:
        return view.marked_range

    def _check(self, before: tuple[Any, ...], question: object, by_user: bool) -> None:
        assert self.screen.app._exception is None
        assert not self.screen.app._exit, "it has ended: nothing is driven any more"
        view, selected, _, _ = before
        now = self.live.view
        if not by_user:
            assert now is view, "the process changed by itself"
            table = now.sample.table if now.sample is not None else None
            if selected is not None and table is not None and table.index_of(selected) is not None:
                hidden = self.live.table.filter is not None
                assert now.selected == selected or hidden, "the selection left a mapping that is there"
        self._check_marked_row(now)
        self._check_actions(before, question)
        assert self._widgets() == self.widgets, "widgets leak"
        if self.screen.app.screen is self.live:  # the palette has tasks of its own
            assert len(asyncio.all_tasks()) < 60, "tasks leak"

    def _check_marked_row(self, view: ProcessView) -> None:
        """What is marked on screen is what actions are about."""
        live = self.live
        if self.screen.app.screen is not live or not live.is_mounted:
            return
        if live.listing:
            lines = [strip.text for strip in live.processes.lines if strip.text.startswith("▸ ")]
            assert all(str(view.process.pid) in line.split() for line in lines), (lines, view.title)
            return
        table = live.table
        marked = [strip.text for strip in table.lines if strip.text.startswith("▸ ")]
        assert len(marked) <= 1, marked
        addressed = ADDRESS in [column for column, _ in table.layout_now.columns]
        if (
            marked
            and addressed
            and view.selected is not None
            and table._group is None
            and view.sample is not None
        ):
            index = view.sample.table.index_of(view.selected)
            assert index is not None, f"{view.selected} is not there, {live.mode}"
            start = f"{view.sample.table.range_of(index)[0]:x}"
            assert marked[0][2:].split()[0] == start, (marked[0], start, live.mode, table.size, live.frozen)

    def _check_actions(self, before: tuple[Any, ...], question: object) -> None:
        """An action reaches the process and the mapping that were shown when its question came up."""
        now = self.live.prompt.question
        if now is not None and question is None:
            view, selected, sample, marked = before
            whole = None
            if sample is not None and selected is not None:
                index = sample.table.index_of(selected)
                whole = None if index is None else sample.table.range_of(index)
            self.bound = view.key, selected, whole, marked
        new, self.acted = self.actions[self.acted :], len(self.actions)
        for action in new:
            self.counts[action[0]] += 1
            if action[0] == "arm" and action[1][0] >= BORN and action[2] is Method.AUTO:
                continue  # what is born is tracked like the others, as asked for at the start
            assert self.bound is not None, f"{action} without a question"
            key, selected, whole, marked = self.bound
            assert action[1] == key, (action, self.bound)
            newest = self.live.views[key].newest
            assert newest.life is not Life.ENDED
            if len(action) == 4:
                self.counts["scope"] += 1
                scope = action[3]
                assert (scope.mapping, scope.whole) == (selected, whole)
                assert scope.part in (None, marked)
                start, end = newest.table.range_of(newest.table.index_of(selected))
                assert start <= scope.span[0], "it is not there any more"
                assert scope.span[1] <= end

    def _check_dumps(self, before: tuple[Any, ...], form: object) -> None:
        """A dump is of the process, the mapping and the range that were shown when its dialog was opened."""
        choice = self.live.form.choice
        if choice is not None and choice is not form:
            view, selected, sample, marked = before
            index = None if sample is None or selected is None else sample.table.index_of(selected)
            whole = None if sample is None or index is None else sample.table.range_of(index)
            self.form = view.key, whole, marked
        started = self.screen.app.open_dumps().started
        new, self.dumped = started[self.dumped :], len(started)
        for key, job in new:
            self.counts["dump"] += 1
            assert self.form is not None
            assert key == self.form[0], (key, self.form)
            for only in job.only:
                self.counts["ranged"] += 1
                assert (only.start, only.end) in self.form[1:], (only, self.form)
                table = self.live.views[key].newest.table
                ranges = [table.range_of(i) for i in range(len(table))]
                assert any(start <= only.start and only.end <= end for start, end in ranges), "it has gone"


async def drive(seed: int, steps: int, *, said: Callable[[str], None] = lambda text: None) -> Counter[str]:
    """Drives a fresh screen; returns what was done how often."""
    rng = random.Random(seed)
    world = World(rng, rng.choice((1, 2, 3)))
    async with opened(world.source, arm=rng.random() < 0.5, listing=True, dumps=FakeDumps()) as screen:
        driven = Drive(screen, world, seed)
        await driven.run(steps, said)
        said(f"seed {seed}: {dict(driven.counts)}")
        return driven.counts


if __name__ == "__main__":
    import sys

    total, first, each, *_ = (*map(int, sys.argv[1:]), *(0, 500)[len(sys.argv) - 2 :])
    for number in range(-(-total // each)):
        asyncio.run(drive(first + number, min(each, total - number * each), said=partial(print, flush=True)))
