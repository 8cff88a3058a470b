"""The same for the picker: random keys while processes come and go.

``python tests/ui/drive_picker.py STEPS [SEED]`` runs it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any
from unittest.mock import patch

from memtop.linux.errors import NotPermitted
from memtop.linux.processes import Listed, with_children
from memtop.ui.keymap import KEYMAP, Mode
from memtop.ui.picker import Picked, PickerApp
from memtop.ui.theme import DARK

SIZES = ((120, 40), (80, 24), (60, 15), (40, 10))
NAMES = ("redis", "java", "a\\b", "worker")
REFUSED = NotPermitted("looking is not permitted", "it is another's", "run memtop as root")


class PickerDrive:
    """One drive; raises AssertionError with what was done."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.there = [self.born(pid) for pid in range(10, 30)]
        self.done: list[str] = []
        self.counts: Counter[str] = Counter()
        self.left: list[Picked] = []
        self.keys = [
            name for key in KEYMAP if Mode.PICKER in key.modes for name in key.keys.split(",") if name
        ]

    def born(self, pid: int) -> Listed:
        """A process."""
        rng = self.rng
        allowed, name = rng.random() < 0.8, rng.choice(NAMES)
        parent = rng.choice([1, *range(10, 20)])
        return Listed(pid, parent, name, "me", allowed, rng.randrange(1 << 34), 0, 9, f"{name} -x", allowed)

    def change(self) -> None:
        """Processes come and go."""
        rng = self.rng
        if rng.random() < 0.5 and self.there:
            self.there.remove(rng.choice(self.there))
        else:
            pid = rng.randrange(10, 99)
            self.there = [each for each in self.there if each.pid != pid] + [self.born(pid)]

    async def run(self, steps: int) -> Counter[str]:
        """So many steps."""
        app = PickerApp(list_all=lambda: list(self.there), palette=DARK)
        app.exit = lambda result=None, **_: self.left.append(result)  # type: ignore[method-assign,assignment]  # goes on
        with patch("memtop.ui.picker.why_not", lambda pid: REFUSED):
            async with app.run_test(size=(80, 24)) as pilot:
                for n in range(steps):
                    try:
                        await self.step(app, pilot)
                    except BaseException as error:
                        error.args = (f"step {n}, after {self.done[-25:]}: {error}",)
                        raise
                app._exit = True
        return self.counts

    async def step(self, app: PickerApp, pilot: Any) -> None:
        """Does one thing and checks everything."""
        what = self.rng.choices(("key", "type", "resize", "change"), (50, 10, 3, 20))[0]
        self.counts[what] += 1
        before = app._selected, set(app._marked)
        self.left.clear()
        if what == "change":
            self.change()
            await app.reread()
        elif what == "resize":
            await pilot.resize_terminal(*self.rng.choice(SIZES))
        else:
            key = self.rng.choice(self.keys if what == "key" else "rediswoka\\ 12")
            self.done.append(key)
            await pilot.press(key)
        await pilot.pause()
        assert app._exception is None
        alive = {each.pid: each for each in self.there}
        if what in ("change", "resize"):
            assert app._selected == before[0], "the selection jumped"
            assert app._marked == before[1] & alive.keys(), "marks have changed"
        marked = [strip.text for strip in app.drawing.lines if strip.text[:1] == "▸"]
        assert len(marked) == bool(app.rows), marked
        if marked:
            assert int(marked[0][2:].split()[0]) == app.rows[app._at(app.rows)].pid
        for picked in self.left:
            self.check_picked(app, picked, before[1])

    def check_picked(self, app: PickerApp, picked: Picked, marked: set[int]) -> None:
        """What was opened is what was marked or selected, and may be looked at."""
        if not picked.pids:
            return
        self.counts["opened"] += 1
        alive = {each.pid: each for each in self.there}
        wanted = marked or {app.rows[app._at(app.rows)].pid}
        if app.with_children:
            self.counts["with children"] += 1
            wanted = set(with_children(sorted(wanted), self.there))
        assert set(picked.pids) <= wanted
        assert all(alive[pid].allowed for pid in picked.pids)


if __name__ == "__main__":
    import sys

    steps, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    print(f"picker, seed {seed}:", dict(asyncio.run(PickerDrive(seed).run(steps))))
