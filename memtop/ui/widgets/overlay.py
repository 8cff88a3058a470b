"""Lines that lie over the bottom of the page: nothing below them moves."""

from __future__ import annotations

from collections.abc import Sequence

from memtop.ui.lines import Run, line
from memtop.ui.widgets.drawn import Drawn


class Overlay(Drawn):
    """Hidden while it has nothing to say; as high as its lines."""

    def lay(self, lines: Sequence[Sequence[Run]], width: int) -> None:
        """Shows these lines, or hides with none.

        Args:
            width: of the page; the widget itself may not have been laid out yet.
        """
        self.visible = bool(lines)  # not ``display``: Textual would lay out, and draw, the whole page anew
        self.styles.height = max(len(lines), 1)
        layer = self.look.palette.raised
        self.draw([line(self.look, runs, width, layer) for runs in lines])
