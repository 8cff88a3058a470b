"""The detail pane: when something is read, and where its answer goes."""

from __future__ import annotations

from contextlib import suppress

from textual import on
from textual.message import Message

from memtop.model.detail import Detail
from memtop.sampler.source import Key
from memtop.ui.keymap import keyed
from memtop.ui.screens.page import Page
from memtop.ui.widgets.detail import DetailPane
from memtop.ui.widgets.write_map import WriteMap


class Told(Message):
    """The source has read."""

    def __init__(self, of: tuple[Key, int], answer: Detail) -> None:
        super().__init__()
        self.of, self.answer = of, answer


class DetailActions(Page):
    """Reading happens on a thread of the source's; while the picture is frozen only a key makes it happen."""

    def action_detail(self) -> None:
        """Opens the pane, or puts the map in its place again."""
        self.open_pane(WriteMap if isinstance(self.pane, DetailPane) else DetailPane)
        self.show()

    def read_detail(self) -> None:
        """Reads once more, at any price: the key was pressed."""
        pane = self.pane
        if isinstance(pane, DetailPane) and pane.of is not None:
            self._read(pane, *pane.of, anyway=True)
            self.show_selected()

    @on(DetailPane.Needed)
    def _needed(self, message: DetailPane.Needed) -> None:
        pane, of = message.pane, (message.key, message.mapping_id)
        position = self.source.position
        live = position is None or not position.recorded
        if message.key == self.view.key and self.view.over:
            pane.refuse(*of, "the process has ended: the kernel says nothing of it any more")
        elif self.frozen and live:
            anyway = keyed("{enter_pane}, then {read_again} reads it as it is now")
            pane.refuse(*of, f"the picture is frozen, so nothing is read; {anyway}")
        else:
            self._read(pane, *of, anyway=False)
        self.show_selected()

    def _read(self, pane: DetailPane, key: Key, mapping_id: int, *, anyway: bool) -> None:
        pane.read(key, mapping_id)

        def then(answer: Detail) -> None:  # on a thread of the source's
            with suppress(RuntimeError):  # the screen has just closed
                self.post_message(Told((key, mapping_id), answer))

        self.source.detail(key, mapping_id, anyway, then)

    @on(Told)
    def _told(self, message: Told) -> None:
        pane = self.panes[DetailPane]
        assert isinstance(pane, DetailPane)
        pane.answered(message.of, message.answer)
        if pane is self.pane:
            self.show_selected()
