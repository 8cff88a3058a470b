"""The few glyphs of the screen, and what stands for each where only ASCII can be shown.

Everything is drawn in Unicode; with ``--ascii`` one translation at the very end replaces it, so no
widget knows of two alphabets.
"""

from __future__ import annotations

from rich.cells import cell_len

CELLS = " ·░▒▓█"
"""A cell of a map by ``ages.Age``: not resident, resident, written earlier, ≤ 1 min, ≤ 10 s, now."""

SPARK = "▁▂▃▄▅▆▇█"
"""Levels of a sparkline."""

ELLIPSIS = "…"
SELECTED = "▸"
RULE = "─"
BAR = "━"
"""Parts of a whole."""
END = "▏"
"""Behind the last cell of a mapping."""

FOLD = "┊"
"""Address space without a mapping, folded."""

_ASCII = {
    **dict(zip(CELLS[1:], ".-=x#", strict=True)),
    **dict(zip(SPARK[:-1], "..::==*", strict=True)),
    "…": "~",
    "▸": ">",
    "─": "-",
    "━": "=",
    "▏": "|",
    "┊": ":",
    "●": "*",
    "○": "o",
    "‖": "=",
    "‹": "<",
    "›": ">",
    "■": "#",
    "▾": "v",
    "≥": ">",
    "▲": "^",
    "▼": "v",
    "↑": "^",
    "↓": "v",
    "←": "<",
    "→": ">",
    "–": "-",
    "≤": "<",
    "²": "^",
    "µ": "u",
    "’": "'",
    "×": "x",
    "Σ": "=",
    "╵": "'",
    "÷": "/",
    "▔": "-",
}


def ascii_only(text: str) -> str:
    """The same text in ASCII, in as many cells; what has no stand-in becomes ``?``."""
    if text.isascii():
        return text
    text = text.replace("← →", "<->")  # the keys < and > do something else
    return "".join(c if c.isascii() else _ASCII.get(c, "?" * cell_len(c)) for c in text)
