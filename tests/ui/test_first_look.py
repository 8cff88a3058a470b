"""What a first look at the screen must tell: nothing cut in secret, what to press next, what words mean."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake import FakeSource, FakeTarget, process, world
from screen import opened

from memtop.model.layout import PAGE
from memtop.model.sample import Life, Sample
from memtop.model.units import size
from memtop.ui import picture
from memtop.ui.columns import ABOUT
from memtop.ui.lines import line
from memtop.ui.theme import DARK, Look


def alter(target: FakeTarget, **changes: Any) -> None:
    """From now on its samples say this."""

    def sample(interval: float) -> Sample:
        return replace(FakeTarget.sample(target, interval), **changes)

    target.sample = sample  # type: ignore[method-assign]  # of this one only


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (["abcdef"], "abcdef"),
        (["abcdefg"], "abcde…"),
        (["abc", "defg"], "abcde…"),
        (["abcdef", "g"], "abcde…"),
        (["abcdef", "   ", "──"], "abcdef"),  # what says nothing is not missed
        (["abcd漢字"], "abcd… "),
    ],
)
def test_what_is_cut_says_so(texts: list[str], shown: str) -> None:
    runs = [(text, (DARK.text, DARK.dim)[i % 2]) for i, text in enumerate(texts)]
    strip = line(Look(), runs, 6)
    assert strip.text == shown
    assert strip.cell_length == 6


@pytest.mark.parametrize("size", [(40, 10), (60, 15), (80, 24), (120, 40)])
async def test_the_footer_says_what_to_press_next(size: tuple[int, int]) -> None:
    async with opened(size=size, arm=False) as screen:
        assert "w track writes" in screen.lines[-1]
        assert "Enter go in" in screen.lines[-1] or size[0] < 60
        await screen.press("space")
        assert "space go on" in screen.lines[-1]
        assert "← → earlier, later" in screen.lines[-1] or size[0] < 60


async def test_in_ascii_the_arrows_are_not_the_keys_that_sort() -> None:
    async with opened(size=(100, 30), ascii=True) as screen:
        await screen.press("space")
        assert "<-> earlier, later" in screen.lines[-1]


async def test_on_the_smallest_screen_every_row_has_its_name() -> None:
    async with opened(size=(40, 10), arm=False) as screen:
        assert "not tracked" in screen.lines[1]
        assert "[anon" in screen.table[0]


async def test_what_can_not_be_done_is_not_offered() -> None:
    async with opened(FakeSource(readonly=True), arm=False) as screen:
        assert "w track" not in screen.text
        assert "writes are not tracked" in screen.text


async def test_of_a_process_that_has_ended_only_the_past_is_offered() -> None:
    target = FakeTarget(process(), world())
    async with opened(FakeSource(target)) as screen:
        alter(target, life=Life.ENDED)
        await screen.tick()
        assert "stop tracking" not in screen.text
        assert "freeze" not in screen.lines[-1]
        assert "← → earlier, later" in screen.lines[-1]


async def test_help_explains_every_word_of_header_and_table() -> None:
    async with opened(size=(120, 150)) as screen:
        await screen.press("question_mark")
        for word in ("WRITTEN", "SET", "RSS", "HUGE", "FAULTS", "every", "scan", "target", "memtop"):
            assert any(row.split()[:1] == [word] for row in screen.lines), word
        for column in ABOUT:
            assert ABOUT[column] in screen.text


async def test_help_follows_the_width() -> None:
    async with opened(size=(120, 100)) as screen:
        await screen.press("question_mark")
        await screen.pilot.resize_terminal(60, 100)
        await screen.pilot.pause()
        assert "any other key closes" in screen.lines[0]
        (row,) = (row for row in screen.lines if "Home, End" in row)
        assert row.startswith(" " * 10)


async def test_what_lies_over_the_page_follows_the_width() -> None:
    async with opened(size=(100, 30)) as screen:
        for keys, text in (
            (["f2"], "mapped to the shared zero page: read,"),
            (["slash"], "a part of a name, an"),
        ):
            await screen.press(*keys)
            await screen.pilot.resize_terminal(44, 24)
            await screen.pilot.pause()
            (row,) = (row for row in screen.lines if text[:20] in row)
            assert row.rstrip().endswith("…"), row
            await screen.press("escape")
            await screen.pilot.resize_terminal(100, 30)
            await screen.pilot.pause()


async def test_since_the_mark_the_header_has_the_sum() -> None:
    async with opened() as screen:
        await screen.press("m")
        await screen.tick(3)
        pages = sum(screen.live.view.since_mark() or ())
        assert pages
        assert f"SINCE MARK 3.0s {size(pages * PAGE):>4}" in screen.lines[1]
        await screen.press("M")
        assert "SINCE MARK" not in screen.text


@pytest.mark.parametrize(
    ("keys", "offers"),
    [
        (["enter"], ["Enter page", "v range", "[ ] zoom"]),
        (["t", "enter"], ["[ ] zoom"]),
        (["i", "enter"], ["r read again"]),
        (["enter", "enter"], ["r read again"]),
    ],
)
async def test_a_pane_offers_the_keys_that_it_has(keys: list[str], offers: list[str]) -> None:
    async with opened() as screen:
        await screen.press(*keys)
        for key in ("Enter page", "v range", "r read again", "[ ] zoom"):
            assert (key in screen.lines[-1]) == (key in offers or (len(offers) == 3 and key[0] == "r")), key


async def test_an_interval_that_is_as_asked_is_no_news() -> None:
    target = FakeTarget(process(), world())
    async with opened(FakeSource(target)) as screen:
        changes = {"stretched": True, "message": "samples come late"}
        alter(target, interval=1.04, **changes)
        await screen.tick()
        assert "samples come" not in screen.text
        alter(target, interval=1.4, **changes)
        await screen.tick()
        assert "samples come late" in screen.text


async def test_how_far_back_a_picture_is_stands_in_the_header() -> None:
    async with opened(size=(60, 15), ticks=6) as screen:
        await screen.press("space", "left", "left")
        assert "‖ 2.0s back" in screen.lines[0]
        await screen.press("left", "left", "left", "left")
        assert "the oldest sample that is kept" in screen.text
        await screen.press(*["right"] * 9)
        assert "‖ frozen" in screen.lines[0]


async def test_a_mark_without_tracking_says_that_nothing_is_counted() -> None:
    async with opened(arm=False) as screen:
        await screen.press("m")
        assert "nothing is counted (w tracks them)" in screen.text


@pytest.mark.parametrize("keys", [[], ["i"]])
async def test_a_narrow_pane_still_names_its_mapping(keys: list[str]) -> None:
    async with opened(size=(60, 15), ticks=1) as screen:
        await screen.press(*keys)
        assert "[anon:jem" in screen.lines[screen.live.pane.region.y]


async def test_half_a_picture_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = picture._write_new

    def full(path: Path, *rest: object) -> None:
        written(path, *rest)  # type: ignore[arg-type]  # of several kinds
        if path.suffix == ".txt":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(picture, "_write_new", full)
    async with opened(folder=tmp_path) as screen:
        await screen.press("s")
        await screen.pilot.pause()
        assert "the picture was not saved: No space left on device" in screen.text
    assert list(tmp_path.iterdir()) == []


async def test_a_picture_is_its_owners_alone(tmp_path: Path) -> None:
    """It may show the contents of memory."""
    async with opened(folder=tmp_path) as screen:
        await screen.press("s")
        await screen.pilot.pause()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


async def test_of_a_process_that_has_ended_every_kept_sample_can_be_gone_back_to() -> None:
    target = FakeTarget(process(), world())
    async with opened(FakeSource(target), ticks=5) as screen:
        alter(target, life=Life.ENDED)
        await screen.tick()
        await screen.press("left", "left", "left")
        assert "‖ 3.0s back" in screen.lines[0]
        assert "while the picture is frozen" not in screen.text
        assert "stop tracking" not in screen.lines[-1], "it is as dead as in its last picture"
        await screen.press("w")
        assert "has ended: nothing can be done to it" in screen.text
        await screen.press("right", "right", "right")
        assert "■ ended" in screen.lines[0]


async def test_what_an_exec_means_can_be_read_and_the_process_has_its_new_name() -> None:
    target = FakeTarget(process(), world())
    async with opened(FakeSource(target), arm=False) as screen:
        after = replace(process(), comm="sleep")
        alter(target, process=after, life=Life.EXECED, message="redis-server 4711 ran exec")
        await screen.tick()
        alter(target, process=after)
        await screen.tick(3)
        assert "sleep 4711" in screen.lines[0]
        assert "ran exec" in screen.text
        await screen.tick(12)
        assert "ran exec" not in screen.text
        await screen.press("space", *["left"] * 17)
        assert "redis-server 4711" in screen.lines[0], "so it was called then"
