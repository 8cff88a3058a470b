"""A list to choose several things from, each on or off at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memtop.ui.glyphs import SELECTED
from memtop.ui.keymap import keyed
from memtop.ui.lines import Run
from memtop.ui.widgets.overlay import Overlay


@dataclass(frozen=True)
class Choice:
    """One line of the list.

    Attributes:
        name, about: what it is.
        on: whether it is chosen now.
        set: turns it on or off.
    """

    name: str
    about: str
    on: Callable[[], bool]
    set: Callable[[bool], None]


class Checklist(Overlay):
    """Hidden until it is opened."""

    choices: Sequence[Choice] = ()
    title = ""
    at = 0

    def open(self, title: str, choices: Sequence[Choice], width: int, height: int) -> None:
        """Shows the choices, the first one selected."""
        self.title, self.choices, self.at = title, choices, 0
        self.show(width, height)

    def close(self) -> None:
        """Hides."""
        self.choices = ()
        self.lay([], 0)

    def move(self, lines: int) -> None:
        """Moves the selection; it stops at both ends."""
        self.at = min(max(self.at + lines, 0), len(self.choices) - 1)

    def toggle(self) -> None:
        """Turns the selected one on or off."""
        choice = self.choices[self.at]
        choice.set(not choice.on())

    def show(self, width: int, height: int) -> None:
        """Draws as many as there is room for, the selected one among them."""
        if not self.choices:
            return
        p = self.look.palette
        room = max(min(len(self.choices), height - 4), 1)
        first = min(max(self.at - room // 2, 0), len(self.choices) - room)
        lines: list[list[Run]] = [
            [(f" {self.title}", p.strong), (keyed("   {list_toggle}: on, off · {list_close}: done"), p.dim)]
        ]
        longest = max(len(choice.name) for choice in self.choices)
        for i in range(first, first + room):
            choice, chosen = self.choices[i], i == self.at
            lines.append(
                [
                    (f" {SELECTED if chosen else ' '} ", p.accent),
                    (f"[{'x' if choice.on() else ' '}] ", p.accent if choice.on() else p.dim),
                    (choice.name.ljust(longest + 2), p.strong if chosen else p.text),
                    (choice.about, p.dim),
                ]
            )
        self.lay(lines, width)
