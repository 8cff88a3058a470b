"""One calm line about what happened: ended, refused, degraded, done; and what to do."""

from __future__ import annotations

from rich.cells import cell_len

from memtop.ui import keymap
from memtop.ui.glyphs import ELLIPSIS
from memtop.ui.lines import Run, cut, fitting, width_of, wrap
from memtop.ui.sayings import Saying
from memtop.ui.widgets.overlay import Overlay

NARROW = 76
"""Below this width a sentence may take two lines; so may one that has no shorter form."""


class Banner(Overlay):
    """Lies over the line above the footer."""

    def show(self, saying: Saying, width: int) -> None:
        """Shows as much of a message as fits into the line, or hides where there is none.

        The severity shows as a mark, not by colour alone; where there is more to say, the key of the help
        page stands behind it.
        """
        if not saying.forms:
            self.lay([], width)
            return
        p = self.look.palette
        style = {"error": p.trouble, "warning": p.warn}.get(saying.severity, p.strong)
        mark = " " if saying.severity == "information" else "!"
        text = fitting(saying.forms, width - 4)
        lines: list[list[Run]] = []
        most = 1 if width >= NARROW and len(saying.forms) > 1 else 2
        for i, each in enumerate(wrap(text, width - 4, most)):
            lines.append([(f" {mark if not i else ' '} ", style), (each, style)])
        last, is_cut = lines[-1][1][0], lines[-1][1][0].endswith(ELLIPSIS)
        if text != saying.whole or is_cut:
            more: list[Run] = [(" · ", p.dim), (keymap.shown_of("help"), p.accent), (" says all", p.dim)]
            room = width - 4 - width_of(more)
            if is_cut or cell_len(last) <= room:
                lines[-1] = [lines[-1][0], (cut(last, room), style), *more]
        self.lay(lines, width)
