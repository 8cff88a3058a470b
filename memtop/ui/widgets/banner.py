"""One calm line about what happened: ended, refused, degraded, done."""

from __future__ import annotations

from memtop.ui.lines import wrap
from memtop.ui.widgets.overlay import Overlay

MOST_LINES = 3


class Banner(Overlay):
    """Lies over the line above the footer, in as many lines as its sentence needs."""

    def show(self, text: str, severity: str, width: int) -> None:
        """Shows a sentence; an empty one hides the banner.

        Args:
            severity: ``information``, ``warning`` or ``error``; it shows as a mark, not by colour alone.
        """
        p = self.look.palette
        style = {"error": p.trouble, "warning": p.warn}.get(severity, p.strong)
        mark = " " if severity == "information" else "!"
        lines = wrap(text, width - 4, MOST_LINES) if text else []
        self.lay(
            [[(f" {mark if not i else ' '} ", style), (each, style)] for i, each in enumerate(lines)], width
        )
