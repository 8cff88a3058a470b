"""The help page, made from the keymap and the same glyphs that the maps use."""

from __future__ import annotations

from rich.style import Style
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.screen import Screen

from memtop.ui.ages import Age
from memtop.ui.columns import ABOUT
from memtop.ui.glyphs import CELLS
from memtop.ui.keymap import KEYMAP
from memtop.ui.lines import Run, line, wrap
from memtop.ui.state import ProcessView
from memtop.ui.theme import Look
from memtop.ui.widgets.drawn import Drawn
from memtop.ui.widgets.header import TERMS
from memtop.ui.widgets.write_map import selected

INDENT = 12
"""Cells in front of what a key does."""

SCROLLS = ("up", "down", "pageup", "pagedown", "home", "end")

TERM = 13
"""Cells in front of what a word means."""

_CELLS = {
    Age.NOW: "written since the sample before",
    Age.SECONDS: "written in the last 10 seconds",
    Age.MINUTE: "written in the last minute",
    Age.EARLIER: "written earlier",
    Age.RESIDENT: "resident, not seen written (or writes are not tracked)",
    Age.ABSENT: "(blank) not resident",
}
_MARKS = (
    ("~", "approximate: the line of the selected mapping says why"),
    ("²", "by 2 MiB: a huge page reports all its pages when one was written"),
    ("–", "not known; never a zero"),
    ("≤ ≥", "at most, at least"),
    ("÷4", "in the legend of the timeline: each shade stands for a quarter of the one before"),
    ("a word", "in WRITTEN/S: why it is not known; the line of the selected mapping says all of it"),
)


class HelpScreen(Screen[None]):
    """Any key that does not scroll closes it (``LiveScreen.closes_help``)."""

    def __init__(self, look: Look, view: ProcessView, said: str = "") -> None:
        super().__init__()
        self.page = HelpPage(look, view, said)

    def compose(self) -> ComposeResult:
        """One scrolling page."""
        with VerticalScroll():
            yield self.page

    def has(self, key: str) -> bool:
        """Whether this key does something else here than close it: it scrolls."""
        return key in SCROLLS


class HelpPage(Drawn):
    """As high as what it says takes in its width. Textual's own text takes 20 ms to lay out, twice."""

    def __init__(self, look: Look, view: ProcessView, said: str) -> None:
        super().__init__(look)
        self._view, self._said = view, said

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Lines; they are broken for the width (Textual asks when that has changed)."""
        self.lines = [line(self.look, runs, width) for runs in self._written(max(width - INDENT - 1, 20))]
        return len(self.lines)

    def _written(self, room: int) -> list[list[Run]]:
        """All that it says.

        Args:
            room: cells for what a key does.
        """
        p = self.look.palette
        lines: list[list[Run]] = [[]]

        def say(text: str, style: Style = p.text) -> None:
            first, *more = text.split("\n")
            lines[-1].append((first, style))
            lines.extend([(each, style)] for each in more)

        say(" memtop", p.accent)
        about = "  what a process does to its memory" if room > 60 else ""
        say(f"{about}  {'↑ ↓ scroll, any other key closes':>{room - len(about)}}\n\n", p.dim)
        if self._said:
            say(" Said last\n", p.strong)
            say(_indented(self._said, room) + "\n")
        for key in KEYMAP:
            if key.help:
                say(f" {key.shown:>{INDENT - 3}}", p.accent)
                say("  " + f"\n{' ' * INDENT}".join(wrap(key.help, room, 9)) + "\n")
        say("\n Cells of the maps\n", p.strong)
        for age in reversed(Age):
            say(" " * (INDENT - 5))
            say(CELLS[age] * 3, p.ages[age])
            say(f"  {_CELLS[age]}\n")
        columns = {column.head: about for column, about in ABOUT.items()}
        for title, terms in (("Marks", dict(_MARKS)), ("Header", TERMS), ("Columns (F2)", columns)):
            say(f"\n {title}\n", p.strong)
            for term, meaning in terms.items():
                say(f" {term:>{TERM - 3}}", p.accent)
                say("  " + f"\n{' ' * TERM}".join(wrap(meaning, room + INDENT - TERM, 9)) + "\n")
        sample, m = self._view.sample, selected(self._view)
        if sample is not None:
            say("\n Tracker\n", p.strong)
            say(_indented(f"{sample.tracker.name}, {sample.tracker.exact.value}", room))
            if sample.tracker.note:
                say(_indented(sample.tracker.note, room))
        if m is not None:
            say(f"\n Selected: {m.mapping.start:x} {m.mapping.title}\n", p.strong)
            say(_indented(m.coverage.reason, room))
        return lines


def _indented(text: str, room: int) -> str:
    return "".join(f"{' ' * INDENT}{each}\n" for each in wrap(text, room, 9))
