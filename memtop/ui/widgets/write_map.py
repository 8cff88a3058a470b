"""The large map: how long ago each cell was written, from the whole address space to one page a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual import events

from memtop.model.layout import PAGE
from memtop.model.peek import Peek
from memtop.model.sample import MappingSample, Sample
from memtop.model.units import clock, count, size
from memtop.sampler.history import AgeMap
from memtop.ui.ages import BITS, Grid, grid_cells
from memtop.ui.lens import Lens
from memtop.ui.lines import Run, cut, width_of
from memtop.ui.space import Space
from memtop.ui.state import MarkedRange, ProcessView
from memtop.ui.theme import Look
from memtop.ui.viewport import Viewport
from memtop.ui.widgets.map_lines import (
    flags_text,
    legend_runs,
    page_of,
    row_runs,
    title_runs,
    written_text,
)
from memtop.ui.widgets.pane import Pane, Wanted
from memtop.ui.widgets.space_lines import space_legend, space_rows, space_title

LABEL = 12
"""Hexadecimal digits of an address label; longer addresses take what they need."""

COLUMN_STEP = 16
"""Columns come in multiples of it, so that the labels are round addresses."""


class WriteMap(Pane):
    """A title, the cells with an address at the head of each line, a legend."""

    title = "write map"
    does = frozenset({"peek", "read_again", "mark_range", "zoom(1)"})

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self.port = Viewport()
        self.grid: Grid | None = None
        self._view: ProcessView | None = None
        self._label = LABEL
        self._looked: tuple[tuple[int, int], Peek] | None = None
        self._lens_of: tuple[object, int] | None = None
        self._space: Space | None = None
        self._earlier: tuple[Sample, Space] | None = None

    # ---- drawing -----------------------------------------------------------------------------------

    def show(self, view: ProcessView) -> Wanted | None:
        """Draws the selected mapping, or the whole address space with it."""
        m = selected(view)
        if view is not self._view:
            self._looked = None
        self.grid, self._view = None, view
        if m is None or view.sample is None or not self.size.width:
            self.draw_runs([])
            return None
        self._label = max(LABEL, len(f"{m.mapping.end:x}"))
        self.port.look_at(view.key, m.mapping)
        if self.port.whole:
            self._show_space(view)
            return None
        self._space = None
        return self._show_mapping(view, m)

    @property
    def _rows(self) -> int:
        return max(self.size.height - (2 if self.size.height >= 5 else 1), 1)

    @property
    def _columns(self) -> int:
        return max((self.size.width - self._label - 3) // COLUMN_STEP, 1) * COLUMN_STEP

    def _show_mapping(self, view: ProcessView, m: MappingSample) -> Wanted:
        p, sample = self.look.palette, view.sample
        assert sample is not None
        with view.lock:
            age = view.ages.of(m.mapping)
            least = 1 if age is None else age.cell_pages
            grid = self.port.grid(m.mapping, self._columns, self._rows, least)
            zoomed = self.port.cell_pages is not None
            if view.back is None:
                view.lens = self._lens(view, m, grid) if zoomed else None
            ages = self._ages(view, m)
            cells = grid_cells(
                grid, m.mapping, m.resident_map, sample.watched, ages, sample.time, view.marked_at
            )
            said = [view.lens.says] if view.back is None and view.lens is not None else []
            if view.back is not None and least > grid.cell_pages:
                said = [f"ages by {count(least)} pages"]
            said = [each for each in said if each]
        coarse = -(-m.mapping.pages // BITS)
        if coarse > 1 and not grid.shown_by(sample.watched, m.mapping.id):
            said.insert(0, f"residency by {size(coarse * PAGE)}")
        width = self.size.width
        lines: list[Sequence[Run]] = [title_runs(m, grid, p, width, whole=not zoomed, said=said)]
        marked = view.marked_range
        at = (self.port.address - grid.first) // grid.cell_bytes if zoomed or self.has_keys else -1
        for row in range(self._rows):
            part = cells[row * grid.columns : (row + 1) * grid.columns]
            here = at - row * grid.columns
            cursor = here if 0 <= here < len(part) else None
            chosen = grid.cells_of(marked, row) if marked is not None else range(0)
            lines.append(row_runs(grid, row, part, self._label, p, cursor, chosen) if part else [])
        if self.size.height >= 5:
            lines.append(legend_runs(m, view, p, width))
        self.draw_runs(lines)
        self.grid = grid
        # Room rather than cells: a mapping that grows is not asked for anew at every tick.
        return view.key, m.mapping.id, grid.first, grid.cell_pages, grid.room

    def _ages(self, view: ProcessView, m: MappingSample) -> AgeMap | None:
        """The finest history of the sample shown: a lens knows the newest only; under the view's lock."""
        return view.lens.age if view.lens is not None and view.back is None else view.ages.of(m.mapping)

    def _lens(self, view: ProcessView, m: MappingSample, grid: Grid) -> Lens:
        """Ages as fine as the grid, from now on; under the view's lock."""
        low, high = grid.first, grid.first + grid.room * grid.cell_bytes
        high = min(high, -(-grid.end // grid.cell_bytes) * grid.cell_bytes)
        of = (view.key, m.mapping.id)
        old = view.lens if self._lens_of == of else None
        if old is not None and old.covers(low, high, grid.cell_pages):
            return old
        ages = view.ages.of(m.mapping)
        lens = Lens(ages, low, high, grid.start, grid.end, grid.cell_pages, view.newest_time)
        lens.take_over(old)
        self._lens_of = of
        return lens

    def _show_space(self, view: ProcessView) -> None:
        p, sample = self.look.palette, view.sample
        assert sample is not None
        with view.lock:
            space = self._space_of(view)
            cursor = space.index_at(self.port.address)
            lines: list[Sequence[Run]] = [space_title(space, p, self.size.width)]
            lines += space_rows(space, view, self._label, p, cursor)
            lines += [[]] * (self._rows + 1 - len(lines))
            if self.size.height >= 5:
                lines.append(space_legend(space, view, p, self.size.width))
        self.draw_runs(lines)

    def _space_of(self, view: ProcessView) -> Space:
        """The layout of the sample shown, the newest or an earlier one; under the view's lock."""
        sample, room = view.sample, (self._columns, self._rows)
        assert sample is not None
        if view.back is None:
            space = view.space
            if space is None or (space.columns, space.rows) != room:
                space = view.space = Space(*room)
                space.update(sample, view.ages)
        else:
            before, space = self._earlier if self._earlier is not None else (None, None)
            if space is None or before is not sample or (space.columns, space.rows) != room:
                space = Space(*room)
                space.update(sample, view.ages)
                self._earlier = sample, space
        self._space = space
        return space

    # ---- the cursor --------------------------------------------------------------------------------

    def takes_keys(self) -> bool:
        """There is something to point at."""
        return self._view is not None and selected(self._view) is not None

    def move_cursor(self, columns: int, rows: int) -> None:
        """By cells; in a window it scrolls at the edge."""
        if self.port.whole:
            self._move_in_space(columns, rows)
        elif self.grid is not None:
            self.port.move(columns + rows * self.grid.columns, self.grid)
            self._extend()

    def page_cursor(self, pages: int) -> None:
        """By all the rows on screen."""
        self.move_cursor(0, pages * self._rows)

    def edge_cursor(self, which: int) -> None:
        """To the first or the last cell."""
        if self.grid is not None:
            self.port.go(self.grid.start if which < 0 else self.grid.end - 1, self.grid)
            self._extend()
        elif self._space is not None:
            self._choose(0 if which < 0 else len(self._space.blocks) - 1)

    def zoom(self, step: int) -> None:
        """Finer or coarser cells around the cursor; around what was written last, before it was moved."""
        if not self.takes_keys():
            return
        if step > 0 and self.grid is not None and not self.port.placed:
            self._go_to_latest(self.grid)
        self.port.zoom(step)

    def _go_to_latest(self, grid: Grid) -> None:
        view = self._view
        m = selected(view) if view is not None else None
        if view is None or m is None:
            return
        with view.lock:
            age = view.ages.of(m.mapping)
            if age is not None and any(age.times):
                self.port.go((age.first + age.times.index(max(age.times))) * age.cell_bytes, grid)

    def _move_in_space(self, columns: int, rows: int) -> None:
        space = self._space
        if space is None or not space.blocks:
            return
        at = space.index_at(self.port.address)
        if rows:
            block = space.blocks[at]
            row = min(max(block.row + rows, 0), space.blocks[-1].row)
            self._choose(space.index_in(row, block.column))
        else:
            self._choose(min(max(at + columns, 0), len(space.blocks) - 1))

    def _choose(self, index: int) -> None:
        """Goes to a block and selects the mapping that it is made of."""
        space, view = self._space, self._view
        if space is None or view is None or index < 0:
            return
        block = space.blocks[index]
        chosen = space.table.ids[block.main]
        # The layout may be that of a sample that is not shown yet: what only that one has can't be selected.
        if view.sample is None or view.sample.table.index_of(chosen) is None:
            return
        start, end = space.table.range_of(block.main)
        self.port.address = min(max(block.start, start), end - PAGE)
        view.selected = chosen

    def on_click(self, event: events.Click) -> None:
        """Moves the cursor to the cell under the pointer."""
        if not self.asked and self._point(event.x, event.y):
            self._extend()
            self.post_message(self.Touched(enter=True))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Finer cells around the pointer."""
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Coarser cells."""
        self._wheel(event, -1)

    def mark_range(self) -> bool:
        """Begins a range at the cursor, or lets the one that is open stand; False: there is no cell here."""
        view, cell = self._view, self.cell()
        if view is None or view.selected is None or cell is None:
            return False
        if view.marked_range is not None and view.range is not None and view.range.open:
            view.range = replace(view.range, open=False)
        else:
            here = cell[0], cell[0] + cell[1] * PAGE
            view.range = MarkedRange(view.selected, here, here)
        return True

    def _extend(self) -> None:
        """The open end of the range goes along with the cursor."""
        view, cell = self._view, self.cell()
        if view is not None and cell is not None and view.marked_range is not None:
            assert view.range is not None
            if view.range.open:
                view.range = replace(view.range, last=(cell[0], cell[0] + cell[1] * PAGE))

    def _wheel(self, event: events.MouseEvent, step: int) -> None:
        event.stop()
        if self.asked:
            return
        if step > 0:
            self._point(event.x, event.y)
        self.zoom(step)
        self.post_message(self.Touched(enter=False))

    def _point(self, x: int, y: int) -> bool:
        row, column = y - 1, x - self._label - 3
        if not (0 <= row < self._rows and 0 <= column < self._columns):
            return False
        if self._space is not None:
            self._choose(self._space.index_in(row, column))
        elif self.grid is not None and row * self.grid.columns + column < self.grid.cells:
            self.port.go(self.grid.address(row * self.grid.columns + column), self.grid)
        else:
            return False
        return True

    # ---- what it stands on -------------------------------------------------------------------------

    def cell(self) -> tuple[int, int] | None:
        """The pages of the cell under the cursor."""
        grid = self.grid
        if grid is None:
            return None
        cell = (self.port.address - grid.first) // grid.cell_bytes
        start = grid.address(cell)
        return start, (min(grid.first + (cell + 1) * grid.cell_bytes, grid.end) - start) // PAGE

    def take(self, answer: Peek) -> None:
        """Shows the flags, as long as the cursor stays."""
        cell = self.cell()
        if cell is not None and answer.address == cell[0]:
            self._looked = cell, answer

    def about(self, view: ProcessView) -> Sequence[Run]:
        """Address, page, last write, flags; in the whole address space the mappings of the cell."""
        m, p, sample = selected(view), self.look.palette, view.sample
        if m is None or sample is None or not (self.has_keys or self.port.whole):
            return ()
        with view.lock:
            parts = self._about_block(view) if self.port.whole else self._about_cell(view, m)
        runs: list[Run] = [(f" {self.port.address:x}", p.strong)]
        for text in parts:
            if width_of(runs) + 3 + len(text) <= self.size.width:
                runs += [(" · ", p.faint), (text, p.text)]
        return runs

    def _about_cell(self, view: ProcessView, m: MappingSample) -> list[str]:
        sample, cell = view.sample, self.cell()
        assert sample is not None
        if cell is None:
            return []
        ages = self._ages(view, m)
        time = 0.0 if ages is None else ages.latest(cell[0], cell[1], 1)[0]
        parts = [page_of(m, self.port.address)]
        if (marked := view.marked_range) is not None:
            parts.insert(0, f"marked {marked[0]:x}–{marked[1]:x} = {size(marked[1] - marked[0])}")
        parts.append(written_text(time, sample.time, m.coverage.tracked))
        if self._looked is not None and self._looked[0] == cell:
            answer = self._looked[1]
            parts.append(flags_text(answer.flags) if answer.flags is not None else answer.why)
            parts.append(f"at {clock(answer.time)}")
        return parts

    def _about_block(self, view: ProcessView) -> list[str]:
        space, sample = self._space, view.sample
        if space is None or sample is None or not space.blocks:
            return []
        at = space.index_at(self.port.address)
        block = space.blocks[at]
        m = selected(view)
        assert m is not None
        what = f"{size(m.mapping.size)} {m.mapping.kind.label} {m.mapping.perms} {m.mapping.title}"
        shared = f"{block.mappings} mappings in this cell" if block.mappings > 1 else ""
        said = written_text(space.times[at], sample.time, view.tracking)
        return [part for part in (cut(what, max(self.size.width - 50, 20)), shared, said) if part]


def selected(view: ProcessView) -> MappingSample | None:
    """The selected mapping, in the sample that is shown."""
    if view.sample is None or view.selected is None:
        return None
    index = view.sample.table.index_of(view.selected)
    return None if index is None else view.sample.mappings[index]
