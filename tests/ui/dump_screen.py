"""A screen on real processes, and dumps that wait where they are told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from harness import PATIENCE
from screen import Driver
from textual.pilot import Pilot

from memtop.dump.background import Dumps
from memtop.dump.progress import Progress
from memtop.linux.features import probe_kernel
from memtop.model.actions import Care, Method
from memtop.sampler.loop import Sampler
from memtop.sampler.target import open_target
from memtop.ui.app import MemtopApp
from memtop.ui.theme import DARK


class GatedDumps(Dumps):
    """Waits in the middle until it may go on, if there is a gate."""

    gate: threading.Event | None = None
    steps = 0

    def _watch(self, progress: Progress, moved: Callable[[], None]) -> None:
        super()._watch(progress, moved)
        self.steps += 1
        if self.gate is not None and self.steps > 1:
            self.gate.wait(PATIENCE)
            super()._watch(progress, moved)


class Live(Driver):
    """A screen on a real process."""

    def __init__(self, app: MemtopApp, dumps: GatedDumps, pilot: Pilot[Any]) -> None:
        super().__init__(app, None, pilot)  # type: ignore[arg-type]  # nothing is fake here
        self.dumps = dumps

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what}\n{self.text}"
            await asyncio.sleep(0.02)
            await self.pilot.pause()

    async def shows(self, *texts: str) -> None:
        await self.until(lambda: all(text in self.text for text in texts), f"no {texts}")

    async def retype(self, text: str) -> None:
        await self.press("end", "ctrl+u")
        for character in text:
            await self.pilot.press(character)
        await self.pilot.pause()


@asynccontextmanager
async def live(
    *pids: int, size: tuple[int, int] = (100, 30), arm: bool = True, interval: float = 0.2
) -> AsyncIterator[Live]:
    # No budget: on a busy machine its word would stand where a test looks for another.
    care = Care(max_cost=0)
    targets = [open_target(pid, probe_kernel(), care=care) for pid in pids]
    sampler = Sampler(targets, interval)
    dumps = GatedDumps(sampler)
    app = MemtopApp(
        lambda: sampler,
        [target.process for target in targets],
        arm_at_start=Method.WRITE_PROTECT if arm else None,
        palette=DARK,
        open_dumps=lambda: dumps,
    )
    try:
        async with app.run_test(size=size) as pilot:
            screen = Live(app, dumps, pilot)
            await screen.until(lambda: app.opened and app.live.view.sample is not None, "no sample")
            if arm:
                await screen.shows("exact")
            yield screen
    finally:
        if dumps.gate is not None:
            dumps.gate.set()
        dumps.close()
        sampler.stop()
