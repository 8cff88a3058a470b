"""Beside a process in which nothing happens the picture stands, says so, and costs no bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from fake import FakeSource, two
from fake_target import FakeTarget
from fake_world import process, world
from screen import Driver, opened
from textual.app import App

from memtop.model.actions import Notice
from memtop.model.layout import COUNT, CountFlag
from memtop.model.sample import Faults, Life, Sample
from memtop.ui.calm import Stirs
from memtop.ui.screens.page import Page
from memtop.ui.shot import photograph

RESIDENT, HUGE, ZERO, CELLS, FLAGS = 0, 1, 2, 6, 10
"""Fields of ``COUNT``."""


async def rest(screen: Driver) -> None:
    """More than ten seconds pass in which nothing happens; samples come one a second."""
    for target in screen.source.targets.values():
        target.still = True
    screen.source.tick(9)
    await screen.tick(4)


def at(time: float) -> str:
    return datetime.fromtimestamp(time, timezone.utc).strftime("%H:%M:%SZ")


@asynccontextmanager
async def standing(
    source: FakeSource | None = None, size: tuple[int, int] = (120, 40), **how: object
) -> AsyncIterator[Driver]:
    async with opened(source or FakeSource(), size, **how) as screen:  # type: ignore[arg-type]  # a source of tests
        await rest(screen)
        assert "● unchanged" in screen.lines[0]
        yield screen


@contextmanager
def pictures(app: App[int]) -> Iterator[list[object]]:
    """Whatever is sent to the terminal meanwhile."""
    sent: list[object] = []
    display = app._display
    app._display = lambda screen, what: (sent.append(what), display(screen, what))  # type: ignore[assignment]  # listens, and passes it on
    yield sent
    app._display = display  # type: ignore[method-assign]  # as it was


@pytest.mark.parametrize("keys", ["", "t", "tt", "i", "m", ["enter"], ["enter", "enter"]])
async def test_nothing_is_drawn_while_nothing_happens(keys: str | list[str]) -> None:
    async with opened() as screen:
        await screen.press(*keys)
        await rest(screen)
        shown = screen.text
        with pictures(screen.app) as sent:
            for _ in range(8):
                await screen.tick()
        assert not sent
        assert screen.text == shown


async def test_the_list_stands_when_all_do() -> None:
    async with opened(two(), listing=True) as screen:
        one, _ = screen.source.targets.values()
        one.still = True
        screen.source.tick(9)
        await screen.tick(4)
        assert "● live" in screen.lines[0]
        await rest(screen)
        assert "● unchanged" in screen.lines[0]
        with pictures(screen.app) as sent:
            await screen.tick(5)
        assert not sent


async def test_it_stands_after_ten_seconds_and_not_before() -> None:
    async with opened() as screen:
        target = screen.source.target
        await screen.tick(8)
        target.still = True
        screen.source.tick(9)  # the first one brings that nothing is written any more
        await screen.tick()
        assert "● live" in screen.lines[0]
        assert at(target.time) in screen.lines[0]
        await screen.tick(1)
        assert "● unchanged" in screen.lines[0]
        assert at(target.time) in screen.lines[0]


async def test_the_clock_goes_on_once_a_minute() -> None:
    async with standing() as screen:
        target, stood = screen.source.target, screen.lines[0]
        began = screen.live.view.sample.time
        screen.source.tick(int(began + 59 - target.time))
        await screen.pilot.pause()
        assert screen.lines[0] == stood
        await screen.tick()
        assert at(began + 60) in screen.lines[0]
        assert "● unchanged" in screen.lines[0]


async def test_the_first_write_is_shown_with_its_sample() -> None:
    async with standing() as screen:
        await screen.tick(3)
        target = screen.source.target
        target.still = False
        await screen.tick()
        assert "● live" in screen.lines[0]
        assert at(target.time) in screen.lines[0]
        assert screen.live.view.sample.time == target.time
        assert screen.live.view.sample.runs


async def test_a_key_shows_what_is_known_now() -> None:
    async with standing() as screen:
        target = screen.source.target
        await screen.tick(5)
        assert at(target.time) not in screen.lines[0]
        await screen.press("down")
        assert "● live" in screen.lines[0]
        assert at(target.time) in screen.lines[0]
        await screen.tick()
        assert at(target.time) in screen.lines[0]  # what the key asked for comes with the next samples
        await screen.tick(9)
        assert "● unchanged" in screen.lines[0]


async def test_a_frozen_picture_is_of_the_key_press() -> None:
    async with standing() as screen:
        target = screen.source.target
        await screen.tick(5)
        await screen.press("space")
        assert "‖ frozen" in screen.lines[0]
        assert at(target.time) in screen.lines[0]


async def test_a_saved_picture_has_the_time_of_now(tmp_path: Path) -> None:
    async with standing(folder=tmp_path) as screen:
        target = screen.source.target
        await screen.tick(5)
        await screen.press("s")
        (text,) = tmp_path.glob("*.txt")
        assert at(target.time) in text.read_text(encoding="utf-8")
        assert at(target.time).replace(":", "") in text.name


async def test_what_the_source_says_is_shown_beside_the_time_of_now() -> None:
    async with standing() as screen:
        await screen.tick(5)
        screen.source.notice("something happened to it")
        await screen.pilot.pause()
        assert "something happened to it" in screen.text
        assert at(screen.source.target.time) in screen.lines[0]


async def test_its_end_is_shown() -> None:
    async with standing() as screen:
        screen.source.target.life = Life.ENDED
        await screen.tick()
        assert "■ ended" in screen.lines[0]


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("size", [(60, 15), (80, 24)])
async def test_it_says_so_on_small_screens(size: tuple[int, int], ascii: bool) -> None:
    async with opened(size=size, ascii=ascii) as screen:
        await rest(screen)
        assert "unchanged" in screen.lines[0]
        assert "redis-server 4711" in screen.lines[0]


def test_what_counts_as_something_new() -> None:
    target = FakeTarget(process(), world())
    target.still = True
    target.sample(1.0)
    before, now = target.sample(1.0), target.sample(1.0)

    def new(*samples: Sample) -> bool:
        stirs = Stirs()
        for sample in samples:
            stirs.take(sample)
        return stirs.last == samples[-1].time

    def counts(sample: Sample, *change: int) -> Sample:
        """Other fields of the first mapping: pairs of which and how much more."""
        fields = list(COUNT.unpack_from(sample.counts))
        for which, more in zip(change[::2], change[1::2], strict=True):
            fields[which] += more
        return replace(sample, counts=COUNT.pack(*fields) + sample.counts[COUNT.size :])

    assert new(now)
    assert not new(before, now)
    assert not new(before, replace(now, cost=replace(now.cost, scan_s=9.0, cpu_s=9.0)))
    for other in (
        replace(now, faults=Faults(0.5, 0.0)),
        replace(now, totals=replace(now.totals, swapped=4096)),
        replace(now, totals=replace(now.totals, resident=now.totals.resident + 4096)),
        replace(now, life=Life.EXECED),
        replace(now, message="something"),
        replace(now, tracker=replace(now.tracker, armed=1)),
        replace(now, coverage=now.coverage[:-1] + b"\x7f"),
        counts(now, RESIDENT, 1),
        counts(now, HUGE, 1),
        counts(now, CELLS, 1),
        replace(now, table=FakeTarget(process(), world()[1:]).sample(1.0).table),
    ):
        assert new(before, other), other

    # Zero pages are counted now and then, of some mappings always: that is nothing new, another number is.
    def zeros(more: int, time: float, first: bool = True) -> Sample:
        fields = [list(COUNT.unpack_from(now.counts, at * COUNT.size)) for at in range(len(now.table))]
        for which in range(0 if first else 1, 2):
            fields[which][ZERO] += more
            fields[which][FLAGS] |= int(CountFlag.ZERO)
        return replace(now, time=time, counts=b"".join(COUNT.pack(*each) for each in fields))

    seldom = zeros(5, 1.0), zeros(5, 2.0, False), zeros(5, 3.0, False)
    assert not new(*seldom)
    assert not new(*seldom, zeros(5, 4.0))
    assert new(*seldom, zeros(6, 4.0))
    assert new(*seldom, zeros(6, 4.0, False))


class StandsThen(FakeSource):
    """Ten seconds and more in which nothing happens; the last sample comes when the picture stands."""

    def start(self, on_sample: Callable[[Sample], None], on_notice: Callable[[Notice], None]) -> None:
        super().start(on_sample, on_notice)
        self.target.still = True
        self.tick(12)


def test_a_picture_without_a_terminal_is_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a process in which nothing happens: samples that came while the picture stood are in it."""
    source = StandsThen()
    follow = Page.follow

    def follow_and_stand(page: Page) -> None:
        page._awake = 0
        follow(page)
        assert page.stands
        source.tick(3)  # and this is not drawn
        page.follow = lambda: None  # type: ignore[method-assign]  # nothing new is taken

    monkeypatch.setattr(Page, "follow", follow_and_stand)
    picture = photograph(source, source.processes, size=(80, 24), after=0.0)
    assert picture.time == source.target.time
    assert at(source.target.time) in picture.text
