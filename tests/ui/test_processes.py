"""Several processes: the list with its sums, and each opened in place."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from fake import FakeSource
from fake_target import FakeTarget
from fake_world import process, world
from screen import Driver, opened
from textual.pilot import Pilot

from memtop.model.sample import Life
from memtop.stream.delta import DeltaWriter
from memtop.stream.recording import open_recording
from memtop.stream.replay import ReplaySource
from memtop.ui.app import MOST_ENDED, MemtopApp
from memtop.ui.theme import DARK


def three() -> FakeSource:
    return FakeSource(
        FakeTarget(process(), world()),
        FakeTarget(process(812, "postgres", "postgres"), world()[:6], 2),
        FakeTarget(process(9001, "worker"), world()[3:12], 3),
    )


def rows(screen: Driver) -> list[str]:
    """The lines of the list, without heads and sums."""
    lines = [strip.text for strip in screen.live.processes.lines[1:]]
    return lines[: next(i for i, text in enumerate(lines) if text.startswith("Σ"))]


def pids(screen: Driver) -> list[int]:
    return [int(line[2:].split()[0]) for line in rows(screen)]


def chosen(screen: Driver) -> int:
    (line,) = [line for line in rows(screen) if line.startswith("▸")]
    return int(line[2:].split()[0])


def sums(screen: Driver) -> str:
    return next(s.text for s in screen.live.processes.lines if s.text.startswith("Σ"))


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 15)])
async def test_the_list_comes_first_and_enter_and_backspace_go_in_and_out(size: tuple[int, int]) -> None:
    async with opened(three(), size, listing=True) as screen:
        assert pids(screen) == [4711, 812, 9001]
        await screen.press("down", "enter")
        assert "postgres 812" in screen.lines[0]
        assert screen.selected == "7f12a0000000"
        await screen.press("backspace")
        assert chosen(screen) == 812
        await screen.press("enter", "escape")
        assert chosen(screen) == 812


async def test_sums_say_what_they_are_worth() -> None:
    async with opened(three(), listing=True) as screen:
        views = screen.live.views.values()
        total = sum(view.sample.totals.resident for view in views)
        assert f"≤{total / 2**30:.0f}G" in sums(screen)
        assert "3 of 3 live" in sums(screen)
        assert "counted once for each" in screen.text
        one = list(screen.source.targets)[1]
        screen.source.disarm(one)
        await screen.tick()
        known = sum(view.sample.totals.written_bytes_per_s for view in views if view.key != one)
        assert f"≥{known / 2**20:.0f}M~" in sums(screen)


async def test_the_selection_follows_its_process_through_every_order() -> None:
    async with opened(three(), listing=True) as screen:
        await screen.press("end")
        assert chosen(screen) == 9001
        for key in ("r", "greater_than_sign", "greater_than_sign", "r", "less_than_sign"):
            await screen.press(key)
            await screen.tick()
            assert chosen(screen) == 9001
            assert screen.live.view.process.pid == 9001


async def test_a_process_that_ends_stays_and_is_in_no_sum() -> None:
    async with opened(three(), listing=True) as screen:
        list(screen.source.targets.values())[1].life = Life.ENDED
        await screen.tick()
        assert "2 of 3 live" in sums(screen)
        assert any("postgres" in line and "ended" in line for line in rows(screen))
        assert chosen(screen) == 4711


async def test_a_process_that_appears_moves_neither_selection_nor_page() -> None:
    source = three()
    async with opened(source, listing=True) as screen:
        await screen.press("down")
        for pid, comm in ((33, "late"), (34, "later")):
            late = FakeTarget(process(pid, comm), world()[:3], 4)
            source.targets[pid, late.process.start_time] = late
            await screen.tick(2)
            if screen.live.listing:
                assert pid in pids(screen)
                assert chosen(screen) == 812
                await screen.press("enter")
        assert "postgres 812" in screen.lines[0]
        assert "later 34" in screen.text


async def test_from_one_process_to_two() -> None:
    source = FakeSource()
    async with opened(source) as screen:
        before = screen.selected
        child = FakeTarget(process(33, "child"), world()[:3], 4)
        source.targets[33, child.process.start_time] = child
        await screen.tick(2)
        assert screen.selected == before
        assert "child 33" in screen.text
        await screen.press("backspace")
        assert pids(screen) == [4711, 33]


async def test_search_and_filter_in_the_list() -> None:
    async with opened(three(), listing=True) as screen:
        await screen.press("slash", *"work")
        assert screen.live.view.process.comm == "worker"
        await screen.press("enter")
        assert chosen(screen) == 9001
        await screen.press("f", *"postg", "enter")
        assert pids(screen) == [812]
        await screen.press("enter")  # what is selected is hidden: nothing is opened
        assert screen.live.listing
        await screen.press("down", "enter")
        assert not screen.live.listing
        assert "postgres 812" in screen.lines[0]
        await screen.press("backspace", "f", *["backspace"] * 9, "escape")
        assert pids(screen) == [812]


async def test_actions_in_the_list_are_about_the_selected_process() -> None:
    async with opened(three(), listing=True) as screen:
        await screen.press("down", "c", "1")
        assert "of postgres 812" in screen.text
        await screen.press("enter")
        assert screen.source.asked[-1][1] == (812, 88_812)


async def test_a_hidden_process_is_not_acted_on() -> None:
    async with opened(three(), listing=True) as screen:
        await screen.press("f", *"postg", "enter")
        for key in ("w", "c"):
            await screen.press(key)
            assert screen.live.prompt.question is None
            assert "select" in screen.text


async def test_a_click_selects_and_another_one_opens() -> None:
    async with opened(three(), listing=True) as screen:
        y = screen.live.processes.region.y
        await screen.pilot.click(offset=(10, y + 3))
        await screen.pilot.pause()
        assert chosen(screen) == 9001
        await screen.pilot.click(offset=(10, y + 3))
        await screen.pilot.pause()
        assert not screen.live.listing
        assert "worker 9001" in screen.lines[0]


async def test_all_go_back_to_the_same_moment() -> None:
    async with opened(three(), ticks=8, listing=True) as screen:
        await screen.press("space", "left", "left", "left")
        times = {round(view.sample.time) for view in screen.live.views.values()}
        assert len(times) == 1
        assert all(view.back is not None for view in screen.live.views.values())
        await screen.press("right", "right", "right")
        assert all(view.back is None for view in screen.live.views.values())


async def test_no_colour_no_unicode() -> None:
    async with opened(three(), (80, 24), ascii=True, listing=True) as screen:
        assert screen.text.isascii()
        assert "<15G" in screen.text


async def test_a_recording_of_several_is_a_list_that_goes_back(tmp_path: Path) -> None:
    targets = [FakeTarget(process(), world()[:4]), FakeTarget(process(812, "postgres"), world()[:3], 2)]
    writer = DeltaWriter(1.0)
    path = tmp_path / "two.jsonl"
    samples = [target.sample(1.0) for _ in range(9) for target in targets]
    intro = "".join(writer.process_line(target.process) for target in targets)
    path.write_text(intro + "".join(map(writer.lines, samples)), encoding="ascii")
    recording = open_recording(str(path))
    source = ReplaySource(recording, 8)
    app = MemtopApp(lambda: source, recording.processes(), palette=DARK, cpu_share=lambda: None)

    async def stands(pilot: Pilot[int]) -> None:
        for _ in range(2000):
            await pilot.pause()
            if source.position.stands:
                await pilot.pause()
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it does not come to stand")

    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await stands(pilot)
            screen = Driver(app, source, pilot)  # type: ignore[arg-type]  # it only reads the screen
            assert pids(screen) == [4711, 812]
            assert "2 of 2 live" in sums(screen)
            await pilot.press("down", "left", "left")
            await stands(pilot)
            assert source.position.at == 6
            assert {round(view.sample.time) for view in app.views.values() if view.sample} == {
                round(samples[10].time)
            }
            assert chosen(screen) == 812
            await pilot.press("w")
            await pilot.pause()
            assert "recording" in screen.text
    finally:
        source.stop()


async def test_of_many_that_have_ended_the_last_ones_stay_below_those_that_live() -> None:
    """A process that forks all day must not fill the list, nor the memory."""
    source = FakeSource(FakeTarget(process(1000, "parent"), world()[3:5]), FakeTarget(process(), world(), 2))
    async with opened(source, listing=True) as screen:
        for pid in range(2000, 2000 + MOST_ENDED + 8):
            child = FakeTarget(process(pid, "child"), world(), 3)  # larger than the parent
            screen.app._on_sample(replace(child.sample(1.0), life=Life.ENDED))
            await screen.pilot.pause()
        await screen.tick()
        assert pids(screen)[:2] == [4711, 1000]
        newest = {2000 + 7 + n for n in range(MOST_ENDED + 1)}  # the newest itself has ended
        assert {key[0] for key in screen.live.views} == {1000, 4711} | newest
        assert set(screen.live.views) == set(screen.app.views)


async def test_a_click_on_a_head_sorts_and_another_one_reverses() -> None:
    async with opened(three(), listing=True) as screen:
        y = screen.live.processes.region.y
        for shown in ("▲PID", "▼PID"):
            await screen.pilot.click(offset=(screen.lines[y].index("PID"), y))
            await screen.pilot.pause()
            assert shown in screen.lines[y]
        await screen.pilot.click(offset=(screen.lines[y].index("COMMAND"), y))
        await screen.pilot.pause()
        assert "COMMAND▲" in screen.lines[y]
