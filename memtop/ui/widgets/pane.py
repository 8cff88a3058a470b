"""What may stand below the table: one pane at a time, each about the selected mapping.

A pane draws itself from a ``ProcessView`` and says which cells it would like to have watched. When it has
the keys (``Enter`` gives them to it, ``Esc`` takes them back) it also has a cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.message import Message

from memtop.model.peek import Peek
from memtop.sampler.source import Key
from memtop.ui.lines import Run
from memtop.ui.state import ProcessView
from memtop.ui.widgets.drawn import WHEEL, Drawn

Wanted = tuple[Key, int, int, int, int]
"""Process, mapping id, start address, pages a cell, cells: the arguments of ``Source.watch``."""


class Pane(Drawn):
    """The base of all panes; one that has no cursor or no zoom leaves those as they are."""

    title: ClassVar[str]
    """One or two words, for sentences."""

    share: ClassVar[float] = 0.42
    """Of the lines below the header, how many it takes."""

    over: ClassVar[type[Pane] | None] = None
    """The pane that ``Esc`` goes back to; None: to the table."""

    does: ClassVar[frozenset[str]] = frozenset()
    """Which actions of the pane's keys mean something in it, for the last line of the page."""

    has_keys = False
    """The cursor is shown and the arrows move it."""

    class Touched(Message):
        """The mouse has moved the cursor or the scale; the pane gets the keys if ``enter``."""

        def __init__(self, enter: bool) -> None:
            super().__init__()
            self.enter = enter

    def show(self, view: ProcessView) -> Wanted | None:
        """Draws; returns the cells that the next samples should count, None: no wish."""
        raise NotImplementedError

    def move_cursor(self, columns: int, rows: int) -> None:
        """Moves the cursor; it stops at the edges."""

    def page_cursor(self, pages: int) -> None:
        """Moves the cursor by whole pages."""

    def edge_cursor(self, which: int) -> None:
        """Moves the cursor to the beginning (below 0) or the end."""

    def about(self, view: ProcessView) -> Sequence[Run]:
        """What the cursor stands on, in place of the line about the selected mapping; empty: nothing."""
        return ()

    def cell(self) -> tuple[int, int] | None:
        """Byte address and pages of what is to be looked at when the cursor comes to it; None: nothing."""
        return None

    def take(self, answer: Peek) -> None:
        """The answer to a look or a peek."""

    def zoom(self, step: int) -> None:
        """Finer cells with a step above 0, coarser ones below; stops at both ends."""

    def takes_keys(self) -> bool:
        """Whether it has something to point at now."""
        return False


class ScrollingPane(Pane):
    """The base of panes whose lines scroll below a title, with the keys and with the wheel.

    Attributes:
        top: first line that is shown.
    """

    overlap: ClassVar[int] = 0
    """Lines that stay in sight when it goes on by a page."""

    top = 0

    @property
    def rows(self) -> int:
        """Lines that are shown."""
        return max(self.size.height - 1, 1)

    @property
    def last_top(self) -> int:
        """The largest ``top``: with it the last line is shown."""
        raise NotImplementedError

    def move_cursor(self, columns: int, rows: int) -> None:
        """Scrolls by rows."""
        self.top = min(max(self.top + rows, 0), self.last_top)

    def page_cursor(self, pages: int) -> None:
        """Scrolls by what is on screen."""
        self.move_cursor(0, pages * max(self.rows - self.overlap, 1))

    def edge_cursor(self, which: int) -> None:
        """To the first or the last line."""
        self.top = 0 if which < 0 else self.last_top

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scrolls."""
        self._wheel(event, -WHEEL)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scrolls."""
        self._wheel(event, WHEEL)

    def _wheel(self, event: events.MouseEvent, rows: int) -> None:
        event.stop()
        self.move_cursor(0, rows)
        self.post_message(self.Touched(enter=False))
