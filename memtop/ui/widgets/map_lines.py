"""The lines of the write map: title, cells, legend; and what its cursor stands on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.style import Style

from memtop.model.layout import PAGE, CountFlag
from memtop.model.peek import PageFlags
from memtop.model.sample import MappingSample
from memtop.model.units import clock, count, seconds, size
from memtop.sampler.history import NEVER
from memtop.ui.ages import Age, Grid
from memtop.ui.columns import short_title
from memtop.ui.glyphs import CELLS, END, RULE
from memtop.ui.lines import Field, Run, cut, cut_path, fit, fitting, spread, width_of
from memtop.ui.state import ProcessView
from memtop.ui.theme import Palette, over
from memtop.ui.widgets.mapping_table import cell_runs

LEAST_NAME = 13
"""Cells of a mapping's name that the title keeps as long as it can."""

CURSOR = Style(reverse=True)


MARKED = Style(underline=True, bold=True)
"""Of marked cells; the line below the map says which they are, too."""


def row_runs(
    grid: Grid,
    row: int,
    cells: bytes,
    label: int,
    p: Palette,
    cursor: int | None,
    marked: range = range(0),
) -> list[Run]:
    """An address and the cells from there on.

    Args:
        cells: of this row.
        label: cells that the address takes.
        cursor: which of them it stands on, if any.
        marked: which of them are in the marked range.
    """
    address = f"{grid.address(row * grid.columns):x}".rjust(label)
    runs: list[Run] = [(f" {address}  ", p.dim)]
    edges = {0, len(cells), marked.start, marked.stop}
    edges |= set() if cursor is None else {cursor, cursor + 1}
    stops = sorted(edge for edge in edges if 0 <= edge <= len(cells))
    for start, end in pairwise(stops):
        part = cell_runs(cells[start:end], p)
        if start in marked:
            layer = over(p.selected, MARKED)
            part = [(text, over(style, layer)) for text, style in part]
        if start == cursor:
            part = [(text, over(style, CURSOR)) for text, style in part]
        runs += part
    if grid.last and row * grid.columns + len(cells) == grid.cells:
        runs.append((END, p.faint))
    return runs


def title_runs(
    m: MappingSample, grid: Grid, p: Palette, width: int, *, whole: bool, said: Sequence[str]
) -> list[Run]:
    """Which mapping, which part of it, and what a cell holds.

    Args:
        whole: all of the mapping is shown.
        said: what else there is to say about the cells.
    """
    start, end = grid.address(0), min(grid.first + grid.cells * grid.cell_bytes, grid.end)
    here, total = m.mapping, size(m.mapping.size)
    extent = total if whole else f"{size(end - start)} of {total}"
    pages = _pages(grid.cell_pages)
    cell, short = f"one cell {size(grid.cell_bytes)} = {pages}", f"one cell {pages}"
    # What there is to say about the cells is worth more than what the table says too.
    for what, holds, notes in (
        (f"  {extent} {here.kind.label} {here.perms}  ", cell, said),
        (f"  {extent} {here.kind.label}  ", cell, said),
        (f"  {extent}  ", cell, said),
        (f"  {extent}  ", short, said),
        *(("  ", short, said[dropped:]) for dropped in range(len(said) + 1)),
    ):
        left: list[Run] = [(f"{RULE * 2} ", p.faint), (f"{start:x}", p.strong), (what, p.dim)]
        right: list[Run] = [(f" {each} ", p.dim) for each in notes]
        right += [(f" {holds} ", p.text), (RULE * 2, p.faint)]
        room = width - width_of(left) - width_of(right) - 2
        if room >= min(width_of([(short_title(here), p.text)]), LEAST_NAME):
            break
    name = fitting((here.title, short_title(here)), room)
    left += [(cut_path(name, max(room, 0)), p.strong), (" ", p.faint)]
    rule = max(width - width_of(left) - width_of(right), 0)
    return [*left, (RULE * rule, p.faint), *right]


def _pages(number: int) -> str:
    return f"{number} page{'s' if number > 1 else ''}"


def age_fields(view: ProcessView, p: Palette) -> list[Field]:
    """What the glyphs of cells mean; with a mark, ages are told from it."""

    def key(age: Age, *texts: str) -> tuple[Sequence[Run], ...]:
        glyph = CELLS[age] if age is not Age.ABSENT else "blank"
        return tuple(((glyph, p.ages[age]), (f" {text}", p.dim)) for text in texts)

    if view.marked_at is None:
        times = [
            Field(key(Age.SECONDS, "in 10 s", "10 s"), 8, needed=True),
            Field(key(Age.MINUTE, "in 1 min", "1 min"), 7, needed=True),
            Field(key(Age.EARLIER, "earlier"), 6, needed=True),
        ]
    else:
        when = clock(view.marked_at)
        times = [
            Field(key(Age.SECONDS, f"since the mark at {when}", f"since {when}"), 8, needed=True),
            Field(key(Age.EARLIER, "before it"), 6, needed=True),
        ]
    return [
        Field(key(Age.NOW, "written now", "now"), 9, needed=True),
        *times,
        Field(key(Age.RESIDENT, "resident, not seen written", "not seen written", "never"), 5, needed=True),
        Field(key(Age.ABSENT, "not resident"), 4),
    ]


def resident_fields(p: Palette) -> list[Field]:
    """The same where writes are not tracked."""
    resident: Run = (CELLS[Age.RESIDENT], p.ages[Age.RESIDENT])
    return [
        Field(((resident, (" resident", p.dim)),), 5, needed=True),
        Field(((("blank", p.ages[Age.ABSENT]), (" not resident", p.dim)),), 4),
    ]


def legend_runs(m: MappingSample, view: ProcessView, p: Palette, width: int) -> list[Run]:
    """What the glyphs mean; where writes are not tracked, that is said instead of their ages."""
    if not m.coverage.tracked:
        why = m.coverage.reason if view.tracking else "writes are not tracked"
        runs = join(fit(resident_fields(p), width - 2, 3), p)
        return [*runs, (cut("   " + why, max(width - width_of(runs) - 1, 0)), p.warn)]
    roomy = width >= 100
    left = join(fit(age_fields(view, p), width - 2, 3 if roomy else 2), p, "   " if roomy else "  ")
    exact = {"approximate": "~ approximate", "huge-page": "² by 2 MiB"}.get(m.exactness.value, "")
    if m.flags & CountFlag.TOO_SPARSE:
        exact = "too sparse to look at"
    if exact and width_of(left) + len(exact) + 3 <= width:
        return spread(left, [(exact, p.text), (" ", p.text)], width, p.text)
    return left


def join(parts: Sequence[Sequence[Run]], p: Palette, gap: str = "   ") -> list[Run]:
    """Parts of a line with a gap between them."""
    runs: list[Run] = [(" ", p.text)]
    for i, part in enumerate(parts):
        runs += [(gap, p.text), *part] if i else part
    return runs


def written_text(time: float, now: float, tracked: bool) -> str:
    """When something was last written; times in unix seconds."""
    if time == NEVER:
        return "not seen written" if tracked else "writes are not tracked"
    return "written now" if time >= now else f"written {seconds(now - time)} ago"


def flags_text(flags: PageFlags) -> str:
    """What some pages are: words for one page, counts for several."""
    named = (
        (flags.zero, "zero page" if flags.pages == 1 else "zero"),
        (flags.huge, "huge"),
        (flags.file, "file"),
        (flags.swapped if not flags.guard else 0, "swapped or given back" if flags.tracked else "swapped"),
        (flags.guard, "guard"),
    )
    if flags.pages == 1:
        there = "present" if flags.present else "not resident"
        dirty = ["dirty"] if flags.written else []
        return ", ".join([there, *dirty, *(word for number, word in named if number)])
    parts = [f"{count(flags.present)} of {count(flags.pages)} present"]
    parts += [f"{count(flags.written)} dirty"] if flags.written else []
    return ", ".join([*parts, *(f"{count(number)} {word}" for number, word in named if number)])


def page_of(m: MappingSample, address: int) -> str:
    """Which page of the mapping, from 0 on."""
    return f"page {(address - m.mapping.start) // PAGE}"
