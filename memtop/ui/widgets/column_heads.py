"""The line above the mapping table: what the columns are, which one sorts, what a filter leaves."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.message import Message

from memtop.ui.columns import MARKED, NAME, WRITTEN, Column, Layout
from memtop.ui.lines import Run, fill, fitting
from memtop.ui.theme import Look
from memtop.ui.widgets.drawn import Drawn


class ColumnHeads(Drawn):
    """The line above the table; a click sorts."""

    class Clicked(Message):
        """A column's head was clicked."""

        def __init__(self, column: Column) -> None:
            super().__init__()
            self.column = column

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self._spans: list[tuple[int, int, Column]] = []

    def show(
        self, layout: Layout, sort: Column, reverse: bool, grouping: str = "", filtered: str = ""
    ) -> None:
        """Draws the heads; the one that sorts carries an arrow.

        Args:
            grouping: how rows are grouped, empty: not at all.
            filtered: what a filter does, in a few words; empty: there is none.
        """
        p = self.look.palette
        runs: list[Run] = [("  ", p.dim)]
        x = 2
        self._spans = []
        more = 0  # cells of the name's that a long filter takes
        for column, width in layout.columns:
            text = column.head
            if column is NAME and grouping:
                text += f" {grouping}"
            if column is sort:
                text += "▼" if column.descending ^ reverse else "▲"
            style = p.strong if column is sort else p.dim
            # The last cell of WRITTEN/S belongs to its mark.
            mark = " " if column in (WRITTEN, MARKED) and len(text) < width else ""
            if column is NAME and len(text) + 2 < width:
                more = max(min(cell_len(filtered) - layout.map_width, width - len(text) - 2), 0)
            runs.append((fill(text, width - len(mark) - more, right=column.right) + mark, style))
            runs.append((" " * layout.gap, p.dim))
            self._spans.append((x, x + width, column))
            x += width + layout.gap
        room = layout.map_width + more
        runs.append((fill(_filter_forms(filtered, room) or "MAP", room), p.warn if filtered else p.dim))
        self.draw_runs([runs])

    def on_click(self, event: events.Click) -> None:
        """Sorts by the column under the pointer."""
        for first, end, column in self._spans:
            if first <= event.x < end:
                self.post_message(self.Clicked(column))


def _filter_forms(filtered: str, room: int) -> str:
    """As much of what a filter does as there is room for; a number is never cut."""
    many = filtered.partition(" · ")[0]
    if cell_len(filtered) <= room or cell_len(many) + 5 <= room:
        return filtered
    return fitting((many, many.replace(" of ", "/"), "filter" if filtered else ""), room)
