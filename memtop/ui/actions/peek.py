"""Keys that ask what a page holds: looks at the cell under the cursor, and the hex view of a page."""

from __future__ import annotations

from contextlib import suppress

from textual import on
from textual.message import Message

from memtop.model.peek import Peek
from memtop.sampler.source import Key
from memtop.ui.actions.detail import DetailActions
from memtop.ui.widgets.detail import DetailPane
from memtop.ui.widgets.hex import HexPane
from memtop.ui.widgets.pane import Pane
from memtop.ui.widgets.write_map import WriteMap, selected


class Answered(Message):
    """The source has looked."""

    def __init__(self, pane: Pane, answer: Peek) -> None:
        super().__init__()
        self.pane, self.answer = pane, answer


class PeekActions(DetailActions):
    """Each request is made on the sampling thread; its answer comes as a message."""

    def look_at_cell(self) -> None:
        """Asks for the flags of the cell under the cursor, unless the picture is frozen."""
        cell = self.pane.cell() if self.pane.has_keys else None
        if cell is not None and not self.frozen and not self.view.over:
            self._request(self.view.key, *cell, contents=False)

    def action_peek(self) -> None:
        """From the whole address space into the mapping; from a cell into its first page that is there."""
        cell, m = self.pane.cell(), selected(self.view)
        if not isinstance(self.pane, WriteMap):
            return
        if cell is None or m is None:
            self.pane.zoom(1)
            self.show_selected()
            return
        if self.view.over:
            self.say("the process has ended: its memory is gone", "warning")
            return
        hexes = self.panes[HexPane]
        assert isinstance(hexes, HexPane)
        hexes.ask(self.view, m.mapping, cell[0])
        self.open_pane(HexPane)
        hexes.has_keys = True
        self._request(self.view.key, *cell, contents=True)

    def action_read_again(self) -> None:
        """Reads the page once more, or the detail, or looks once more at the cell."""
        if isinstance(self.pane, DetailPane):
            self.read_detail()
        elif isinstance(self.pane, HexPane):
            self._request(self.pane.key, *self.pane.again(), contents=True)
        else:
            self.look_at_cell()

    def beside(self, pages: int) -> None:
        """The page before or behind the one that is shown."""
        assert isinstance(self.pane, HexPane)
        address = self.pane.beside(pages)
        if address is None:
            self.say("the mapping ends here")
            return
        self.pane.step(address)
        self._request(self.pane.key, address, 1, contents=True)

    def _request(self, key: Key, address: int, pages: int, *, contents: bool) -> None:
        pane = self.pane

        def then(answer: Peek) -> None:  # on the sampling thread
            with suppress(RuntimeError):  # the screen has just closed
                self.post_message(Answered(pane, answer))

        self.source.peek(key, address, pages, contents, then)

    @on(Answered)
    def _answered(self, message: Answered) -> None:
        message.pane.take(message.answer)
        if message.pane is self.pane:
            self.show_selected()
