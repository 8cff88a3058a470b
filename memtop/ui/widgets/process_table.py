"""The list of processes, where several are shown: one line each, and the sums below."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from memtop.sampler.source import Key
from memtop.ui.glyphs import SELECTED
from memtop.ui.lines import line
from memtop.ui.processes import (
    NOTE,
    RESIDENT,
    ProcessColumn,
    about,
    arranged,
    column_at,
    columns_for,
    head_runs,
    row_runs,
    sum_runs,
)
from memtop.ui.state import ProcessView
from memtop.ui.theme import Look
from memtop.ui.widgets.drawn import Drawn


class ProcessTable(Drawn):
    """Heads, rows, sums. The selection is a process, never a row."""

    class Chosen(Message):
        """A process was clicked; once more opens it."""

        def __init__(self, key: Key) -> None:
            super().__init__()
            self.key = key

    class Sorted(Message):
        """A head was clicked: another order."""

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.sort: ProcessColumn = RESIDENT
        self.reverse = False
        self.words = ""
        self._rows: list[ProcessView] = []
        self._all: Sequence[ProcessView] = ()
        self._top = 0
        self._chosen: ProcessView | None = None

    # ---- what is shown -----------------------------------------------------------------------------

    def show(self, views: Sequence[ProcessView], chosen: ProcessView) -> None:
        """Draws all in their order; the chosen one stays so wherever it stands, and in sight if it was."""
        before = self._at
        followed = chosen is not self._chosen or self._top <= before < self._top + self.rows_shown
        self._all, self._chosen = views, chosen
        self._rows = arranged(views, self.sort, self.reverse, self.words.casefold().split())
        if followed:
            self._into_sight()
        self._draw()

    @property
    def chosen(self) -> ProcessView | None:
        """The process that is selected, if the filter leaves it."""
        return self._chosen if self._at >= 0 else None

    @property
    def matched(self) -> str:
        """How many pass the filter."""
        return f"{len(self._rows)} of {len(self._all)}"

    @property
    def _at(self) -> int:
        return next((i for i, view in enumerate(self._rows) if view is self._chosen), -1)

    @property
    def row(self) -> int:
        """The selected row; -1: the filter hides it."""
        return self._at

    @property
    def last_row(self) -> int:
        """The row at the bottom."""
        return len(self._rows) - 1

    @property
    def rows_shown(self) -> int:
        """Rows that fit between heads and sums."""
        return max(self.size.height - (2 if self.size.height > 2 else 1), 1)

    def view_in(self, row: int) -> ProcessView | None:
        """The process in a row, or in the nearest one."""
        return self._rows[min(max(row, 0), len(self._rows) - 1)] if self._rows else None

    def find(self, text: str, start: int, step: int = 1) -> tuple[int, int]:
        """The next row that has a text; and how many have it."""
        found = [i for i, view in enumerate(self._rows) if text.casefold() in about(view)]
        if not text or not found:
            return -1, 0
        many = len(self._rows)
        return min(found, key=lambda row: (row - start) * step % many), len(found)

    def sort_by_next(self, step: int) -> None:
        """The column beside, among those on screen."""
        columns = columns_for(self.size.width)
        at = columns.index(self.sort) if self.sort in columns else 0
        self.sort, self.reverse = columns[(at + step) % len(columns)], False

    # ---- the mouse ---------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Chooses the process under the pointer; on a head it sorts, once more it reverses."""
        if event.y == 0:
            column = column_at(columns_for(self.size.width), self.size.width, event.x)
            if column is not None:
                self.reverse = not self.reverse if column is self.sort else False
                self.sort = column
                self.post_message(self.Sorted())
            return
        row = event.y - 1 + self._top
        if 1 <= event.y <= self.rows_shown and row < len(self._rows):
            self.post_message(self.Chosen(self._rows[row].key))

    # ---- drawing -----------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Other columns, other rows."""
        self._into_sight()
        self._draw()

    def _into_sight(self) -> None:
        at, room = self._at, self.rows_shown
        if at >= 0:
            self._top = min(max(self._top, at - room + 1), at)
        self._top = max(min(self._top, len(self._rows) - room), 0)

    def _draw(self) -> None:
        p, width = self.look.palette, self.size.width
        if not width:
            return
        columns, room = columns_for(width), self.rows_shown
        lines = [line(self.look, head_runs(columns, self.sort, self.reverse, width, p), width)]
        for view in self._rows[self._top : self._top + room]:
            here = view is self._chosen
            runs = [(f"{SELECTED} " if here else "  ", p.accent), *row_runs(view, columns, width, p)]
            lines.append(line(self.look, runs, width, p.selected if here else None))
        if not self._rows:
            lines.append(line(self.look, [("  no process matches the filter", p.dim)], width))
        if self.size.height > 2:
            lines.append(line(self.look, sum_runs(self._all, columns, width, p), width))
        if len(lines) < self.size.height:
            lines.append(line(self.look, [(f"  {NOTE}", p.faint)], width))
        self.draw(lines)
