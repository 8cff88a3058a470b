"""The application on a fake source, without a terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fake import FakeSource
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from memtop.dump.background import Dumps
from memtop.model.actions import Method
from memtop.ui.app import MemtopApp
from memtop.ui.settings import Settings
from memtop.ui.theme import DARK, Palette


class Driver:
    """Presses keys, lets time pass, reads what is on screen."""

    def __init__(self, app: MemtopApp, source: FakeSource, pilot: Pilot[Any]) -> None:
        self.app, self.source, self.pilot = app, source, pilot

    @property
    def live(self) -> Any:
        return self.app.live

    @property
    def lines(self) -> list[str]:
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def selected(self) -> str:
        """First cell group of the marked row: its address."""
        (row,) = [line for line in self.table if line.startswith(("▸ ", "> "))]
        return row[2:].split()[0]

    @property
    def table(self) -> list[str]:
        """The lines of the mapping table."""
        region = self.live.table.region
        return self.lines[region.y : region.bottom]

    async def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.source.tick()
            await self.pilot.pause()

    async def burst(self, *keys: str) -> None:
        """All at once, as a slow link or a paste brings them: nothing is drawn in between."""
        for key in keys:
            name = _character_to_key(key) if len(key) == 1 else key
            self.app.post_message(events.Key(name, key if len(key) == 1 else None))
        await self.pilot.pause(0.1)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()


async def page_stands(app: MemtopApp, pilot: Pilot[Any]) -> None:
    """The first picture has given way to the page, and samples may come."""
    while not (app.opened and app.live.is_mounted):
        await pilot.pause()
    await pilot.pause()


@asynccontextmanager
async def opened(
    source: FakeSource | None = None,
    size: tuple[int, int] = (120, 40),
    *,
    ticks: int = 2,
    arm: bool = True,
    ascii: bool = False,
    palette: Palette | None = DARK,
    folder: Path | None = None,
    settings: Settings | None = None,
    listing: bool = False,
    dumps: Dumps | None = None,
) -> AsyncIterator[Driver]:
    source = source or FakeSource()
    app = MemtopApp(
        lambda: source,
        source.processes,
        ascii=ascii,
        arm_at_start=Method.AUTO if arm else None,
        palette=palette,
        folder=folder,
        cpu_share=lambda: 0.003,
        settings=settings,
        open_dumps=None if dumps is None else lambda: dumps,
    )
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, source, pilot)
        await page_stands(app, pilot)
        await driver.tick(ticks)
        if app.live.listing and not listing:  # most tests are about one process's page
            await driver.press("enter")
        yield driver
