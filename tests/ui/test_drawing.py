"""Only what changed is drawn; lines fit; columns agree with the views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fake import FakeSource
from fake_target import FakeTarget
from fake_world import FakeMapping, idle, process, world
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style
from screen import Driver, opened
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from memtop.model.coverage import Coverage
from memtop.model.layout import Kind
from memtop.model.names import clean_text
from memtop.ui import packed
from memtop.ui.columns import COLUMNS, SHORT, Layout, order
from memtop.ui.intervals import STEPS, step_interval
from memtop.ui.lines import Field, changed_lines, cut, cut_path, fill, fit, line, wrap
from memtop.ui.shown import MOVE, Shown
from memtop.ui.theme import DARK, THEMES, Look, Palette
from memtop.ui.widgets.drawn import Drawn

LOOK = Look()
A, B = DARK.text, DARK.strong


def strip(text: str, style: Style = A) -> Strip:
    return line(LOOK, [(text, style)], max(cell_len(text), 1))


@contextmanager
def refreshed(screen: Driver) -> Iterator[list[tuple[str, Region | None]]]:
    """Every region that a widget of the page asks to be drawn again; None for all of it."""
    seen: list[tuple[str, Region | None]] = []
    live = screen.live
    widgets = (live.header, live.heads, live.table, live.map, live.detail, live.keys)
    for widget in widgets:

        def record(
            *regions: Region, _widget: Any = widget, _was: Callable[..., Any] = widget.refresh, **kw: Any
        ) -> Any:
            seen.extend((type(_widget).__name__, region) for region in regions or (None,))
            return _was(*regions, **kw)

        widget.refresh = record
    yield seen
    for widget in widgets:
        del widget.refresh


def calm() -> FakeSource:
    mappings = [FakeMapping(0x10000000 * n, 64, Kind.ANON, b"a%d" % n, idle) for n in range(1, 9)]
    mappings[4].write = lambda rng, tick: {3}
    return FakeSource(FakeTarget(process(), mappings))


def sent(before: Strip, after: Strip) -> list[tuple[int, str]]:
    """What is sent for the second after the first: at which cell, and which text."""
    shown = Shown()
    list(shown.news(0, 0, before, ColorSystem.TRUECOLOR))
    return [(x, text) for x, text, _ in shown.news(0, 0, after, ColorSystem.TRUECOLOR)]


async def test_one_written_page_redraws_only_its_row_and_sends_only_its_cells() -> None:
    async with opened(calm(), ticks=3) as screen:
        table = screen.live.table
        screen.source.target.mappings[4].write = lambda rng, tick: {40}
        row = next(y for y, text in enumerate(screen.table) if text.split()[0] == "50000000")
        before = table.lines[row]
        with refreshed(screen) as seen:
            await screen.tick()
        assert [region for name, region in seen if name == "MappingTable"] == [
            Region(0, row, before.cell_length, 1)
        ]
        assert all(name in ("HeaderBar", "MappingTable") for name, _ in seen)  # nothing else changed
        assert 0 < sum(len(text) for _, text in sent(before, table.lines[row])) < 40
        assert table.lines[row].text.count("█") == 1


async def test_a_sample_that_says_the_same_draws_the_clock_and_no_more() -> None:
    async with opened(calm(), arm=False, ticks=30) as screen:
        before = screen.live.header.lines[0]
        with refreshed(screen) as seen:
            await screen.tick()
        assert seen == [("HeaderBar", Region(0, 0, before.cell_length, 1))]
        assert sum(len(text) for _, text in sent(before, screen.live.header.lines[0])) <= 3


async def test_showing_the_same_sample_again_draws_nothing() -> None:
    async with opened(FakeSource(FakeTarget(process(), world())), ticks=5) as screen:
        with refreshed(screen) as seen:
            screen.live.show()
            await screen.pilot.pause()
        assert seen == []


def test_only_the_cells_that_changed_are_sent() -> None:
    assert sent(strip("abcdef"), strip("abcdef")) == []
    assert sent(strip("abcdef"), strip("abXdef")) == [(2, "X")]
    far = "a" * (MOVE + 1)
    assert sent(strip(f"x{far}y"), strip(f"X{far}Y")) == [(0, "X"), (len(far) + 1, "Y")]
    assert sent(strip("xaay"), strip("XaaY")) == [(0, "XaaY")]  # cheaper in one piece
    assert sent(strip("abc", A), strip("abc", B)) == [(0, "abc")]
    assert sent(strip("a日b"), strip("a本b")) == [(1, "本")]  # both cells of a wide character


def test_neighbouring_lines_are_drawn_in_one_piece() -> None:
    lines = [strip(text) for text in ("ab", "cd", "ef", "gh")]
    other = strip("xy")
    assert changed_lines(lines, lines) == []
    assert changed_lines(lines, [other, *lines[1:3], other]) == [Region(0, 0, 2, 1), Region(0, 3, 2, 1)]
    assert changed_lines(lines, [lines[0], other, other, lines[3]]) == [Region(0, 1, 2, 2)]


def test_lines_that_come_or_go_are_drawn_whole() -> None:
    assert changed_lines([strip("ab")], [strip("ab"), strip("cd")]) == [Region(0, 1, 2, 1)]
    assert changed_lines([strip("ab"), strip("cd")], [strip("ab")]) == [Region(0, 1, 2, 1)]
    assert changed_lines([strip("abc")], [strip("ab")]) == [Region(0, 0, 3, 1)]


NAMES = st.text(max_size=60).map(clean_text)
"""What is drawn was cleaned before; nothing in it is narrower than a cell."""


@given(NAMES, st.integers(1, 50))
def test_text_is_cut_to_its_cells(text: str, width: int) -> None:
    assert cell_len(cut(text, width)) <= width
    assert cell_len(cut_path(f"/{text}", width)) <= width
    assert cell_len(fill(text, width)) == width
    assert line(LOOK, [(text, A)], width).cell_length == width
    assert all(cell_len(each) <= width for each in wrap(text, width, 3))
    assert cut(text, 0) == cut_path(f"/{text}", 0) == cut_path(f"/{text}", -1) == ""


def test_fields_become_shorter_before_they_are_left_out() -> None:
    long, short, other = (("long form", A),), (("short", A),), (("needed", A),)
    fields = [Field((long, short), 2), Field((other,), 1)]
    assert fit(fields, 30, 1) == [long, other]
    assert fit(fields, 12, 1) == [short, other]
    assert fit(fields, 9, 1) == [long]
    assert fit([fields[0], Field((other,), 1, needed=True)], 8, 1) == [other]


FORMS = st.lists(st.integers(1, 12), min_size=1, max_size=3).map(lambda widths: sorted(widths)[::-1])


@given(st.lists(st.tuples(FORMS, st.integers(0, 9), st.booleans()), max_size=6), st.integers(1, 60))
def test_fields_fit_and_waste_no_room(forms: list[tuple[list[int], int, bool]], width: int) -> None:
    letters = iter("abcdef")
    fields = [
        Field(tuple([(letter * cells, A)] for cells in widths), keep, needed)
        for (widths, keep, needed), letter in zip(forms, letters, strict=False)
    ]
    chosen = [text for [(text, _)] in fit(fields, width, 2)]
    used = sum(len(text) + 2 for text in chosen) - 2
    if used > width:  # then only what has to stay does, as short as it can be
        assert chosen == [field.forms[-1][0][0] for field in fields if field.needed]
    for field in fields:
        texts = [text for [(text, _)] in field.forms]
        now = next((text for text in texts if text in chosen), None)
        longer = [text for text in texts if now is not None and len(text) > len(now)]
        assert all(used - len(now or "") + len(text) > width for text in longer)


async def test_packed_columns_agree_with_the_views() -> None:
    async with opened(ticks=3) as screen:
        sample = screen.live.view.sample
        rows = list(sample.mappings)
        assert packed.sizes(sample) == [m.mapping.size for m in rows]
        assert list(packed.kinds(sample)) == [m.mapping.kind for m in rows]
        assert packed.names(sample) == [m.mapping.name.encode() for m in rows]
        for i, m in enumerate(rows):
            if m.resident is not None:
                assert packed.resident(sample)[i] * 4096 == m.resident
                assert packed.huge(sample)[i] * 4096 == m.huge
            assert packed.flags(sample)[i] == m.flags
            assert packed.resident_map(sample, i) == m.resident_map
            if m.written_pages is not None:
                assert packed.written(sample)[i] == m.written_pages
        by_written = order(sample, next(c for c in COLUMNS if c.head == "WRITTEN/S"), False)
        pages = [-1 if rows[i].written_pages is None else rows[i].written_pages for i in by_written]
        assert pages == sorted(pages, reverse=True)


def test_every_reason_has_its_word() -> None:
    """A mapping that is not tracked says why in its row; the word fits beside the mark."""
    width = next(c.width for c in COLUMNS if c.head == "WRITTEN/S")
    assert {c for c in Coverage if not c.tracked} - {Coverage.OFF} <= SHORT.keys()
    assert all(len(word) < width for word in SHORT.values())


def test_a_layout_always_fits() -> None:
    for width in range(250):
        layout = Layout.of(width)
        used = sum(w + layout.gap for _, w in layout.columns) + layout.map_width
        assert used <= max(width, 36), width
        if width >= 56:
            assert layout.map_width >= 16


def test_intervals_end_at_both_ends() -> None:
    assert step_interval(1.0, 1) == 2.0
    assert step_interval(1.5, -1) == 1.0
    assert step_interval(STEPS[-1], 1) == STEPS[-1]
    assert step_interval(STEPS[0], -1) == STEPS[0]


@pytest.mark.parametrize("palette", THEMES, ids=lambda palette: palette.name)
async def test_lines_are_as_textual_would_draw_them(palette: Palette) -> None:
    def cells(strips: list[Strip]) -> list[list[tuple[str, object]]]:
        return [
            [(sign, style and (style.color, style.bgcolor, style.bold, style.reverse)) for sign in text]
            for strip in strips
            for text, style, _ in [*strip.simplify()]
        ]

    async with opened(palette=palette, size=(80, 24)) as screen:
        await screen.press("w")  # a question lies over the page
        shown = [widget for widget in screen.live.query(Drawn) if widget.display and widget.region]
        assert len(shown) > 5
        for widget in shown:
            whole = Region(0, 0, *widget.region.size)
            for crop in (whole, Region(3, 0, 20, 1)):
                assert cells(widget.render_lines(crop)) == cells(Widget.render_lines(widget, crop)), widget
