"""The help page, made from the keymap and the same glyphs that the maps use."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from memtop.ui.ages import Age
from memtop.ui.columns import ABOUT
from memtop.ui.glyphs import CELLS
from memtop.ui.keymap import KEYMAP
from memtop.ui.lines import wrap
from memtop.ui.state import ProcessView
from memtop.ui.theme import Look
from memtop.ui.widgets.header import TERMS
from memtop.ui.widgets.write_map import selected

INDENT = 10
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
        self.look = look
        self._view, self._said = view, said

    def compose(self) -> ComposeResult:
        """One scrolling page."""
        with VerticalScroll():
            yield Static(self._page(), markup=False)

    def has(self, key: str) -> bool:
        """Whether this key does something else here than close it: it scrolls."""
        return key in SCROLLS

    def on_resize(self) -> None:
        """Its lines are broken for a width; the first size comes before there are any."""
        for page in self.query(Static):
            page.update(self._page())

    @property
    def _room(self) -> int:
        return max(self.app.size.width - INDENT - 2, 20)

    def _page(self) -> Text:
        p, spell = self.look.palette, self.look.spell
        page = Text()

        def say(text: str, style: Style | None = None) -> None:
            page.append(spell(text), style or p.text)

        say(" memtop", p.accent)
        room = self._room
        about = "  what a process does to its memory" if room > 60 else ""
        say(f"{about}{'↑ ↓ scroll, any other key closes':>{room - len(about)}}\n\n", p.dim)
        if self._said:
            say(" Said last\n", p.strong)
            say(_indented(self._said, room) + "\n")
        for key in KEYMAP:
            if key.help:
                say(f" {key.shown:>{INDENT - 3}}", p.accent)
                say("  " + f"\n{' ' * INDENT}".join(wrap(key.help, room, 9)) + "\n")
        say("\n Cells of the maps\n", p.strong)
        for age in reversed(Age):
            say("     ")
            say(CELLS[age] * 3, p.ages[age])
            say(f"  {_CELLS[age]}\n")
        columns = {column.head: about for column, about in ABOUT.items()}
        for title, terms in (("Marks", dict(_MARKS)), ("Header", TERMS), ("Columns (F2)", columns)):
            say(f"\n {title}\n", p.strong)
            for term, meaning in terms.items():
                say(f" {term:>{TERM - 3}}", p.accent)
                say("  " + f"\n{' ' * TERM}".join(wrap(meaning, room + INDENT - TERM, 9)) + "\n")
        self._about(say)
        return page

    def _about(self, say: object) -> None:
        p, sample, m = self.look.palette, self._view.sample, selected(self._view)
        assert callable(say)
        if sample is not None:
            say("\n Tracker\n", p.strong)
            say(f"          {sample.tracker.name}, {sample.tracker.exact.value}\n")
            if sample.tracker.note:
                say(_indented(sample.tracker.note, self._room))
        if m is not None:
            say(f"\n Selected: {m.mapping.start:x} {m.mapping.title}\n", p.strong)
            say(_indented(m.coverage.reason, self._room))


def _indented(text: str, room: int) -> str:
    return "".join(f"{' ' * INDENT}{each}\n" for each in wrap(text, room, 9))
