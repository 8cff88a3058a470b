"""Questions before anything is done to a target: what it costs comes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from memtop.model.actions import ClearRefs
from memtop.sampler.source import Key
from memtop.ui import keymap
from memtop.ui.lines import Run, cut, wrap
from memtop.ui.widgets.overlay import Overlay

MOST_LINES = 2
"""Of a question; a longer one is put briefly, where it can be."""

ROOMY = 24
"""Lines of a page on which a menu has room for whole sentences."""


@dataclass(frozen=True)
class Ask:
    """One action, bound to the process that was on screen when its key was pressed.

    Attributes:
        key: pid and start time; checked again when it is confirmed.
        what: a phrase, with the name of the process.
        cost: one sentence; ``brief`` says the same where that takes too many lines.
        do: does it.
        check: why it must not be done now, as a sentence; empty: it may.
        label: one or two words for it as one of several.
        others: the same with another extent, by the number that chooses it; may have this one in it.
        lives: it is done to the process, so that must be there still.
    """

    key: Key
    what: str
    cost: str
    do: Callable[[], None]
    check: Callable[[], str] = str
    label: str = ""
    others: Mapping[int, Ask] = field(default_factory=dict)
    lives: bool = True
    brief: str = ""


@dataclass(frozen=True)
class Menu:
    """Actions to choose from, each with its number, bound in the same way."""

    key: Key
    what: str
    choices: Sequence[tuple[ClearRefs, Ask]]


class Prompt(Overlay):
    """Shows a question; the screen asks it and takes the answer."""

    question: Ask | Menu | None = None

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Keys of this question alone, and what they do, for the last line of the page."""
        question = self.question
        leave = keymap.shown_of("close"), "leaves"
        if isinstance(question, Menu):
            return [("1–5", "chooses"), leave]
        if question is None:
            return []
        others = [(str(n), other.label) for n, other in question.others.items() if other is not question]
        return [(keymap.shown_of("confirm"), "does it"), *others, leave]

    def ask(self, question: Ask | Menu | None, width: int, height: int) -> None:
        """Shows a question, or hides with None."""
        self.question = question
        if question is None:
            self.lay([], width)
        elif isinstance(question, Ask):
            self.lay(self._ask_lines(question, width), width)
        else:
            self.lay(self._menu_lines(question, width, height), width)

    def _ask_lines(self, ask: Ask, width: int) -> list[list[Run]]:
        p = self.look.palette
        # The phrase first, in its own style: it may break over lines like the rest.
        lines: list[list[Run]] = []
        left = len(ask.what)
        sentence = wrap(f"{ask.what}: {ask.cost}", width - 4, 6)
        if len(sentence) > MOST_LINES and ask.brief:
            sentence = wrap(f"{ask.what}: {ask.brief}", width - 4, 6)
        for i, each in enumerate(sentence):
            head = each[: max(left, 0)]
            left -= len(each) + 1
            lines.append(
                [(" ? " if not i else "   ", p.accent), (head, p.strong), (each[len(head) :], p.text)]
            )
        return lines

    def _menu_lines(self, menu: Menu, width: int, height: int) -> list[list[Run]]:
        p = self.look.palette
        lines: list[list[Run]] = [[(" ? ", p.accent), (menu.what, p.strong)]]
        for i, choice in enumerate(menu.choices):
            lines.append([(f"   {choice[0].value}  ", p.accent), (choice[0].title, p.text)])
            disturbs = choice[0].disturbs
            if height < ROOMY:
                room = max(width - len(choice[0].title) - 9, 0)
                lines[-1].append(("  " + cut(disturbs, room), p.dim))
            elif i + 1 == len(menu.choices) or menu.choices[i + 1][0].disturbs != disturbs:
                # Once, below the last of those that it holds for.
                lines += [[("      " + each, p.dim)] for each in wrap(disturbs, width - 8, 2)]
        return lines
