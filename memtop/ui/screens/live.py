"""The live screen: the page and what its keys do."""

from __future__ import annotations

from memtop.ui.actions.clock import ClockActions
from memtop.ui.actions.pane import PaneActions
from memtop.ui.actions.rows import RowActions
from memtop.ui.actions.table import TableActions
from memtop.ui.actions.target import TargetActions
from memtop.ui.keymap import ACTIONS, bindings
from memtop.ui.screens.help import HelpScreen


class LiveScreen(TableActions, RowActions, PaneActions, ClockActions, TargetActions):
    """Shows one process at a time and turns keys into requests to the source."""

    BINDINGS = bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key does what its table says for whoever has the keys, and nothing else."""
        return action in ACTIONS[self.mode]

    def action_screenshot(self) -> None:
        """Saves the picture as it is, without the message about it."""
        self.forget()
        self.call_after_refresh(self._save_picture)

    def _save_picture(self) -> None:
        text, severity = self.app.save_picture(self.view)
        self.say(text, severity)

    def action_help(self) -> None:
        """Opens the help page."""
        self.app.push_screen(HelpScreen(self.look, self.view))

    def action_suspend(self) -> None:
        """Gives the terminal back until the shell's ``fg``."""
        self.app.action_suspend_process()

    def action_leave(self, code: int) -> None:
        """Ends memtop; the source gives back what it armed."""
        self.app.leave(code)
