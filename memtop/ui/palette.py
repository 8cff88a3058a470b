"""The command palette: every key's action by its phrase, in Textual's own search box."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from memtop.ui.keymap import KEYMAP, Key, Mode
from memtop.ui.theme import THEMES

if TYPE_CHECKING:
    from memtop.ui.app import MemtopApp
    from memtop.ui.screens.live import LiveScreen


_POINTLESS = ("palette", "move(-1)", "close")
"""Nobody looks for them here."""


class Commands(Provider):
    """What can be done in the table; what can't be done now is not there."""

    @property
    def _live(self) -> LiveScreen:
        app = self.app
        return cast("MemtopApp", app).live

    def _commands(self) -> Iterator[tuple[str, Key]]:
        live = self._live
        can_act = not (live.source.readonly or live.view.over)
        for key in KEYMAP:
            if not key.help or Mode.TABLE not in key.modes or key.action in _POINTLESS:
                continue
            if (key.acts and not can_act) or (key.many and len(live.views) < 2):
                continue
            if key.action == "pick" and not live.app.can_pick:
                continue
            yield f"{key.help.partition(';')[0]}  ({key.shown})", key
        for palette in THEMES:
            yield f"theme {palette.name}", Key("", "", f"theme('{palette.name}')")
        yield "save columns, order, groups and theme for the next time", Key("", "", "save_settings")

    async def _run(self, action: str) -> None:
        await self._live.run_action(action)

    async def discover(self) -> AsyncIterator[DiscoveryHit]:
        """Everything, while nothing is typed."""
        for text, key in self._commands():
            yield DiscoveryHit(text, partial(self._run, key.action))

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for text, key in self._commands():
            if (score := matcher.match(text)) > 0:
                yield Hit(score, matcher.highlight(text), partial(self._run, key.action))
