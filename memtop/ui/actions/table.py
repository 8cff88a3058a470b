"""Keys of the table: select, sort, another process."""

from __future__ import annotations

from textual import on

from memtop.ui.screens.page import Page
from memtop.ui.widgets.column_heads import ColumnHeads
from memtop.ui.widgets.mapping_table import MappingTable, next_column
from memtop.ui.widgets.strip import ProcessStrip


class TableActions(Page):
    """Selection and order."""

    def action_move(self, rows: int) -> None:
        """Selects the mapping above or below."""
        self.table.move(rows)

    def action_page(self, pages: int) -> None:
        """Moves the selection by a page."""
        self.table.move(pages * max(self.table.rows_shown - 1, 1))

    def action_edge(self, which: int) -> None:
        """Selects the first or the last mapping."""
        self.table.select_row(0 if which < 0 else self.table.last_row)

    def action_sort(self, step: int) -> None:
        """Sorts by the column beside."""
        self.table.sort_by(next_column(self.table.layout_now, self.table.sort, step), False)
        self.show()

    def action_reverse(self) -> None:
        """Reverses the order."""
        self.table.sort_by(self.table.sort, not self.table.reverse)
        self.show()

    def action_process(self, step: int) -> None:
        """Shows another process."""
        keys = list(self.views)
        self.switch(keys[(keys.index(self.view.key) + step) % len(keys)])

    @on(MappingTable.Selected)
    def _selection_moved(self) -> None:
        self.show_selected()

    @on(ColumnHeads.Clicked)
    def _head_clicked(self, message: ColumnHeads.Clicked) -> None:
        same = message.column is self.table.sort
        self.table.sort_by(message.column, not self.table.reverse if same else False)
        self.show()

    @on(ProcessStrip.Clicked)
    def _process_clicked(self, message: ProcessStrip.Clicked) -> None:
        self.switch(message.key)
