"""The live screen: the page and what its keys do."""

from __future__ import annotations

from collections.abc import Sequence

from textual.binding import BindingsMap

from memtop.model.names import clean_text
from memtop.sampler.source import Source
from memtop.ui.actions.clock import ClockActions
from memtop.ui.actions.dump import DumpActions
from memtop.ui.actions.rows import RowActions
from memtop.ui.actions.table import TableActions
from memtop.ui.keymap import ACTIONS, bindings, keyed
from memtop.ui.screens.help import HelpScreen
from memtop.ui.settings import Settings, SettingsError, save
from memtop.ui.state import ProcessView
from memtop.ui.theme import THEMES, Look, named


class LiveScreen(TableActions, RowActions, ClockActions, DumpActions):
    """Shows one process at a time and turns keys into requests to the source."""

    def __init__(self, look: Look, source: Source, views: Sequence[ProcessView]) -> None:
        super().__init__(look, source, views)
        self._bindings = BindingsMap(bindings())  # of the table as the user has it

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key does what its table says for whoever has the keys, and nothing else."""
        return action in ACTIONS[self.mode]

    def closes_help(self, key: str) -> bool:
        """Closes the help page, where it is open and this is not one of its keys.

        At once, so that what is typed right behind does not go to a page that is gone.
        """
        page = self.app.screen
        if not isinstance(page, HelpScreen) or page.has(key):
            return False
        page.dismiss()
        return True

    def action_screenshot(self) -> None:
        """Saves the picture as it is, without the message about it."""
        self.forget()
        self.call_after_refresh(self._save_picture)

    def _save_picture(self) -> None:
        text, severity = self.app.save_picture(self.view)
        self.say(text, severity)

    def action_palette(self) -> None:
        """Opens the command palette."""
        self.app.action_command_palette()

    def action_save_settings(self) -> None:
        """Writes columns, order, grouping and theme into the user's file."""
        table = self.table
        now = Settings(table.columns, table.sort, table.reverse, table.grouping, self.app.theme_chosen)
        try:
            file = save(now)
        except SettingsError as error:
            self.say(error.sentence, "error")
        else:
            self.say(f"saved in {clean_text(str(file))}")

    def action_theme(self, name: str = "") -> None:
        """The theme of this name, or the next one."""
        palette = named(name) if name else THEMES[(THEMES.index(self.look.palette) + 1) % len(THEMES)]
        self.app.wear(palette)
        self.app.theme_chosen = palette.name
        self.show()
        self.say(keyed(f"theme {palette.name}; {{palette}} and typing save keeps it for the next time"))

    def action_help(self) -> None:
        """Opens the help page."""
        self.app.push_screen(HelpScreen(self.look, self.view, self.message.whole or self.last_said.whole))

    def action_redraw(self) -> None:
        """Sends every cell again."""
        self.app.redraw()

    def action_suspend(self) -> None:
        """Gives the terminal back until the shell's ``fg``."""
        self.app.action_suspend_process()
