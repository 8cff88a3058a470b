"""Keys of the list of processes: which one is selected, open it, go back to the list."""

from __future__ import annotations

from textual import on

from memtop.ui.screens.page import Page
from memtop.ui.widgets.process_table import ProcessTable


class ProcessActions(Page):
    """The selected process is the one that header, map and actions are about."""

    def action_open_process(self) -> None:
        """Opens the selected process: its mappings in place of the list."""
        if self.processes.chosen is not None:
            self.show_list(False)

    def action_list(self) -> None:
        """Goes back to the list of all processes."""
        if len(self.views) > 1:
            self.show_list(True)

    def action_process(self, step: int) -> None:
        """Shows another process; in the list it selects the next row."""
        if self.listing:
            self.choose_row(self.processes.row + step)
            return
        keys = list(self.views)
        self.switch(keys[(keys.index(self.view.key) + step) % len(keys)])

    def choose_row(self, row: int) -> None:
        """Selects the process that stands in this row now."""
        view = self.processes.view_in(row)
        if view is not None and view is not self.view:
            self.switch(view.key)

    @on(ProcessTable.Chosen)
    def _process_chosen(self, message: ProcessTable.Chosen) -> None:
        if self.prompt.question is not None:
            return
        if message.key == self.view.key:
            self.action_open_process()
        else:
            self.switch(message.key)
