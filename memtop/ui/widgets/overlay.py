"""Lines that lie over the bottom of the page: nothing below them moves."""

from __future__ import annotations

from collections.abc import Sequence

from memtop.ui.lines import Run, line, width_of
from memtop.ui.widgets.drawn import Drawn


class Overlay(Drawn):
    """Hidden while it has nothing to say; as high as its lines."""

    def lay(self, lines: Sequence[Sequence[Run]], width: int) -> None:
        """Shows these lines, or hides with none.

        Args:
            width: of the page; the widget itself may not have been laid out yet.
        """
        self.display = bool(lines)
        self.styles.height = max(len(lines), 1)
        layer = self.look.palette.raised
        self.draw([line(self.look, runs, width, layer) for runs in lines])


def hinted(lines: list[list[Run]], hint: list[Run], width: int, gap: Run) -> list[list[Run]]:
    """Puts a hint behind the last line, or on one of its own."""
    if lines and width_of(lines[-1]) + len(gap[0]) + width_of(hint) <= width - 1:
        return [*lines[:-1], [*lines[-1], gap, *hint]]
    return [*lines, [gap, *hint]]
