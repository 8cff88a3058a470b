"""The mapping table: rows are built only for what is on screen, the order comes from packed columns."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from memtop.model.sample import MappingSample, Sample
from memtop.model.units import DASH
from memtop.ui import packed
from memtop.ui.ages import row_cells
from memtop.ui.columns import (
    COLUMNS,
    MARKED,
    NAME,
    RESIDENT,
    WITH_MARK,
    WRITTEN,
    Column,
    Layout,
    marked_runs,
    name_runs,
    order,
    written_runs,
)
from memtop.ui.glyphs import CELLS, SELECTED
from memtop.ui.lines import Run, fill, line
from memtop.ui.state import ProcessView
from memtop.ui.theme import Look, Palette
from memtop.ui.widgets.drawn import Drawn


def cell_runs(cells: bytes, p: Palette) -> list[Run]:
    """Cells of a map as runs of one age each."""
    runs: list[Run] = []
    start = 0
    for i in range(1, len(cells) + 1):
        if i == len(cells) or cells[i] != cells[start]:
            runs.append((CELLS[cells[start]] * (i - start), p.ages[cells[start]]))
            start = i
    return runs


class ColumnHeads(Drawn):
    """The line above the table; a click sorts."""

    class Clicked(Message):
        """A column's head was clicked."""

        def __init__(self, column: Column) -> None:
            super().__init__()
            self.column = column

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self._spans: list[tuple[int, int, Column]] = []

    def show(self, layout: Layout, sort: Column, reverse: bool) -> None:
        """Draws the heads; the one that sorts carries an arrow."""
        p = self.look.palette
        runs: list[Run] = [("  ", p.dim)]
        x = 2
        self._spans = []
        for column, width in layout.columns:
            text = column.head
            if column is sort:
                text += "▼" if column.descending ^ reverse else "▲"
            style = p.strong if column is sort else p.dim
            # The last cell of WRITTEN/S belongs to its mark.
            mark = " " if column in (WRITTEN, MARKED) and len(text) < width else ""
            runs.append((fill(text, width - len(mark), right=column.right) + mark, style))
            runs.append((" " * layout.gap, p.dim))
            self._spans.append((x, x + width, column))
            x += width + layout.gap
        runs.append((fill("MAP", layout.map_width), p.dim))
        self.draw_runs([runs])

    def on_click(self, event: events.Click) -> None:
        """Sorts by the column under the pointer."""
        for first, end, column in self._spans:
            if first <= event.x < end:
                self.post_message(self.Clicked(column))


class MappingTable(Drawn, ScrollView, can_focus=True):
    """All mappings of one process; the selection follows the mapping's id."""

    class Selected(Message):
        """Another mapping was selected."""

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.sort = RESIDENT
        self.reverse = False
        self._view: ProcessView | None = None
        self._sample: Sample | None = None
        self._order: list[int] = []
        self._cache: dict[int, tuple[object, Strip]] = {}
        self._drawn: int | None = None

    # ---- what is shown ---------------------------------------------------------------------------

    @property
    def layout_now(self) -> Layout:
        """The columns that this width has room for."""
        marked = self._view is not None and self._view.mark is not None
        columns = WITH_MARK if marked else COLUMNS
        return Layout.of(max(self.scrollable_content_region.width - 2, 0), columns)

    def show(self, view: ProcessView) -> None:
        """Shows the newest sample of a process."""
        follow = view is not self._view or self._in_sight(self._at)
        if view is not self._view or view.sample is not self._sample:
            before = self._at if view is self._view else 0
            self._view, self._sample = view, view.sample
            self._sort()
            self._keep_selection(before)
        if follow:
            self._scroll_into_sight()
        self._draw()

    def sort_by(self, column: Column, reverse: bool) -> None:
        """Another order; the selection stays on its mapping."""
        self.sort, self.reverse = column, reverse
        self._sort()
        self._scroll_into_sight()
        self._draw()

    def _sort(self) -> None:
        sample = self._sample
        self._order = [] if sample is None else order(sample, self.sort, self.reverse, self._marked)
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._order))

    @property
    def _marked(self) -> Sequence[int] | None:
        return None if self._view is None else self._view.since_mark()

    def _keep_selection(self, row_before: int) -> None:
        """A mapping that is gone hands the selection to the one in its place."""
        view = self._view
        assert view is not None
        if self._sample is None or not self._order:
            view.selected = None
        elif view.selected is None or self._sample.table.index_of(view.selected) is None:
            row = min(max(row_before, 0), len(self._order) - 1)
            view.selected = self._sample.table.ids[self._order[row]]

    @property
    def _at(self) -> int:
        """Row of the selected mapping, -1 if there is none."""
        if self._view is None or self._sample is None or self._view.selected is None:
            return -1
        index = self._sample.table.index_of(self._view.selected)
        return -1 if index is None else self._order.index(index)

    # ---- moving ------------------------------------------------------------------------------------

    def move(self, rows: int) -> None:
        """Moves the selection by so many rows; it stops at both ends."""
        self.select_row(self._at + rows)

    def select_row(self, row: int) -> None:
        """Selects the mapping that stands in this row now."""
        if self._view is None or self._sample is None or not self._order:
            return
        row = min(max(row, 0), len(self._order) - 1)
        chosen = self._sample.table.ids[self._order[row]]
        changed, self._view.selected = chosen != self._view.selected, chosen
        self._scroll_into_sight()
        self._draw()
        if changed:
            self.post_message(self.Selected())

    def follow(self, view: ProcessView) -> None:
        """Shows the selection that something else has changed."""
        if view is self._view and view.selected != self._drawn:
            self._scroll_into_sight()
            self._draw()

    @property
    def rows_shown(self) -> int:
        """Rows that fit."""
        return self.scrollable_content_region.height

    def _in_sight(self, row: int) -> bool:
        return self.scroll_offset.y <= row < self.scroll_offset.y + self.rows_shown

    def _scroll_into_sight(self) -> None:
        row, top = self._at, self.scroll_offset.y
        if row < 0 or self._in_sight(row) or not self.rows_shown:
            return
        self.scroll_to(y=row if row < top else row - self.rows_shown + 1, animate=False, immediate=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows come into sight."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._draw()

    def on_resize(self) -> None:
        """Other columns, other rows."""
        self._scroll_into_sight()
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """Selects the row under the pointer."""
        if event.y + self.scroll_offset.y < len(self._order):
            self.select_row(event.y + self.scroll_offset.y)

    # ---- drawing -----------------------------------------------------------------------------------

    def _draw(self) -> None:
        view, sample = self._view, self._sample
        if view is None or sample is None:
            self.draw([])
            return
        self._drawn = view.selected
        layout, top, rows = self.layout_now, self.scroll_offset.y, self.rows_shown
        before, self._cache = self._cache, {}
        width = self.scrollable_content_region.width
        marked = self._marked
        strips = []
        with view.lock:
            for index in self._order[top : top + rows]:
                mapping = sample.table[index]
                resident_map = packed.resident_map(sample, index)
                age = view.ages.of(mapping)
                cells = row_cells(mapping, resident_map, age, sample.time, layout.map_width, view.marked_at)
                chosen = mapping.id == view.selected
                since = None if marked is None else marked[index]
                says = (packed.row(sample, index), cells, chosen, layout, width, view.tracking, since)
                drawn = before.get(mapping.id)
                if drawn is None or drawn[0] != says:
                    runs = self._row(view, sample.mappings[index], layout, cells, chosen, since)
                    layer = self.look.palette.selected if chosen else None
                    drawn = says, line(self.look, runs, width, layer)
                self._cache[mapping.id] = drawn
                strips.append(drawn[1])
        self.draw(strips)

    def _row(
        self,
        view: ProcessView,
        m: MappingSample,
        layout: Layout,
        cells: bytes,
        chosen: bool,
        since_mark: int | None,
    ) -> list[Run]:
        p = self.look.palette
        runs: list[Run] = [(f"{SELECTED} " if chosen else "  ", p.accent)]
        for column, width in layout.columns:
            if column is WRITTEN:
                runs += written_runs(m, width, view.tracking, p)
            elif column is MARKED:
                if since_mark is None:
                    runs.append((fill(DASH, width - 1, right=True) + " ", p.faint))
                else:
                    gap = view.mark is not None and view.mark.gap
                    runs += marked_runs(m, since_mark, width, gap, p)
            elif column is NAME:
                runs += name_runs(m, width, p)
            elif column.cell is not None:
                runs += column.cell(m, width, p)
            runs.append((" " * layout.gap, p.text))
        return [*runs, *cell_runs(cells, p)]


def next_column(layout: Layout, now: Column, step: int) -> Column:
    """The column beside the one that sorts, among those on screen."""
    columns = [column for column, _ in layout.columns] or list(COLUMNS)
    at = columns.index(now) if now in columns else 0
    return columns[(at + step) % len(columns)]
