"""Sends only the cells that were asked for.

Textual 8 draws every dirty span of a line from the left edge of its widget; a change at the right end
of a row would send the whole row. This is the one place that leans on Textual's inside.
"""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate


class CroppedUpdate(ChopsUpdate):
    """A partial update that begins where the change begins."""

    @classmethod
    def of(cls, update: ChopsUpdate) -> CroppedUpdate:
        """The same update, cropped at both ends."""
        return cls(update.chops, update.spans, update.chop_ends)

    def render_segments(self, console: Console) -> str:
        """Escape sequences for the terminal."""
        out: list[str] = []
        for y, first, end in self.spans:
            at = -1
            for strip_end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= end or strip_end <= first:
                    continue
                left, right = max(x, first), min(strip_end, end)
                if left != at:
                    out.append(Control.move_to(left, y).segment.text)
                out.append(strip.crop(left - x, right - x).render(console))
                at = right
        return "".join(out)
