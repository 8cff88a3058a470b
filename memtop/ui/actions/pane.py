"""Keys of the pane below the table: which one stands there, its cursor, its zoom."""

from __future__ import annotations

from textual import on

from memtop.ui.actions.peek import PeekActions
from memtop.ui.keymap import keyed
from memtop.ui.widgets.hex import HexPane
from memtop.ui.widgets.pane import Pane
from memtop.ui.widgets.write_map import WriteMap


class PaneActions(PeekActions):
    """``Enter`` gives the keys to the pane, ``Esc`` takes them back."""

    def action_enter_pane(self) -> None:
        """Opens or closes a group; in a mapping, the arrows move the pane's cursor from now on."""
        if self.table.toggle_group():
            self.show()
        elif self.pane.takes_keys():
            self.pane.has_keys = True
            self.show()
            self.look_at_cell()

    def action_leave_pane(self) -> None:
        """Forgets the marked range; then back to the pane of before, and from the first one to the table."""
        over = self.pane.over
        if over is None and self.view.marked_range is not None:
            self.view.range = None
            self.show()
        elif over is None:
            self.pane.has_keys = False
            self.show()
        else:
            self.open_pane(over)
            self.pane.has_keys = True

    def action_mark_range(self) -> None:
        """Begins to mark pages in the map, or ends it."""
        if not isinstance(self.pane, WriteMap):
            self.say(keyed("a range is marked in the write map ({timeline}, or {leave_pane}, leads there)"))
        elif not self.pane.mark_range():
            self.say("a range is marked within one mapping: ] goes into it")
        else:
            self.pane.has_keys = True
            self._moved()
            self.show()

    def action_cursor(self, columns: int, rows: int) -> None:
        """Moves the cursor in the pane."""
        if columns and isinstance(self.pane, HexPane):
            self.beside(columns)
        else:
            self.pane.move_cursor(columns, rows)
        self._moved()

    def action_cursor_page(self, pages: int) -> None:
        """Moves the cursor by whole pages."""
        self.pane.page_cursor(pages)
        self._moved()

    def action_cursor_edge(self, which: int) -> None:
        """Moves the cursor to the beginning or the end."""
        self.pane.edge_cursor(which)
        self._moved()

    def action_zoom(self, step: int) -> None:
        """Finer or coarser cells."""
        self.pane.zoom(step)
        self._moved()

    def _moved(self) -> None:
        """Draws; the pane may have chosen another mapping."""
        self.table.follow(self.view)
        self.show_selected()
        self.look_at_cell()

    @on(Pane.Touched)
    def _touched(self, message: Pane.Touched) -> None:
        if self.prompt.question is not None:
            return
        if message.enter and not self.pane.has_keys:
            self.pane.has_keys = True
            self.show()
        self._moved()
