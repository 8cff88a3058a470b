"""All keys of the screen in one table: bindings, footer and help are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Key:
    """One key, or several that do the same.

    Attributes:
        keys: as Textual names them, separated by commas.
        shown: as people name them, two that belong together in one; empty: in no list.
        action: of the live screen.
        help: one phrase for the help page.
        label: one or two words for the footer; empty: not there.
        prompt: works while a question is open, and only then.
        acts: changes something in the target, so it is off when memtop is read-only.
        many: only where several processes are shown.
    """

    keys: str
    shown: str
    action: str
    help: str = ""
    label: str = ""
    prompt: bool = False
    acts: bool = False
    many: bool = False


KEYMAP = (
    Key("question_mark,f1", "?", "help", "this page", "help"),
    Key(
        "space", "space", "freeze", "freeze the picture; nothing is read until it is pressed again", "freeze"
    ),
    Key(
        "w",
        "w",
        "arm",
        "track writes, or stop tracking them; the cost is stated first",
        "track writes",
        acts=True,
    ),
    Key(
        "c",
        "c",
        "clear",
        "clear references: a menu that says what each one disturbs",
        "clear refs",
        acts=True,
    ),
    Key("greater_than_sign,f6", "< >", "sort(1)", "sort by the column beside", "sort"),
    Key("less_than_sign", "", "sort(-1)"),
    Key("r", "r", "reverse", "reverse the order"),
    Key("plus,equals_sign", "+ -", "interval(1)", "a longer, a shorter interval", "interval"),
    Key("minus", "", "interval(-1)"),
    Key("s", "s", "screenshot", "save this picture as SVG in the current directory", "picture"),
    Key("n,tab,right", "n", "process(1)", "the next process; ← the one before", "process", many=True),
    Key("shift+tab,left", "", "process(-1)", many=True),
    Key("up", "↑ ↓", "move(-1)", "select another mapping; also PgUp, PgDn, Home, End"),
    Key("down", "", "move(1)"),
    Key("pageup", "", "page(-1)"),
    Key("pagedown", "", "page(1)"),
    Key("home", "", "edge(-1)"),
    Key("end", "", "edge(1)"),
    Key("ctrl+z", "Ctrl-Z", "suspend", "stop memtop until fg"),
    Key("q", "q", "leave(0)", "quit; whatever was armed is given back", "quit"),
    Key("ctrl+c", "", "leave(130)"),
    Key("enter", "Enter", "confirm", "do what the question asks", prompt=True),
    Key("escape", "Esc", "close", "leave the question, or close a message", prompt=True),
    *(Key(str(n), "", f"choose({n})", prompt=True) for n in range(1, 6)),
)
"""In the order of footer and help."""


def bindings() -> list[BindingType]:
    """Textual's form of the table; the screen decides which are on (``LiveScreen.check_action``)."""
    return [Binding(key.keys, key.action, key.help, show=False, priority=True) for key in KEYMAP]


PROMPT_ACTIONS = frozenset(key.action.partition("(")[0] for key in KEYMAP if key.prompt)
"""What works while a question is open."""
