"""The line to type in, over the bottom of the page: search and filter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input

from memtop.model.names import clean_text
from memtop.ui.lines import Run, cut, fill, line
from memtop.ui.theme import Look
from memtop.ui.widgets.drawn import Drawn

PATIENCE_S = 0.5


class Cleaned(Input):
    """A paste may bring anything: what a terminal would take for a command is shown as the escape it is."""

    async def _on_key(self, event: events.Key) -> None:
        """Edits at once: Textual first asks everybody above, and types what follows meanwhile."""
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            event.stop()
            event.prevent_default()
            await self.run_action(binding.action)

    def replace(self, text: str, start: int, end: int) -> None:
        """Whatever way text comes in."""
        super().replace(clean_text(text), start, end)


class Typed:
    """Keys that an input has not worked off yet."""

    def __init__(self, input: Input) -> None:
        self._input = input

    async def taken(self) -> None:
        """Waits until the input has every key: many come at once over a slow link, and Enter overtakes."""
        done = asyncio.Event()
        if self._input.call_later(done.set):
            with suppress(asyncio.TimeoutError):  # it is being closed
                await asyncio.wait_for(done.wait(), PATIENCE_S)


class TypeLine(Widget):
    """Shows a label, what is typed, and a line about it.

    Attributes:
        what: is being typed; None: the line is closed and has no keys.
    """

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look
        self.what: str | None = None
        self._label = ""
        self._said: tuple[Sequence[Run], int | None] = (), None

    def compose(self) -> ComposeResult:
        """The input, and what is said about it."""
        with Horizontal():
            yield Drawn(self.look, id="label")
            yield Cleaned(select_on_focus=False, compact=True)
        yield Drawn(self.look, id="about")

    def on_mount(self) -> None:
        """A cursor that blinks would cost bytes on an idle screen."""
        self.input = self.query_one(Input)
        self.input.cursor_blink = False
        self.typed = Typed(self.input)
        self.input.can_focus = False  # only while the line is open

    def open(self, what: str, text: str = "") -> None:
        """Gives the keys to the line.

        Args:
            what: one word, shown before the text.
            text: what stands there at first.
        """
        self.what, self.visible = what, True
        self._label = f" {what} "
        label = self.query_one("#label", Drawn)
        label.styles.width = len(self._label)
        label.draw([line(self.look, [(self._label, self.look.palette.accent)], len(self._label))])
        self.input.can_focus = True
        self.input.value, self.input.cursor_position = text, len(text)
        self.screen.set_focus(self.input)  # at once: what was typed ahead comes right behind

    def close(self) -> None:
        """Takes the keys back."""
        self.what, self.visible = None, False
        self.screen.set_focus(None)
        self.input.can_focus = False

    def on_resize(self) -> None:
        """The same in another width."""
        if self._said[0]:
            self.say(*self._said)

    def say(self, runs: Sequence[Run], column: int | None = None) -> None:
        """Says something below the text.

        Args:
            runs: what.
            column: of the text that it is about: a mark points there.
        """
        self._said = runs, column
        p, width = self.look.palette, self.screen.size.width
        left = len(self._label)
        if column is not None:
            at = left + column
            room = width - at - 2
            text, style = runs[0]
            mark = ("^", p.trouble)
            if room >= min(cell_len(text), at - 1):
                runs = [(" " * at, p.text), mark, (" ", p.text), (cut(text, room), style)]
            else:  # there is more room in front of it
                runs = [(fill(cut(text, at - 1), at - 1, right=True) + " ", style), mark]
        else:
            runs = [(" " * left, p.text), *runs]
        self.query_one("#about", Drawn).draw([line(self.look, runs, width)])
