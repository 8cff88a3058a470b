"""Lines of styled text: fitting them to a width, and finding which of them changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from memtop.ui.glyphs import ELLIPSIS, RULE, SPARK
from memtop.ui.theme import Look

Run = tuple[str, Style]
"""Text and its style: data is never parsed for markup."""

_BLANK = f" {RULE}"
"""What says nothing: where it is cut there is no mark."""


def sparkline(values: Iterable[float | None], width: int) -> str:
    """The last values, newest at the right; nothing where none was known."""
    last = list(values)[-width:]
    most = max((value for value in last if value), default=0.0)
    levels = len(SPARK) - 2
    text = "".join(
        " " if value is None else SPARK[1 + min(int(levels * value / most), levels)] if value else SPARK[0]
        for value in last
    )
    return text.rjust(width)


def cut(text: str, width: int) -> str:
    """Text of at most so many cells; what is longer ends in an ellipsis."""
    if width <= 0:  # also of what takes no cells
        return ""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + ELLIPSIS


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
    return sum(len(text) if text.isascii() else cell_len(text) for text, _ in runs)


def line(look: Look, runs: Iterable[Run], width: int, layer: Style | None = None) -> Strip:
    """A strip of exactly this width; neighbours of one style are joined. What is cut ends in an ellipsis.

    Args:
        layer: a style laid over the whole line.
    """
    segments: list[Segment] = []
    room = width
    text, style = "", look.palette.text
    for more, its in (*runs, (" " * width, look.palette.text)):
        if not room:
            if more.strip(_BLANK):
                text = cut(text + more, cell_len(text))
                break
            continue
        cells = len(more) if more.isascii() else cell_len(more)
        if cells > room:
            more, cells = fill(more.rstrip(_BLANK), room), room
        room -= cells
        if its is style:  # styles of a palette that are equal are the same
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


def fitting(forms: Sequence[str], width: int) -> str:
    """The first of these sentences that has so much room, else the last one."""
    return next((form for form in forms if cell_len(form) <= width), forms[-1])


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
    # What each form takes with the gap behind it; after the last one: nothing, for it is left out.
    takes = [[*(width_of(form) + gap for form in f.forms), 0] for f in fields]
    at = [0] * len(fields)
    room = width + gap - sum(forms[0] for forms in takes)
    ranked = sorted(range(len(fields)), key=lambda i: fields[i].keep) if room < 0 else []

    def left(i: int, form: int) -> int:
        """The room that is left when this field takes another form."""
        return room + takes[i][at[i]] - takes[i][form]

    for i in ranked:
        while room < 0 and at[i] < len(fields[i].forms) - 1:
            room, at[i] = left(i, at[i] + 1), at[i] + 1
    for i in ranked:
        if room < 0 and not fields[i].needed:
            room, at[i] = left(i, len(fields[i].forms)), len(fields[i].forms)
    for i in reversed(ranked):
        while 0 < at[i] < len(fields[i].forms) and left(i, at[i] - 1) >= 0:
            room, at[i] = left(i, at[i] - 1), at[i] - 1
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


def changed_lines(old: Sequence[Strip], new: Sequence[Strip]) -> list[Region]:
    """What is drawn again when one picture follows another; ``shown`` knows which cells of it are new."""
    regions: list[Region] = []
    for y, (before, after) in enumerate(zip_longest(old, new)):
        if before is after or before == after:
            continue
        width = max(strip.cell_length for strip in (before, after) if strip is not None)
        last = regions[-1] if regions else None
        if last is not None and last.bottom == y and last.width == width:
            regions[-1] = Region(0, last.y, width, last.height + 1)
        else:
            regions.append(Region(0, y, width, 1))
    return regions
