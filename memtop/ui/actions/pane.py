"""Keys of the pane below the table: which one stands there, its cursor, its zoom."""

from __future__ import annotations

from memtop.ui.screens.page import Page


class PaneActions(Page):
    """``Enter`` gives the keys to the pane, ``Esc`` takes them back."""

    def action_enter_pane(self) -> None:
        """The arrows move the pane's cursor from now on."""
        if self.pane.takes_keys():
            self.pane.has_keys = True
            self.show()

    def action_leave_pane(self) -> None:
        """The arrows select mappings again."""
        self.pane.has_keys = False
        self.show()

    def action_cursor(self, columns: int, rows: int) -> None:
        """Moves the cursor in the pane."""
        self.pane.move_cursor(columns, rows)
        self.show_selected()

    def action_cursor_page(self, pages: int) -> None:
        """Moves the cursor by whole pages."""
        self.pane.page_cursor(pages)
        self.show_selected()

    def action_zoom(self, step: int) -> None:
        """Finer or coarser cells."""
        self.pane.zoom(step)
        self.show_selected()
