"""Writes the tables of docs/keys.md from the keymap: ``python tests/ui/keys_doc.py``."""

from __future__ import annotations

from pathlib import Path

from memtop.ui.columns import ABOUT
from memtop.ui.keymap import Mode, defaults

FILE = Path(__file__).parents[2] / "docs" / "keys.md"
BEGIN, END = "<!-- made by tests/ui/keys_doc.py: {} -->\n", "<!-- end -->\n"
MODES = {
    Mode.TABLE: "table",
    Mode.PANE: "map",
    Mode.ASK: "question",
    Mode.TYPE: "typing",
    Mode.LIST: "list",
    Mode.PROCESSES: "processes",
    Mode.PICKER: "choosing",
    Mode.FORM: "dump dialog",
    Mode.FIELD: "its text",
}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def keys() -> str:
    lines = ["| keys | what they do | action, and its keys by name | where |", "|---|---|---|---|"]
    for key in defaults():
        if key.keys:
            names = " ".join(f"`{name}`" for name in key.keys.split(","))
            where = ", ".join(MODES[mode] for mode in Mode if mode in key.modes)
            lines.append(f"| {_cell(key.shown)} | {_cell(key.help)} | `{key.action}` {names} | {where} |")
    return "\n".join(lines) + "\n"


def columns() -> str:
    lines = ["| column | shows | gives way |", "|---|---|---|"]
    for column, about in ABOUT.items():
        lines.append(f"| {column.head} | {about} | {column.gives_way or 'never'} |")
    return "\n".join(lines) + "\n"


def document() -> str:
    text = FILE.read_text()
    for name, made in (("keys", keys()), ("columns", columns())):
        before, _, rest = text.partition(BEGIN.format(name))
        text = before + BEGIN.format(name) + made + END + rest.partition(END)[2]
    return text


if __name__ == "__main__":
    FILE.write_text(document())
