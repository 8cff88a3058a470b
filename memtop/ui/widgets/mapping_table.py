"""The mapping table: rows are built only for what is on screen, the order comes from packed columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from memtop.model.sample import Sample
from memtop.sampler.past import MOST
from memtop.sampler.source import Key
from memtop.ui import packed
from memtop.ui.ages import row_cells
from memtop.ui.columns import (
    COLUMNS,
    EVERY,
    MARKED,
    NAME,
    RESIDENT,
    ROOMY,
    SIZE,
    TREND,
    WIDE_COLUMNS,
    ZERO,
    Column,
    Layout,
)
from memtop.ui.glyphs import CELLS
from memtop.ui.lines import Run, line
from memtop.ui.rates import TREND as TREND_SAMPLES
from memtop.ui.row_filter import RowFilter
from memtop.ui.row_runs import Drawing, gone_runs, group_runs, mapping_runs
from memtop.ui.rows import Grouping, Rows
from memtop.ui.settings import Settings
from memtop.ui.state import ProcessView
from memtop.ui.theme import Look, Palette
from memtop.ui.widgets.drawn import Drawn
from memtop.ui.zeros import EARLIER

_SAME = re.compile(rb"(.)\1*", re.DOTALL)
"""Cells next to each other that are alike."""


def cell_runs(cells: bytes, p: Palette) -> list[Run]:
    """Cells of a map as runs of one age each."""
    return [
        (CELLS[age] * (same.end() - same.start()), p.ages[age])
        for same in _SAME.finditer(cells)
        for age in same[1]
    ]


class MappingTable(Drawn, ScrollView, can_focus=True):
    """All mappings of one process; the selection follows the mapping's id."""

    class Selected(Message):
        """Another mapping was selected."""

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.sort = RESIDENT
        self.reverse = False
        self.filter: RowFilter | None = None
        self.grouping = Grouping.NONE
        self.columns: tuple[Column, ...] = COLUMNS
        self._chosen_sort = False
        self._every: dict[Key, Rows] = {}
        self._rows = Rows()
        self._group: str | None = None
        self._hidden: int | None = None
        self._was_back = False
        self._view: ProcessView | None = None
        self._sample: Sample | None = None
        self._cache: dict[object, tuple[object, Strip]] = {}
        self._drawn: int | None = None

    def settle(self, settings: Settings) -> None:
        """Columns, order and grouping as the user has them."""
        if settings.columns is not None:
            self.columns = tuple(c for c in EVERY if c in settings.columns or c is NAME)
        if settings.sort is not None:
            self.sort, self._chosen_sort = settings.sort, True
        self.reverse = bool(settings.reverse)
        self.grouping = settings.grouping or Grouping.NONE

    # ---- what is shown ---------------------------------------------------------------------------

    @property
    def columns_now(self) -> tuple[Column, ...]:
        """Those that were chosen, or else what suits the width."""
        roomy = self.columns is COLUMNS and self.size.width >= ROOMY
        return WIDE_COLUMNS if roomy else self.columns

    @property
    def layout_now(self) -> Layout:
        """The columns that this width has room for."""
        marked = self._view is not None and self._view.mark is not None
        columns = [c for c in EVERY if c in self.columns_now or (c is MARKED and marked)]
        mapped = self.grouping is Grouping.NONE or any(group.open for group in self._rows.groups)
        return Layout.of(max(self.scrollable_content_region.width - 2, 0), columns, mapped=mapped)

    @property
    def filtered(self) -> str:
        """How many rows the filter has left, and which it is; empty: there is none."""
        return "" if self.filter is None else f"{self.matched} · {self.filter.text}"

    @property
    def matched(self) -> str:
        """How many mappings of how many pass the filter."""
        return f"{self._rows.matched} of {0 if self._sample is None else len(self._sample.table)}"

    def show(self, view: ProcessView) -> None:
        """Shows the sample of a process that is looked at: the newest, or an earlier one."""
        follow = view is not self._view or self._in_sight(self._at)
        if view is not self._view or view.sample is not self._sample:
            before = self._at if view is self._view else 0
            if view is not self._view:
                self._group = self._hidden = None
            self._view, self._sample = view, view.sample
            back = view.back is not None
            jumped, self._was_back = back or self._was_back, back
            self._rows = self._every.setdefault(view.key, Rows())
            if view.sample is not None:
                if not self._chosen_sort and view.sample.totals.huge is None:
                    self.sort = SIZE  # what is resident can't be read here
                self._rows.take(view.sample, view.recent(TREND_SAMPLES), anew=jumped)
            self._sort()
            self._keep_selection(before)
        if follow:
            self._scroll_into_sight()
        self._draw()

    def sort_by(self, column: Column, reverse: bool) -> None:
        """Another order; the selection stays on its mapping."""
        self.sort, self.reverse, self._chosen_sort = column, reverse, True
        self.rearrange()

    def rearrange(self) -> None:
        """After another order, filter, grouping or set of columns; the selection stays on its mapping."""
        before, self._hidden = self._at, None
        self._sort()
        if self._view is not None:
            self._keep_selection(before)
        self._scroll_into_sight()
        self._draw()

    def _sort(self) -> None:
        self._rows.arrange(
            self.sort,
            self.reverse,
            only=self.filter,
            grouping=self.grouping,
            marked=self._marked,
            earlier=self._earlier,
        )
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._rows.lines))

    @property
    def _marked(self) -> Sequence[int] | None:
        return None if self._view is None else self._view.since_mark()

    @property
    def _earlier(self) -> Sequence[Sample]:
        """The samples that know how many zero pages there are, where that is shown or asked for."""
        asked = self.filter is not None and self.filter.asks_for_zeros
        if self._view is None or not (asked or self.sort is ZERO or ZERO in self.columns_now):
            return ()
        return self._view.recent(MOST)

    def zeros_of(self, mapping: int | None) -> float | None:
        """When the zero pages were counted that are shown of this mapping, if by an earlier sample."""
        picture = self._rows.picture
        index = None if picture is None or mapping is None else picture.table.index_of(mapping)
        if picture is None or index is None or not picture.mappings[index].flags & EARLIER:
            return None
        return self._rows.zeros_of if ZERO in self.columns_now else None

    def _keep_selection(self, row_before: int) -> None:
        """A mapping that is gone, or not shown, hands the selection to the one in its place.

        One that was chosen in the map stays, even where a filter hides it.
        """
        view, rows, sample = self._view, self._rows, self._sample
        assert view is not None
        hidden = self._hidden if self._hidden == view.selected else None
        if hidden is not None and sample is not None and sample.table.index_of(hidden) is not None:
            return
        if self._group is not None and not any(group.name == self._group for group in rows.groups):
            self._group = None
        if sample is None or not rows.lines:
            view.selected = None
        elif view.selected is None or self._at < 0:
            row = self._nearest(row_before, 1)
            view.selected = None if row is None else rows.mapping_in(row)
            self._group = None
        if self._group is None and self.grouping is not Grouping.NONE and (group := rows.group_in(self._at)):
            self._group = group.name

    def _nearest(self, row: int, step: int) -> int | None:
        """This row, or the next one in a direction (else in the other) that can be selected."""
        rows = self._rows
        row = min(max(row, 0), len(rows.lines) - 1)
        ways = range(row, len(rows.lines)), range(row, -1, -1)
        for way in ways if step >= 0 else reversed(ways):
            for at in way:
                if rows.mapping_in(at) is not None:
                    return at
        return None

    @property
    def _at(self) -> int:
        """Row of the selected mapping or group, -1 if there is none."""
        if self._view is None or self._view.selected is None:
            return -1
        return self._rows.row_of(self._view.selected, self._group)

    def select_mapping(self, mapping: int | None) -> None:
        """Selects a mapping, if it is there."""
        row = -1 if mapping is None else self._rows.row_of(mapping)
        if row >= 0:
            self.select_row(row)

    def toggle_group(self) -> bool:
        """Opens or closes the selected group; False: it is a mapping that is selected."""
        if self._group is None:
            return False
        self._rows.opened ^= {self._group}
        self.rearrange()
        return True

    def find(self, text: str, start: int, step: int = 1) -> tuple[int, int]:
        """The next row from ``start`` on whose name, address or kind contains a text, in any case.

        Returns:
            The row, -1 if there is none; and how many there are.
        """
        found = self._rows.find(text)
        if not found:
            return -1, 0
        count = len(self._rows.lines)
        return min(found, key=lambda row: (row - start) * step % count), len(found)

    @property
    def row(self) -> int:
        """The selected row, -1: there is none."""
        return self._at

    @property
    def last_row(self) -> int:
        """The row at the bottom of all."""
        return len(self._rows.lines) - 1

    # ---- moving ------------------------------------------------------------------------------------

    def move(self, rows: int) -> None:
        """Moves the selection by so many rows; it stops at both ends."""
        self.select_row(self._at + rows)

    def select_row(self, row: int) -> None:
        """Selects the mapping that stands in this row now."""
        if self._view is None or self._sample is None or not self._rows.lines:
            return
        nearest = self._nearest(row, row - self._at)
        if nearest is None:
            return
        group = self._rows.group_in(nearest)
        chosen = self._rows.mapping_in(nearest)
        changed, self._view.selected = chosen != self._view.selected, chosen
        self._group = None if group is None else group.name
        self._hidden = None
        self._scroll_into_sight()
        self._draw()
        if changed:
            self.post_message(self.Selected())

    def follow(self, view: ProcessView) -> None:
        """Shows the selection that something else has changed: the mapping, or the closed group it is in."""
        if view is self._view and view.selected != self._drawn:
            self._group = None
            group = self._rows.group_in(self._at)
            self._group = None if group is None else group.name
            self._hidden = view.selected if self._at < 0 else None
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
        if not self.asked and event.y + self.scroll_offset.y < len(self._rows.lines):
            self.select_row(event.y + self.scroll_offset.y)

    # ---- drawing -----------------------------------------------------------------------------------

    def _draw(self) -> None:
        view, sample = self._view, self._rows.picture
        if view is None or sample is None:
            self.draw([])
            return
        self._drawn = view.selected
        layout, top, rows = self.layout_now, self.scroll_offset.y, self.rows_shown
        before, self._cache = self._cache, {}
        at, marked, width = self._at, self._marked, self.scrollable_content_region.width
        with view.lock:
            strips = [
                self._strip(view, sample, row, row == at, layout, width, before, marked)
                for row in range(top, min(top + rows, len(self._rows.lines)))
            ]
        self.draw(strips)

    def _strip(
        self,
        view: ProcessView,
        sample: Sample,
        row: int,
        chosen: bool,
        layout: Layout,
        width: int,
        before: dict[object, tuple[object, Strip]],
        marked: Sequence[int] | None,
    ) -> Strip:
        """One row, drawn again only if it says something else than before."""
        index, rows = self._rows.lines[row], self._rows
        how = Drawing(
            layout, self.look.palette, view.tracking, chosen, view.mark is not None and view.mark.gap
        )
        cells, since, trend = b"", None, ""
        if index < 0:
            group = rows.groups[~index]
            name: object = group.name
            says: tuple[object, ...] = (
                *(group.row, group.open, group.whole),
                *(len(group.members), group.since_mark),
            )
        elif index >= len(sample.table):
            gone = rows.gone[index - len(sample.table)].row
            name, says = ("gone", gone.mapping.id), ()
        else:
            mapping = sample.table[index]
            resident_map, age = packed.resident_map(sample, index), view.ages.of(mapping)
            cells = row_cells(mapping, resident_map, age, sample.time, layout.map_width, view.marked_at)
            since = None if marked is None else marked[index]
            if TREND in self.columns_now:
                trend = rows.rates.sparkline(mapping.id)
            name, says = mapping.id, (packed.row(sample, index), cells, since, trend)
        drawn = before.get(name)
        if drawn is None or drawn[0] != (says, how, width):
            if index < 0:
                runs = group_runs(group, how)
            elif index >= len(sample.table):
                runs = gone_runs(gone, how)
            else:
                mapped = mapping_runs(sample.mappings[index], how, since, trend)
                runs = [*mapped, *cell_runs(cells, self.look.palette)]
            layer = self.look.palette.selected if chosen else None
            drawn = (says, how, width), line(self.look, runs, width, layer)
        self._cache[name] = drawn
        return drawn[1]


def next_column(layout: Layout, now: Column, step: int) -> Column:
    """The column beside the one that sorts, among those on screen."""
    columns = [column for column, _ in layout.columns] or list(COLUMNS)
    at = columns.index(now) if now in columns else 0
    return columns[(at + step) % len(columns)]
