"""The dump dialog, over the bottom of the page: what is to be dumped, where to, and what it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Input

from memtop.model.names import clean_text
from memtop.ui.dump_parts import TYPED, Part
from memtop.ui.glyphs import SELECTED
from memtop.ui.lines import Run, cut, line, wrap
from memtop.ui.theme import Look
from memtop.ui.widgets.drawn import Drawn
from memtop.ui.widgets.type_line import Cleaned, Typed

if TYPE_CHECKING:
    from memtop.ui.dump_choice import DumpChoice

LABEL = 11
"""Cells in front of what can be changed."""


class DumpForm(Widget):
    """Hidden until it is opened. One input serves both lines that are typed.

    Attributes:
        choice: what is chosen so far; None: it is closed and has no keys.
    """

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look
        self.choice: DumpChoice | None = None

    def compose(self) -> ComposeResult:
        """The lines, and over one of them the input."""
        yield Drawn(self.look)
        yield Cleaned(select_on_focus=False, compact=True)

    def on_mount(self) -> None:
        """A cursor that blinks would cost bytes on an idle screen."""
        self.drawn = self.query_one(Drawn)
        self.input = self.query_one(Input)
        self.input.cursor_blink = False
        self.typed = Typed(self.input)
        self.input.display = self.input.can_focus = False

    @property
    def typing(self) -> bool:
        """The selected line is one to type in."""
        return self.choice is not None and self.choice.part in TYPED

    def open(self, choice: DumpChoice) -> None:
        """Takes the keys."""
        self.choice, self.visible = choice, True

    def close(self) -> None:
        """Gives them back."""
        self.choice, self.visible = None, False
        self._give_input(None)

    def settle(self) -> None:
        """Another line was chosen: the input goes there, or away."""
        self._give_input(self.choice if self.typing else None)

    def _give_input(self, choice: DumpChoice | None) -> None:
        field = self.input
        field.display = field.can_focus = choice is not None
        if choice is None:
            self.screen.set_focus(None)
            return
        text = choice.path if choice.part is Part.FILE else choice.parent
        field.value, field.cursor_position = text, len(text)
        self.screen.set_focus(field)

    def show(self, width: int, *, frozen: bool) -> None:
        """Draws; nothing while it is closed."""
        choice = self.choice
        if choice is None:
            return
        p = self.look.palette
        lines: list[list[Run]] = [[(f" Dump {choice.title}", p.strong)]]
        for part in Part:
            if part is choice.part:
                self.input.styles.offset = (LABEL + 2, len(lines))
                self.input.styles.width = max(width - LABEL - 3, 1)
            lines.append(self._field(choice, part, width))
        for text, warns in choice.lines(frozen=frozen):
            lines += self._sentence(text, warns, p.warn if warns else p.text, width)
        lines += self._sentence(choice.against, True, p.trouble, width)
        self.drawn.styles.height = len(lines)
        self.drawn.draw([line(self.look, runs, width, p.raised) for runs in lines])

    def _sentence(self, text: str, warns: bool, style: Style, width: int) -> list[list[Run]]:
        parts = wrap(text, width - 4, 2) if text else []
        return [[(" ! " if warns and not i else "   ", style), (part, style)] for i, part in enumerate(parts)]

    def _field(self, choice: DumpChoice, part: Part, width: int) -> list[Run]:
        p = self.look.palette
        chosen, usable = part is choice.part, part in choice.parts
        value, about = choice.value(part)
        shown = clean_text(value)
        if chosen and part not in TYPED:
            shown = f"‹ {shown} ›"
        room = width - LABEL - 3
        runs: list[Run] = [
            (f" {SELECTED if chosen else ' '} ", p.accent),
            (part.value.ljust(LABEL - 2) + " ", p.text if chosen else p.dim),
            (cut(shown, room), p.strong if chosen else p.text if usable else p.faint),
        ]
        left = room - len(shown) - 3
        if about and left > 8:
            runs.append((("   " if shown else "") + cut(about, left), p.dim))
        return runs
