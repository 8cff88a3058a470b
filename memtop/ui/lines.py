"""Lines of styled text: fitting them to a width, and finding which cells of them changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from memtop.ui.glyphs import ELLIPSIS
from memtop.ui.theme import Look

Run = tuple[str, Style]
"""Text and its style: data is never parsed for markup."""

GAP = 6
"""Unchanged cells that cost less to send again than moving the cursor over them does."""


def cut(text: str, width: int) -> str:
    """Text of at most so many cells; what is longer ends in an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + ELLIPSIS if width > 0 else ""


def cut_path(text: str, width: int) -> str:
    """The same for names: a path loses its head, because its tail tells more."""
    if not text.startswith("/") or cell_len(text) <= width:
        return cut(text, width)
    if width <= 0:
        return ""
    tail = text[len(text) - width + 1 :]  # no character is narrower than a cell
    while cell_len(tail) > width - 1:
        tail = tail[1:]
    return ELLIPSIS + tail


def fill(text: str, width: int, *, right: bool = False) -> str:
    """Text cut or padded to exactly so many cells."""
    text = cut(text, width)
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank


def width_of(runs: Iterable[Run]) -> int:
    """Cells that the runs take."""
    return sum(cell_len(text) for text, _ in runs)


def line(look: Look, runs: Iterable[Run], width: int, layer: Style | None = None) -> Strip:
    """A strip of exactly this width; neighbours of one style are joined.

    Args:
        layer: a style laid over the whole line.
    """
    segments: list[Segment] = []
    room = width
    text, style = "", look.palette.text
    for more, its in (*runs, (" " * width, look.palette.text)):
        cells = cell_len(more)
        if cells > room:
            more, cells = set_cell_size(more, room), room
        room -= cells
        if its == style:
            text += more
            continue
        if text:
            segments.append(_segment(look, text, style, layer))
        text, style = more, its
    if text:
        segments.append(_segment(look, text, style, layer))
    return Strip(segments, width)


def _segment(look: Look, text: str, style: Style, layer: Style | None) -> Segment:
    return Segment(look.spell(text), style if layer is None else style + layer)


def wrap(text: str, width: int, most: int) -> list[str]:
    """Text broken at spaces into at most so many lines; the last one is cut."""
    lines: list[str] = []
    now = ""
    for word in text.split():
        if not now:
            now = word
        elif cell_len(now) + 1 + cell_len(word) <= width:
            now += " " + word
        else:
            lines.append(now)
            now = word
    lines.append(now)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [cut(each, width) for each in lines]


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a line that gives way when there is no room.

    Attributes:
        forms: from the longest form on; the shorter ones follow.
        keep: the field with the lowest one gives way first.
        needed: its shortest form stays; else it is left out in the end.
    """

    forms: tuple[Sequence[Run], ...]
    keep: int = 0
    needed: bool = False


def fit(fields: Sequence[Field], width: int, gap: int) -> list[Sequence[Run]]:
    """One form of each field, in order, so that all fit into the width with a gap between them.

    Fields first become shorter, then are left out, from the lowest ``keep`` on; what room that leaves
    goes back to the others, from the highest on.
    """
    widths = [[width_of(form) for form in f.forms] for f in fields]
    at = [0] * len(fields)

    def fits() -> bool:
        used = [w[i] for w, i in zip(widths, at, strict=True) if i < len(w)]
        return sum(used) + gap * (len(used) - 1) <= width

    ranked = sorted(range(len(fields)), key=lambda i: fields[i].keep)
    for i in ranked:
        while not fits() and at[i] < len(widths[i]) - 1:
            at[i] += 1
    for i in ranked:
        if not fits() and not fields[i].needed:
            at[i] = len(widths[i])
    for i in reversed(ranked):
        while 0 < at[i] < len(widths[i]):
            at[i] -= 1
            if not fits():
                at[i] += 1
                break
    return [f.forms[i] for f, i in zip(fields, at, strict=True) if i < len(f.forms)]


def spread(left: Sequence[Run], right: Sequence[Run], width: int, style: Style) -> list[Run]:
    """Runs at both ends of a line; the left ones give way."""
    room = max(width - width_of(right), 0)
    runs: list[Run] = []
    for text, its in left:
        text = cut(text, room)
        runs.append((text, its))
        room -= cell_len(text)
    return [*runs, (" " * room, style), *right]


def _cells(strip: Strip) -> list[tuple[str, Style | None, int]]:
    cells: list[tuple[str, Style | None, int]] = []
    for text, style, _ in strip:
        if text.isascii():
            cells += [(c, style, 0) for c in text]
            continue
        for c in text:
            cells += [(c, style, half) for half in range(cell_len(c))]
    return cells


def changed_spans(old: Strip, new: Strip) -> list[tuple[int, int]]:
    """Where two lines differ: first cell and count of cells, spans closer than GAP joined."""
    if old is new or old == new:
        return []
    before, after = _cells(old), _cells(new)
    spans: list[tuple[int, int]] = []
    common = min(len(before), len(after))
    differ = [x for x in range(common) if before[x] != after[x]]
    differ += range(common, max(len(before), len(after)))
    for x in differ:
        if spans and x - (spans[-1][0] + spans[-1][1]) < GAP:
            spans[-1] = (spans[-1][0], x + 1 - spans[-1][0])
        else:
            spans.append((x, 1))
    return spans


def changed_regions(old: Sequence[Strip], new: Sequence[Strip]) -> list[Region]:
    """The cells that must be drawn again when one picture follows another."""
    regions = []
    for y in range(max(len(old), len(new))):
        before = old[y] if y < len(old) else None
        after = new[y] if y < len(new) else None
        if before is None or after is None:
            there = before if after is None else after
            assert there is not None
            regions.append(Region(0, y, there.cell_length, 1))
        else:
            regions += [Region(x, y, width, 1) for x, width in changed_spans(before, after)]
    return regions
