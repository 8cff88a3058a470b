"""The large map of the selected mapping: each cell says how long ago it was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone

from memtop.model.layout import CountFlag
from memtop.model.sample import MappingSample
from memtop.model.units import size
from memtop.ui.ages import Age, Grid, grid_cells
from memtop.ui.glyphs import CELLS, END, RULE
from memtop.ui.lines import Field, Run, cut, cut_path, fit, spread, width_of
from memtop.ui.state import ProcessView
from memtop.ui.theme import Palette
from memtop.ui.widgets.mapping_table import cell_runs
from memtop.ui.widgets.pane import Pane, Wanted

LABEL = 12
"""Hexadecimal digits of an address label; longer addresses take what they need."""

COLUMN_STEP = 16
"""Columns come in multiples of it, so that the labels are round addresses."""


class WriteMap(Pane):
    """A title, the cells with an address at the head of each line, a legend."""

    title = "write map"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.grid: Grid | None = None

    def show(self, view: ProcessView) -> Wanted | None:
        """Draws the selected mapping."""
        m = selected(view)
        self.grid = None
        if m is None or view.sample is None:
            self.draw_runs([])
            return None
        p, height = self.look.palette, self.size.height
        rows = max(height - (2 if height >= 5 else 1), 1)
        label = max(LABEL, len(f"{m.mapping.end:x}"))
        columns = max((self.size.width - label - 3) // COLUMN_STEP, 1) * COLUMN_STEP
        with view.lock:
            age = view.ages.of(m.mapping)
            grid = Grid.of(m.mapping, columns, rows, 1 if age is None else age.cell_pages)
            sample = view.sample
            cells = grid_cells(
                grid, m.mapping, m.resident_map, sample.watched, age, sample.time, view.marked_at
            )
        fine = grid.shown_by(sample.watched, m.mapping.id)
        lines: list[Sequence[Run]] = [title_runs(m, grid, fine, p, self.size.width)]
        for row in range(rows):
            part = cells[row * columns : (row + 1) * columns]
            lines.append(_row(grid, row, part, label, p) if part else [])
        if height >= 5:
            lines.append(legend_runs(m, view, p, self.size.width))
        self.draw_runs(lines)
        self.grid = grid
        # Room rather than cells: a mapping that grows is not asked for anew at every tick.
        return view.key, m.mapping.id, grid.first, grid.cell_pages, grid.room


def _row(grid: Grid, row: int, cells: bytes, label: int, p: Palette) -> list[Run]:
    address = f"{grid.address(row * grid.columns):x}".rjust(label)
    runs = [(f" {address}  ", p.dim), *cell_runs(cells, p)]
    if (row * grid.columns + len(cells)) == grid.cells:
        runs.append((END, p.faint))
    return runs


def selected(view: ProcessView) -> MappingSample | None:
    """The selected mapping in the newest sample."""
    if view.sample is None or view.selected is None:
        return None
    index = view.sample.table.index_of(view.selected)
    return None if index is None else view.sample.mappings[index]


def title_runs(m: MappingSample, grid: Grid, fine: bool, p: Palette, width: int) -> list[Run]:
    """Which mapping, and what a cell holds."""
    pages = f"{grid.cell_pages} page{'s' if grid.cell_pages > 1 else ''}"
    cell = f" one cell {size(grid.cell_bytes)} = {pages} "
    right: list[Run] = [(cell, p.text), (RULE * 2, p.faint)]
    if not fine:
        right.insert(0, (" residency by 64ths ", p.dim))
    left: list[Run] = [(f"{RULE * 2} ", p.faint), (f"{m.mapping.start:x}", p.strong)]
    what = f"  {size(m.mapping.size)} {m.mapping.kind.label} {m.mapping.perms}  "
    room = width - width_of(left) - width_of(right) - len(what) - 2
    left += [(what, p.dim), (cut_path(m.mapping.title, max(room, 0)), p.strong), (" ", p.faint)]
    rule = max(width - width_of(left) - width_of(right), 0)
    return [*left, (RULE * rule, p.faint), *right]


def legend_runs(m: MappingSample, view: ProcessView, p: Palette, width: int) -> list[Run]:
    """What the glyphs mean; where writes are not tracked, that is said instead of their ages."""

    def key(age: Age, *texts: str) -> tuple[Sequence[Run], ...]:
        glyph = CELLS[age] if age is not Age.ABSENT else "blank"
        return tuple(((glyph, p.ages[age]), (f" {text}", p.dim)) for text in texts)

    here = Field(key(Age.RESIDENT, "resident"), 5, needed=True)
    absent = Field(key(Age.ABSENT, "not resident"), 4)
    if not m.coverage.tracked:
        why = m.coverage.reason if view.tracking else "writes are not tracked"
        parts = fit([here, absent], width - 2, 3)
        runs = _join(parts, p)
        return [*runs, (cut("   " + why, max(width - width_of(runs) - 1, 0)), p.warn)]
    fields = [
        Field(key(Age.NOW, "written now"), 9, needed=True),
        *_times(view, key),
        Field(key(Age.RESIDENT, "resident, not seen written", "not seen written", "never"), 5, needed=True),
        absent,
    ]
    left = _join(fit(fields, width - 2, 3 if width >= 100 else 2), p, "   " if width >= 100 else "  ")
    exact = {"approximate": "~ approximate", "huge-page": "² by 2 MiB"}.get(m.exactness.value, "")
    if m.flags & CountFlag.TOO_SPARSE:
        exact = "too sparse to look at"
    if exact and width_of(left) + len(exact) + 3 <= width:
        return spread(left, [(exact, p.text), (" ", p.text)], width, p.text)
    return left


def _times(view: ProcessView, key: Callable[..., tuple[Sequence[Run], ...]]) -> list[Field]:
    if view.marked_at is None:
        return [
            Field(key(Age.SECONDS, "in 10 s", "10 s"), 8, needed=True),
            Field(key(Age.MINUTE, "in 1 min", "1 min"), 7, needed=True),
            Field(key(Age.EARLIER, "earlier"), 6, needed=True),
        ]
    when = datetime.fromtimestamp(view.marked_at, timezone.utc).strftime("%H:%M:%SZ")
    return [
        Field(key(Age.SECONDS, f"since the mark at {when}", f"since {when}"), 8, needed=True),
        Field(key(Age.EARLIER, "before it"), 6, needed=True),
    ]


def _join(parts: Sequence[Sequence[Run]], p: Palette, gap: str = "   ") -> list[Run]:
    runs: list[Run] = [(" ", p.text)]
    for i, part in enumerate(parts):
        runs += [(gap, p.text), *part] if i else part
    return runs
