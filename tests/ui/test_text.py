"""What the screen says at each size, as plain text: colour adds nothing that is not there."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from fake import FakeSource
from fake_target import FakeTarget
from fake_world import FakeMapping, idle, process, world
from screen import opened

from memtop.model.layout import Kind, Perm
from memtop.model.names import clean
from memtop.ui.theme import ANSI, DARK, MONO, Palette

SIZES = [(80, 24), (120, 40), (60, 15), (200, 60)]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_a_picture_answers_a_colleague(size: tuple[int, int]) -> None:
    """Which process, when, which tracker, how exact, at what interval, at what cost."""
    async with opened(size=size, ticks=4) as screen:
        head = "\n".join(screen.lines[:4])
        assert "redis-server 4711" in head
        assert "redis@db-07" in head
        assert re.search(r"2026-11-20 23:41:\d\dZ", head)
        assert "write-protect · exact" in head
        assert "every 1.0s" in head
        assert "18 of 32 mappings" in head
        assert re.search(r"target ≤ *\d+k faults/s", head)
        assert re.search(r"memtop +0\.3% CPU", head)
        assert re.search(r"scan +12ms", head)
        assert re.search(r"WRITTEN +\d+M/s", head)
        assert "~ approximate, ² 2 MiB" in head


async def test_columns_give_way_in_their_order() -> None:
    heads = {}
    for size in SIZES:
        async with opened(size=size) as screen:
            heads[size[0]] = screen.lines[screen.live.heads.region.y].split()
    assert [head for head in heads[200] if head not in ("PERM", "TREND")] == heads[120]
    assert heads[120] == ["ADDRESS", "SIZE", "RSS▼", "WRITTEN/S", "HUGE", "KIND", "NAME", "MAP"]
    assert heads[80] == ["ADDRESS", "SIZE", "RSS▼", "WRITTEN/S", "HUGE", "NAME", "MAP"]
    assert heads[60][:3] == ["ADDRESS", "RSS▼", "WRITTEN/S"]
    assert heads[60][-1] == "MAP"


async def test_numbers_are_marked_or_replaced_by_a_reason() -> None:
    async with opened(ticks=4) as screen:
        rows = {line[2:].split()[0]: line for line in screen.table}
        assert re.search(r" \d+(\.\d)?[KM]² ", rows["7f1240000000"])  # huge page
        assert re.search(r" \d+(\.\d)?[KM]~ ", rows["7f13c8000000"])  # shared memory
        assert " busy " in rows["7f13d4000000"]
        assert " untracked " in rows["7f13b1c00000"]
        assert re.search(r" 64M  ", rows["7f12a0000000"])  # exact: no mark


async def test_nothing_is_a_zero_that_is_not_known() -> None:
    async with opened(arm=False) as screen:
        assert "writes are not tracked" in screen.text
        assert re.search(r"WRITTEN +– ", screen.lines[1])
        assert all(" – " in row for row in screen.table)
        assert "written now" not in screen.text  # no ages in the legend
        assert "not resident" in screen.text


async def test_the_baseline_counts_nothing() -> None:
    async with opened(ticks=1) as screen:
        assert re.search(r"WRITTEN +– ", screen.lines[1])
        assert "baseline" in screen.table[0]
        assert not re.search("[█▓▒░]", "\n".join(screen.table))


async def test_the_write_map_ages() -> None:
    """A sweep leaves a trail: now, then seconds, then a minute, then earlier."""
    async with opened() as screen:
        screen.source.tick(87)
        await screen.tick()
        region = screen.live.map.region
        cells = "".join(line[15:111] for line in screen.lines[region.y + 1 : region.bottom - 2])
        order = [
            glyph for i, glyph in enumerate(cells) if glyph in "█▓▒░" and (not i or cells[i - 1] != glyph)
        ]
        trail = "".join(order)
        assert "█" in trail
        assert "▓█" in trail
        assert "▒▓" in trail
        assert "one cell 4.0M = 1024 pages" in screen.lines[region.y]
        for key in (
            "written now",
            "in 10 s",
            "in 1 min",
            "earlier",
            "resident, not seen written",
            "not resident",
        ):
            assert key in screen.lines[region.bottom - 1]


async def test_address_labels_are_where_their_line_begins() -> None:
    async with opened() as screen:
        region = screen.live.map.region
        labels = [int(line.split()[0], 16) for line in screen.lines[region.y + 1 : region.y + 11]]
        assert labels[0] == 0x7F12A0000000
        steps = {b - a for a, b in pairwise(labels)}
        assert steps == {96 * 4 << 20}


async def test_the_reason_of_the_selected_mapping_is_below() -> None:
    async with opened(FakeSource(FakeTarget(process(), world()[:6]))) as screen:
        await screen.press("end")
        detail = screen.lines[screen.live.detail.region.y]
        assert "file mapping, left alone" in detail
        assert "r-xp" in detail


@pytest.mark.parametrize("palette", [DARK, ANSI, MONO], ids=["dark", "ansi", "mono"])
async def test_every_palette_shows_the_same_text(palette: Palette) -> None:
    async with opened(ticks=5) as screen:
        wanted = screen.text
    async with opened(ticks=5, palette=palette) as screen:
        assert screen.text == wanted


async def test_no_color_is_monochrome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(ticks=5, palette=None) as screen:
        await screen.press("w")
        assert "▸" in screen.text
        for strip in screen.app.screen._compositor.render_strips():
            for segment in strip:
                assert segment.style is not None
                for colour in (segment.style.color, segment.style.bgcolor):
                    assert colour is None or colour.is_default


@pytest.mark.parametrize("size", SIZES)
async def test_ascii_is_ascii(size: tuple[int, int]) -> None:
    async with opened(ticks=5, size=size, ascii=True) as screen:
        assert screen.text.isascii(), re.findall(r"[^\x00-\x7f]", screen.text)
        await screen.press("w")
        assert screen.text.isascii()
        await screen.press("escape", "question_mark")
        assert screen.text.isascii()


async def test_a_memfd_is_named_by_its_name() -> None:
    mappings = [FakeMapping(0x7F0000000000, 9, Kind.SHARED, b"/memfd:hot set (deleted)", idle)]
    async with opened(FakeSource(FakeTarget(process(), mappings))) as screen:
        assert " memfd:hot set " in screen.table[0]
        assert "/memfd:hot set (deleted)" in screen.lines[screen.live.map.region.y]


EVIL = [
    b"\x1b]52;c;aGVsbG8=\x07",
    b"\x1b[2J\x1b[31mred",
    b"\x9b31m c1",
    b"[bold red]markup[/]",
    "\u202egnp.exe".encode(),
    b"line\nbreak\rreturn\ttab",
    b"\xff\xfe not utf-8",
    "日本語のファイル名がとても長い".encode(),
    "e\u0301\u200b\u200d zero width".encode(),
    b"/" + b"x" * 4090,
]


@pytest.mark.parametrize("size", SIZES)
async def test_names_cannot_disturb_the_terminal(size: tuple[int, int]) -> None:
    mappings = [
        FakeMapping(0x7F0000000000 + n * 0x100000, 200 - n, Kind.FILE, name, idle, perms=Perm.READ, inode=n)
        for n, name in enumerate(EVIL)
    ]
    source = FakeSource(FakeTarget(process(comm=clean(b"\x1b[31mevil")), mappings))
    async with opened(source, size) as screen:
        for _ in EVIL:
            for strip in screen.app.screen._compositor.render_strips():
                assert strip.cell_length == size[0]
                assert sum(segment.cell_length for segment in strip) == size[0]
                assert all(c.isprintable() for c in strip.text)
            assert "\x1b" not in screen.app.picture(screen.live.view)
            await screen.press("down")
        assert "[bold red]mar" in screen.text or size[0] == 60
