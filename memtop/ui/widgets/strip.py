"""The line of all processes, where several are shown."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from memtop.model.units import size
from memtop.sampler.source import Key
from memtop.ui.glyphs import SELECTED
from memtop.ui.lines import Run, width_of
from memtop.ui.state import ProcessView
from memtop.ui.theme import Look, over
from memtop.ui.widgets.drawn import Drawn


class ProcessStrip(Drawn):
    """Name, pid and written/s of each; a click switches."""

    class Clicked(Message):
        """A process was clicked."""

        def __init__(self, key: Key) -> None:
            super().__init__()
            self.key = key

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self._spans: list[tuple[int, int, Key]] = []

    def show(self, views: Sequence[ProcessView], current: ProcessView) -> None:
        """Draws all, from the left so far that the current one is in sight."""
        p = self.look.palette
        parts = [self._part(view, view is current) for view in views]
        at = list(views).index(current)
        first = 0
        while first < at and sum(width_of(part) for part in parts[first : at + 1]) > self.size.width - 2:
            first += 1
        runs: list[Run] = [("‹" if first else " ", p.dim)]
        self._spans = []
        x = 1
        for view, part in zip(views[first:], parts[first:], strict=True):
            runs += part
            self._spans.append((x, x + width_of(part), view.key))
            x += width_of(part)
        self.draw_runs([runs])

    def _part(self, view: ProcessView, current: bool) -> list[Run]:
        p = self.look.palette
        sample = view.sample
        rate = None if sample is None or sample.baseline else sample.totals.written_bytes_per_s
        value = "ended" if view.ended else (size(rate).rjust(5) + ("/s" if rate is not None else "  "))
        mark = f"{SELECTED} " if current else "  "
        name = p.strong if current else p.dim
        runs = [(mark, p.accent), (view.title, name), (f" {value}", p.written(bool(rate))), ("  ", p.text)]
        return [(text, over(style, p.selected)) for text, style in runs] if current else runs

    def on_click(self, event: events.Click) -> None:
        """Switches to the process under the pointer."""
        for first, end, key in self._spans:
            if first <= event.x < end:
                self.post_message(self.Clicked(key))
