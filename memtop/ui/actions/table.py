"""Keys of the table: select, sort, another process."""

from __future__ import annotations

from textual import on

from memtop.ui.actions.processes import ProcessActions
from memtop.ui.widgets.column_heads import ColumnHeads
from memtop.ui.widgets.mapping_table import MappingTable, next_column
from memtop.ui.widgets.process_table import ProcessTable
from memtop.ui.widgets.strip import ProcessStrip


class TableActions(ProcessActions):
    """Selection and order."""

    def action_move(self, rows: int) -> None:
        """Selects the mapping above or below."""
        if self.listing:
            self.choose_row(self.processes.row + rows)
        else:
            self.table.move(rows)

    def action_page(self, pages: int) -> None:
        """Moves the selection by a page."""
        rows = self.processes.rows_shown if self.listing else self.table.rows_shown
        self.action_move(pages * max(rows - 1, 1))

    def action_edge(self, which: int) -> None:
        """Selects the first or the last mapping."""
        if self.listing:
            self.choose_row(0 if which < 0 else self.processes.last_row)
        else:
            self.table.select_row(0 if which < 0 else self.table.last_row)

    def action_sort(self, step: int) -> None:
        """Sorts by the column beside."""
        if self.listing:
            self.processes.sort_by_next(step)
        else:
            self.table.sort_by(next_column(self.table.layout_now, self.table.sort, step), False)
        self.show()

    def action_reverse(self) -> None:
        """Reverses the order."""
        if self.listing:
            self.processes.reverse = not self.processes.reverse
        else:
            self.table.sort_by(self.table.sort, not self.table.reverse)
        self.show()

    @on(MappingTable.Selected)
    def _selection_moved(self) -> None:
        self.show_selected()

    @on(ColumnHeads.Clicked)
    def _head_clicked(self, message: ColumnHeads.Clicked) -> None:
        same = message.column is self.table.sort
        self.table.sort_by(message.column, not self.table.reverse if same else False)
        self.show()

    @on(ProcessTable.Sorted)
    def _list_sorted(self) -> None:
        self.show()

    @on(ProcessStrip.Clicked)
    def _process_clicked(self, message: ProcessStrip.Clicked) -> None:
        self.switch(message.key)
