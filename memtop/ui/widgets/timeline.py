"""Address by time: how fast each part of a mapping, or each mapping, was written over the last minutes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from memtop.model.units import DASH, clock, rate, seconds, size
from memtop.sampler.past import Kept
from memtop.ui.ages import Age
from memtop.ui.columns import short_title
from memtop.ui.glyphs import CELLS, RULE
from memtop.ui.heat import LEVELS, STEPS, Heat, MappingRows, Pages, PartRows, heat, step_for
from memtop.ui.lines import Field, Run, cut_path, fill, fit, width_of
from memtop.ui.state import ProcessView
from memtop.ui.theme import Look, Palette
from memtop.ui.widgets.mapping_table import cell_runs
from memtop.ui.widgets.pane import Pane, Wanted
from memtop.ui.widgets.write_map import selected

LABEL, NAMED, WIDE_NAMED = 12, 20, 36
"""Cells of a row's label: an address, or a mapping's address and name (the name alone, where it has one)."""

AXIS_EVERY = 20
"""Columns from one time on the axis to the next."""


class Timeline(Pane):
    """A title, one line a row, an axis of clock times (UTC, as in the header)."""

    title = "timeline"
    does = frozenset({"zoom(1)"})

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self.whole_process = False
        self.heat: Heat | None = None
        self._zoom: float | None = None
        self._cursor: tuple[int, int] = (-1, 0)  # column from the right (-1: the newest), row
        self._rows: PartRows | MappingRows | None = None
        self._pages: dict[tuple[float, float], Pages] = {}
        self._rows_of: object = None
        self._again_at = 0.0

    def show(self, view: ProcessView) -> Wanted | None:
        """Draws what is kept of this process."""
        with view.lock:
            kept = list(view.past.kept)
        room = max(self.size.height - 2, 1)
        rows = self._choose(view, kept, room)
        if rows is None or not kept:
            self.heat = None
            self.draw_runs([])
            return None
        label = (WIDE_NAMED if self.size.width >= 100 else NAMED) if self.whole_process else LABEL
        columns = max(self.size.width - label - 3, 1)
        step = self._zoom or step_for(kept, columns)
        self.heat = heat(kept, self._counted(rows, kept), len(rows.labels), columns, step)
        self.move_cursor(0, 0)  # back into what is there now
        self._draw(view, rows, kept, label)
        return None

    def _choose(self, view: ProcessView, kept: Sequence[Kept], room: int) -> PartRows | MappingRows | None:
        rows: PartRows | MappingRows | None
        if self.whole_process:
            rows = self._most_written(view, kept, room)
        else:
            m = selected(view)
            rows = None if m is None else PartRows(m.mapping, room)
        if rows != self._rows:
            self._rows, self._pages = rows, {}
        return self._rows

    def _most_written(self, view: ProcessView, kept: Sequence[Kept], room: int) -> MappingRows:
        """Of thousands over ten minutes that takes long to find: it may take a tenth of the time."""
        began, of = time.monotonic(), (view.key, view.back is None, room)
        if isinstance(self._rows, MappingRows) and of == self._rows_of and began < self._again_at:
            return self._rows
        rows = MappingRows(kept, room)
        ended = time.monotonic()
        self._rows_of, self._again_at = of, ended + 10 * (ended - began)
        return rows

    def _counted(self, rows: PartRows | MappingRows, kept: Sequence[Kept]) -> list[Pages]:
        """Pages of every kept sample; each is counted once, as long as the rows stay the same."""

        def at(each: Kept) -> tuple[float, float]:
            return each.since, each.sample.time

        new = [each for each in kept if at(each) not in self._pages]
        self._pages.update(zip(map(at, new), rows.pages(new), strict=True))
        self._pages = {at(each): self._pages[at(each)] for each in kept}
        return list(self._pages.values())

    # ---- cursor and zoom -------------------------------------------------------------------------

    def takes_keys(self) -> bool:
        """There is something to point at."""
        return self.heat is not None

    def move_cursor(self, columns: int, rows: int) -> None:
        """Along the time axis, and from row to row."""
        if self.heat is not None:
            column, row = self._cursor
            most = len(self.heat.rates[0]) if self.heat.rates else 1
            column = min(max(column + columns, -most), -1)
            self._cursor = column, min(max(row + rows, 0), max(len(self.heat.rates) - 1, 0))

    def page_cursor(self, pages: int) -> None:
        """By one label of the axis."""
        self.move_cursor(pages * AXIS_EVERY, 0)

    def zoom(self, step: int) -> None:
        """Shorter columns with a step above 0, longer ones below; beyond the longest: as many as fit."""
        if self.heat is None:
            return
        at = STEPS.index(self.heat.step) - step
        self._zoom = STEPS[max(at, 0)] if at < len(STEPS) else None

    # ---- drawing ---------------------------------------------------------------------------------

    def _draw(
        self, view: ProcessView, rows: PartRows | MappingRows, kept: Sequence[Kept], label: int
    ) -> None:
        assert self.heat is not None
        p = self.look.palette
        cursor = self._at_cursor() if self.has_keys else None
        lines: list[Sequence[Run]] = [self._title(view, rows, p)]
        for row, text in enumerate(rows.labels):
            runs: list[Run] = [(" " + self._label(text, label) + "  ", p.dim)]
            cells = cell_runs(self.heat.cells(row), p)
            lines.append([*runs, *(_marked(cells, cursor[0], p) if cursor and cursor[1] == row else cells)])
        if not rows.labels:
            lines.append([(" nothing was seen written in this time", p.dim)])
        lines.append(self._axis(view, kept, label, p))
        self.draw_runs(lines)

    def _label(self, text: str, width: int) -> str:
        if not self.whole_process:
            return fill(text, width, right=True)
        address, _, name = text.partition(" ")
        if width == WIDE_NAMED:
            return f"{address} {fill(cut_path(name, width - len(address) - 1), width - len(address) - 1)}"
        return fill(text if name.startswith("[anon]") else cut_path(name, width), width)

    def _at_cursor(self) -> tuple[int, int]:
        assert self.heat is not None
        column, row = self._cursor
        return len(self.heat.rates[0]) + column if self.heat.rates else 0, row

    def _title(self, view: ProcessView, rows: PartRows | MappingRows, p: Palette) -> list[Run]:
        assert self.heat is not None
        width = self.size.width
        if self.has_keys and self.heat.rates:
            column, row = self._at_cursor()
            at = self.heat.rates[row][column]
            end = self.heat.first + (column + 1) * self.heat.step
            said = f" {_clock(end)} {DASH if at is None else rate(at)} "
            right: list[Run] = [(said, p.strong), (RULE * 2, p.faint)]
        else:
            right = [(f" one column {seconds(self.heat.step)} ", p.text), (RULE * 2, p.faint)]
        left: list[Run] = [(f"{RULE * 2} ", p.faint)]
        m = selected(view)
        if self.whole_process:
            left += [(f"{view.title}", p.strong), ("  mappings written most ", p.dim)]
        elif m is not None:
            row_bytes = rows.row_bytes
            left += [(f"{m.mapping.start:x} ", p.strong)]
            room = max(width - width_of(left) - width_of(right) - 22, 8)
            left += [
                (cut_path(short_title(m.mapping), room), p.strong),
                (f"  one row {size(row_bytes)} ", p.dim),
            ]
        room = width - width_of(left) - width_of(right) - 3
        shown = fit([Field(self._legends(p), 1)], room, 2)
        if shown:
            left += [(f"{RULE} ", p.faint), *shown[0], (" ", p.faint)]
        return [*left, (RULE * max(width - width_of(left) - width_of(right), 0), p.faint), *right]

    def _legends(self, p: Palette) -> tuple[Sequence[Run], ...]:
        assert self.heat is not None
        bounds = self.heat.bounds
        keys: list[Run] = []
        for level in reversed(range(len(LEVELS))):
            text = f" ≥{size(bounds[level - 1])}/s  " if level else " less  "
            keys += [(CELLS[LEVELS[level]], p.ages[LEVELS[level]]), (text, p.dim)]
        keys += [(CELLS[Age.RESIDENT], p.ages[Age.RESIDENT]), (" none", p.dim)]
        fastest, *slower = reversed(LEVELS)
        short: list[Run] = [(CELLS[fastest], p.ages[fastest]), (f" ≥{size(bounds[-1])}/s ", p.dim)]
        short += [(CELLS[level], p.ages[level]) for level in slower]
        return keys, [*short, (" ÷4", p.dim)], short[:2]

    def _axis(self, view: ProcessView, kept: Sequence[Kept], label: int, p: Palette) -> list[Run]:
        """Clock times below the columns that begin then; the moment that is shown has a mark."""
        assert self.heat is not None
        columns = self.size.width - label - 3
        text = [" "] * columns
        for column in range(columns % AXIS_EVERY, columns - 7, AXIS_EVERY):
            text[column : column + 9] = f"╵{_clock(self.heat.first + column * self.heat.step)}"
        runs: list[Run] = [(" " * (label + 3), p.dim), ("".join(text[:columns]), p.dim)]
        if view.back is not None:
            at = int((view.back.sample.time - self.heat.first) / self.heat.step - 1e-6)
            if 0 <= at < columns:
                line = "".join(text[:columns])
                runs = [runs[0], (line[:at], p.dim), ("▲", p.warn), (line[at + 1 :], p.dim)]
        return runs


def _marked(cells: list[Run], column: int, p: Palette) -> list[Run]:
    """The cell under the cursor in reverse."""
    runs: list[Run] = []
    at = 0
    for text, style in cells:
        if at <= column < at + len(text):
            here = column - at
            runs += [(text[:here], style), (text[here], p.cursor), (text[here + 1 :], style)]
        else:
            runs.append((text, style))
        at += len(text)
    return [run for run in runs if run[0]]


def _clock(when: float) -> str:
    """As on the axis, where there is no room for the zone."""
    return clock(when).removesuffix("Z")
