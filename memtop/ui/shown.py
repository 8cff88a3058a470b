"""What the terminal shows: of what Textual draws, only the cells that will look otherwise are sent.

Textual draws all of a widget that was moved, uncovered or gets the keys, and all of the screen when a page is
opened or left; most of that stands there already. This is the one place that leans on Textual's inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress, count
from operator import ne

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate

from memtop.ui.glyphs import BAR, CELLS, ELLIPSIS, RULE, SPARK
from memtop.ui.paint import PLAIN, Codes, Pieces, codes, cropped, shows

Cell = tuple[str, Codes, int]
"""A character, its style, and which half of a wide one; of a blank only what can be seen of its style."""

Run = tuple[int, str, Codes]
"""First cell, text, style."""

MOVE = 4
"""Bytes that moving the cursor along a line takes."""

_NARROW = {chr(c) for c in range(ord(" "), 127)} | set(CELLS + SPARK + RULE + BAR + ELLIPSIS)
"""What takes one cell, of what most lines are made of."""


class Shown:
    """The cells that were sent last, line by line."""

    def __init__(self) -> None:
        self._lines: dict[int, list[Cell | None]] = {}
        self._last: dict[int, tuple[int, list[Segment]]] = {}

    def forget(self) -> None:
        """Somebody else may have written to the terminal: all is sent again."""
        self._lines.clear()
        self._last.clear()

    def news(self, x: int, y: int, segments: Iterable[Segment], colors: ColorSystem) -> Iterator[Run]:
        """The runs that have to be sent for these segments to stand at a place; from now on they do."""
        drawn = x, list(segments)
        if self._last.get(y) == drawn:  # Textual draws a screen up to three times when it is laid out
            return
        self._last[y] = drawn
        after = _cells(drawn[1], colors)
        before = self._lines.setdefault(y, [])
        before += [None] * (x + len(after) - len(before))
        changed = list(compress(count(), map(ne, after, before[x:])))
        if not changed:
            return
        _break(before, x, after)
        for start, end in _stretches(after, changed):
            yield from _runs(x + start, after[start:end])
        before[x : x + len(after)] = after


def _break(before: list[Cell | None], x: int, after: list[Cell]) -> None:
    """Who overwrites half of a wide character takes the other half away: nobody knows what stands there."""
    end = x + len(after)
    if after and x > 0 and (half := before[x]) and half[2] and after[0] != half:
        before[x - 1] = None
    if after and end < len(before) and (half := before[end]) and half[2] and after[-1] != before[end - 1]:
        before[end] = None


def _cells(segments: Iterable[Segment], colors: ColorSystem) -> list[Cell]:
    cells: list[Cell] = []
    for text, style, _ in segments:
        how = PLAIN if style is None else codes(style, colors)
        blank: Cell = (" ", how if shows(how) else (frozenset(), "39", how[2]), 0)
        if not text.strip(" "):
            cells += [blank] * len(text)
        elif text.isascii() or _NARROW.issuperset(text):
            cells += [blank if c == " " else (c, how, 0) for c in text]
        else:
            for c in text:
                cells += [blank] if c == " " else [(c, how, half) for half in range(cell_len(c))]
    return cells


def _stretches(after: list[Cell], changed: list[int]) -> Iterator[tuple[int, int]]:
    """First cell and end of what is sent: what is cheaper sent than passed over goes along."""
    if len(changed) == len(after):
        yield 0, len(after)
        return
    start, end = changed[0], changed[0] + 1
    for at in changed:
        if at > end and not _goes_along(after[end:at], after[end - 1][1]):
            yield start, end
            start = at
        end = max(end, at + 1)
        while end < len(after) and after[end][2]:  # never half of a wide one
            end += 1
    yield start, end


def _goes_along(same: list[Cell], style: Codes) -> bool:
    if len(same) > MOVE or sum(len(c.encode()) for c, _, _ in same) > MOVE:
        return False
    return all(how == style or c == " " for c, how, _ in same)


def _runs(x: int, cells: list[Cell]) -> Iterator[Run]:
    """Neighbours of one style; blanks go along where that can't be seen."""
    at, text, how = x, "", cells[0][1]
    for place, (c, its, half) in enumerate(cells, x):
        if half:
            continue
        along = its == how or (c == " " and its[2] == how[2] and not shows(its) and not shows(how))
        if not along:
            yield at, text, how
            at, text, how = place, "", its
        text += c
    yield at, text, how


class News(CompositorUpdate):
    """An update that sends what is new in another one."""

    def __init__(self, update: ChopsUpdate | LayoutUpdate, shown: Shown) -> None:
        self._update, self._shown = update, shown

    def render_segments(self, console: Console) -> str:
        """Escape sequences for the terminal; asked for only when they are sent."""
        colors = console._color_system or ColorSystem.TRUECOLOR
        pieces = Pieces()
        for x, y, segments in _drawn(self._update):
            for at, text, how in self._shown.news(x, y, segments, colors):
                pieces.add(at, y, text, how)
        return pieces.drawn()


def _drawn(update: ChopsUpdate | LayoutUpdate) -> Iterator[tuple[int, int, Iterable[Segment]]]:
    """What Textual would send, and where."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            yield update.region.x, y, [segment for strip in line for segment in strip]
        return
    for y, first, end in update.spans:
        for strip_end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x >= end or strip_end <= first:
                continue
            left, right = max(x, first), min(strip_end, end)
            yield left, y, cropped(strip, left - x, right - x)
