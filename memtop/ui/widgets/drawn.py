"""A widget that keeps the lines it shows and draws only those again that changed.

Which of their cells are sent is found where all that Textual draws comes together (``shown``).
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from memtop.ui.lines import Run, changed_lines, line
from memtop.ui.theme import Look

WHEEL = 3
"""Lines that one notch of the mouse wheel scrolls."""


class Drawn(Widget):
    """Shows lines of styled text.

    Args:
        look: colours and alphabet.
        id: for the style sheet.
    """

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.look = look
        self.lines: list[Strip] = []

    @property
    def asked(self) -> bool:
        """A question is open: what it is about must not change behind it, so the mouse does nothing."""
        return bool(getattr(self.screen, "asking", False))

    def draw(self, lines: Sequence[Strip]) -> None:
        """Shows these lines from now on; refreshes the lines that differ, or nothing."""
        regions = changed_lines(self.lines, lines)
        self.lines = list(lines)
        if regions:
            self.refresh(*regions)

    def draw_runs(self, lines: Sequence[Sequence[Run]]) -> None:
        """The same from runs, each line filled to the width of the widget."""
        width = self.size.width  # Textual works it out each time
        self.draw([line(self.look, runs, width) for runs in lines])

    def render_line(self, y: int) -> Strip:
        """One line (Textual's line API)."""
        if y < len(self.lines):
            return self.lines[y]
        # Never a style of None: Textual's NO_COLOR filter fails on it.
        return Strip.blank(self.size.width, self.look.palette.text)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines as they are: Textual would look for borders, padding, opacity; none of these has any.

        Its filters change only the terminal's own colours.
        """
        strips = [self.render_line(y) for y in crop.line_range]
        if any(strip.cell_length < crop.right for strip in strips):  # where a scroll bar would be
            beyond = Style(bgcolor=self.background_colors[1].rich_color)
            strips = [strip.extend_cell_length(crop.right, beyond) for strip in strips]
        for each in self.get_line_filters() if self.look.palette.ansi else ():
            strips = [strip.apply_filter(each, self.background_colors[1]) for strip in strips]
        return [strip.crop(*crop.column_span) for strip in strips]
