"""All keys of the screen in one table: bindings, footer and help are made from it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from textual.binding import Binding, BindingType
from textual.keys import _character_to_key, format_key

from memtop.model.names import clean_text


class Mode(Enum):
    """Who has the keys."""

    TABLE = "table"
    PANE = "pane"
    ASK = "ask"
    TYPE = "type"
    LIST = "list"
    PROCESSES = "processes"
    PICKER = "picker"
    FORM = "form"
    FIELD = "field"


TABLE, PANE, ASK = frozenset({Mode.TABLE}), frozenset({Mode.PANE}), frozenset({Mode.ASK})
TYPE, LIST = frozenset({Mode.TYPE}), frozenset({Mode.LIST})
PROCESSES = frozenset({Mode.PROCESSES})
PICKER = frozenset({Mode.PICKER})
FORM = frozenset({Mode.FORM, Mode.FIELD})
ROWS = TABLE | PROCESSES
PAGE = ROWS | PANE
ALWAYS = PAGE | ASK | LIST


@dataclass(frozen=True, slots=True)
class Key:
    """One key, or several that do the same.

    Attributes:
        keys: as Textual names them, separated by commas.
        shown: as people name them, two that belong together in one; empty: in no list.
        action: of the live screen.
        help: one phrase for the help page.
        label: one or two words for the footer; empty: not there.
        modes: who must have the keys for it to work.
        acts: changes something in the target, so it is off when memtop is read-only.
        many: only where several processes are shown.
    """

    keys: str
    shown: str
    action: str
    help: str = ""
    label: str = ""
    modes: frozenset[Mode] = PAGE
    acts: bool = False
    many: bool = False


KEYMAP: list[Key] = [
    Key("question_mark,f1", "?", "help", "help: all keys and signs", "help"),
    Key("up", "↑ ↓", "move(-1)", "select another mapping or process; also PgUp, PgDn, Home, End", modes=ROWS),
    Key("down", "", "move(1)", modes=ROWS),
    Key("pageup", "", "page(-1)", modes=ROWS),
    Key("pagedown", "", "page(1)", modes=ROWS),
    Key("home", "", "edge(-1)", modes=ROWS),
    Key("end", "", "edge(1)", modes=ROWS),
    Key(
        "backspace",
        "Backspace",
        "list",
        "back to the list of all processes, with their sums; also Esc",
        "list",
        modes=TABLE,
        many=True,
    ),
    Key(
        "w",
        "w",
        "arm",
        "track writes, or stop tracking them; the cost is stated first",
        "track writes",
        acts=True,
    ),
    Key("enter", "Enter", "open_process", "in the list of processes: open one", "open", modes=PROCESSES),
    Key("n,tab", "n", "process(1)", "the next process; N the one before", "process", many=True),
    Key("N,shift+tab", "", "process(-1)", many=True),
    Key("enter", "Enter", "enter_pane", "go into the map: the arrows move its cursor", "go in", TABLE),
    Key(
        "enter", "Enter", "peek", "in the map: what is in that page; ← → the pages beside", "page", modes=PANE
    ),
    Key("r", "r", "read_again", "in the map: look, in a page: read once more", "read again", modes=PANE),
    Key("up", "", "cursor(0, -1)", modes=PANE),
    Key("down", "", "cursor(0, 1)", modes=PANE),
    Key("left", "", "cursor(-1, 0)", modes=PANE),
    Key("right", "", "cursor(1, 0)", modes=PANE),
    Key("pageup", "", "cursor_page(-1)", modes=PANE),
    Key("pagedown", "", "cursor_page(1)", modes=PANE),
    Key("home", "", "cursor_edge(-1)", modes=PANE),
    Key("end", "", "cursor_edge(1)", modes=PANE),
    Key(
        "v",
        "v",
        "mark_range",
        "in the map: mark a range of pages from here on; v again: that is all of it",
        "range",
        modes=PANE,
    ),
    Key("v", "", "mark_range", modes=ROWS),
    Key("escape", "Esc", "leave_pane", "forget the marked range; back to the table", "back", modes=PANE),
    Key("right_square_bracket,z", "[ ]", "zoom(1)", "", "zoom", modes=PANE),
    Key(
        "t",
        "t",
        "timeline",
        "timeline: of the mapping, then of the whole process, then the map again",
        "timeline",
    ),
    Key(
        "space", "space", "freeze", "freeze the picture; nothing is read until it is pressed again", "freeze"
    ),
    Key(
        "left",
        "← →",
        "scrub(1)",
        "while frozen: earlier and later samples; shift+← → anywhere; ctrl+← → ten",
        "earlier, later",
        modes=ROWS,
    ),
    Key("right", "", "scrub(-1)", modes=ROWS),
    Key("shift+left", "", "scrub(1)"),
    Key("shift+right", "", "scrub(-1)"),
    Key("ctrl+left", "", "scrub(10)"),
    Key("ctrl+right", "", "scrub(-10)"),
    Key(
        "slash",
        "/",
        "search",
        "search names, addresses and kinds; F3 goes to the next, Shift-F3 back",
        "search",
    ),
    Key("f3", "", "find_next(1)", modes=PAGE | TYPE),
    Key("shift+f3", "", "find_next(-1)", modes=PAGE | TYPE),
    Key(
        "backslash,f,f4",
        "f",
        "filter",
        "show only rows that an expression matches: name, kind:heap, written …; also \\",
        "filter",
    ),
    Key(
        "m",
        "m",
        "mark",
        "mark this moment: what is written from now on is counted apart; M forgets it",
        "mark",
    ),
    Key("M", "", "forget_mark"),
    Key(
        "d",
        "d",
        "dump",
        "dump memory into a file, while the process runs: opens the dialog; while one runs: cancels it",
        "dump",
        acts=True,
    ),
    Key(
        "i", "i", "detail", "detail of the mapping: all that the kernel says of it, and its history", "detail"
    ),
    Key(
        "right_square_bracket,z",
        "[ ]",
        "zoom(1)",
        "coarser cells in the map, up to the whole address space; finer ones; also Z z",
        "zoom",
        modes=ROWS,
    ),
    Key("left_square_bracket,Z", "", "zoom(-1)"),
    Key("greater_than_sign,f6", "< >", "sort(1)", "sort by the column beside", "sort"),
    Key("less_than_sign", "", "sort(-1)"),
    Key("r", "r", "reverse", "reverse the order", modes=ROWS),
    Key(
        "f5",
        "F5",
        "group",
        "group rows by file, by kind, or not; Enter opens and closes a group",
        "group",
        modes=TABLE | PANE,
    ),
    Key("f2", "F2", "columns", "choose columns", "columns", modes=TABLE | PANE),
    Key(
        "c",
        "c",
        "clear",
        "clear references: a menu that says what each one disturbs",
        "clear refs",
        acts=True,
    ),
    Key(
        "plus,equals_sign",
        "+ -",
        "interval(1)",
        "a longer, a shorter interval; a recording runs faster, slower",
        "interval",
    ),
    Key("minus", "", "interval(-1)"),
    Key("s", "s", "screenshot", "save this picture as SVG and text in the current directory", "picture"),
    Key("p", "p", "pick", "choose other processes; whatever was tracked is given back", "others"),
    Key("colon,ctrl+p", ":", "palette", "everything that can be done, to search through", "commands"),
    Key("T", "T", "theme", "the next theme: dark, light, contrast, ansi, mono"),
    Key("ctrl+l", "Ctrl-L", "redraw", "draw all of the screen anew, if something else has written over it"),
    Key("ctrl+z", "Ctrl-Z", "suspend", "stop memtop until fg"),
    Key("q", "q", "leave(0)", "quit; whatever was tracked is given back", "quit", modes=ALWAYS),
    Key("ctrl+c", "", "leave(130)", modes=ALWAYS | TYPE | FORM),
    Key("", "", "save_settings"),
    Key("enter", "Enter", "type_keep", "", "keep", modes=TYPE),
    Key("escape", "Esc", "type_leave", "", "as before", modes=TYPE),
    Key("up", "↑ ↓", "list_move(-1)", "", "choose", modes=LIST),
    Key("down", "", "list_move(1)", modes=LIST),
    Key("space", "space", "list_toggle", "", "on, off", modes=LIST),
    Key("enter,escape,f2", "Enter", "list_close", "", "done", modes=LIST),
    Key("enter", "Enter", "form_do", "", "dump it", modes=FORM),
    Key("up,shift+tab", "↑ ↓", "form_move(-1)", "", "choose", modes=FORM),
    Key("down,tab", "", "form_move(1)", modes=FORM),
    Key("left", "← →", "form_change(-1)", "", "change", modes=frozenset({Mode.FORM})),
    Key("right,space", "", "form_change(1)", modes=frozenset({Mode.FORM})),
    Key("escape", "Esc", "form_close", "", "leave", modes=FORM),
    Key("enter", "Enter", "confirm", "do what the question asks", modes=ASK),
    Key("escape", "Esc", "close", "leave the question, or close a message", modes=ASK | ROWS),
    *(Key(str(n), "", f"choose({n})", modes=ASK) for n in range(1, 6)),
    Key("", "type", "pick_type", "", "filters", modes=PICKER),
    Key("up", "", "pick_move(-1)", modes=PICKER),
    Key("down", "", "pick_move(1)", modes=PICKER),
    Key("pageup", "", "pick_page(-1)", modes=PICKER),
    Key("pagedown", "", "pick_page(1)", modes=PICKER),
    Key("home", "", "pick_edge(-1)", modes=PICKER),
    Key("end", "", "pick_edge(1)", modes=PICKER),
    Key("space", "space", "pick_mark", "choosing processes: mark several", "marks", modes=PICKER),
    Key("f4", "F4", "pick_children", "choosing processes: with their descendants", "children", PICKER),
    Key("f6", "F6", "pick_sort", "choosing processes: sort by another column", "sorts", PICKER),
    Key("enter", "Enter", "pick_open", "choosing processes: open what is marked", "opens", modes=PICKER),
    Key("backspace", "", "pick_erase", modes=PICKER),
    Key("escape", "Esc", "pick_leave", "choosing processes: no filter; leave", "leaves", PICKER),
    Key("ctrl+c", "", "pick_quit", modes=PICKER),
]
"""In the order of footer and help. A key may stand in several lines, each for other modes."""

_DEFAULTS = tuple(KEYMAP)


def defaults() -> tuple[Key, ...]:
    """The table as it is without a user's changes."""
    return _DEFAULTS


def key_names(names: Sequence[str]) -> list[str]:
    """Keys as Textual names them; a character may be given as it is.

    Raises:
        ValueError: no key can have this name; footer and help would show whatever it is.
    """
    for name in names:
        if not (re.fullmatch(r"[A-Za-z0-9_+]+", name) or (len(name) == 1 and clean_text(name) == name)):
            raise ValueError(f"there is no key {name!a}")
    return [_character_to_key(name) if len(name) == 1 else name.lower() for name in names]


def remapped(changes: Mapping[str, Sequence[str]]) -> tuple[Key, ...]:
    """The table with other keys for some actions; an empty list takes an action's keys away.

    Raises:
        ValueError: two actions would have the same key in one mode.
    """
    table = [
        replace(key, keys=",".join(changes[key.action]), shown=" ".join(map(shown, changes[key.action])))
        if key.action in changes
        else key
        for key in _DEFAULTS
    ]
    taken: dict[tuple[Mode, str], str] = {}
    for key in table:
        for name in filter(None, key.keys.split(",")):
            for mode in key.modes:
                other = taken.setdefault((mode, name), key.action)
                if other != key.action:
                    raise ValueError(f"{shown(name)} would be both {other} and {key.action}")
    return tuple(table)


def shown(name: str) -> str:
    """A key's name as people write it."""
    return "+".join(_written(part) for part in name.split("+"))


def _written(part: str) -> str:
    if part == "escape":
        return "Esc"
    named = part in ("ctrl", "shift", "tab", "enter", "backspace") or re.fullmatch(r"f\d+", part)
    return part.capitalize() if named else format_key(part)


def use(table: Sequence[Key]) -> None:
    """Makes this the table of the screen; before the screen is made."""
    KEYMAP[:] = table
    for mode in Mode:
        ACTIONS[mode] = _actions(mode)


def bindings() -> list[BindingType]:
    """Textual's form of the table; the screen decides which are on (``LiveScreen.check_action``)."""
    return [Binding(key.keys, key.action, key.help, show=False, priority=True) for key in KEYMAP if key.keys]


def action_of(mode: Mode, key: str) -> str:
    """What a key (as Textual names it) does for whoever has the keys; empty: nothing."""
    return next((each.action for each in KEYMAP if mode in each.modes and key in each.keys.split(",")), "")


def shown_of(action: str) -> str:
    """How the key of an action is shown; empty: it has none."""
    keys = (each for each in KEYMAP if each.action == action and each.keys)
    return next((each.shown or shown(each.keys.partition(",")[0]) for each in keys), "")


def keyed(text: str) -> str:
    """A sentence with keys in place of ``{action}``; an action that has none is in the palette."""
    return re.sub(r"\{([^}]+)\}", lambda m: shown_of(m[1]) or f"{shown_of('palette')} {m[1]}", text)


def _actions(mode: Mode) -> frozenset[str]:
    return frozenset(key.action.partition("(")[0] for key in KEYMAP if mode in key.modes)


ACTIONS = {mode: _actions(mode) for mode in Mode}
"""The names of the actions that work in each mode."""
