"""Of the styles of what is sent, only what changes.

Textual 8 draws every dirty span of a line from the left edge of its widget, and gives each run of text its
whole style and a reset behind it: colours are four fifths of the bytes then.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.driver import Driver
from textual.strip import Strip

Codes = tuple[frozenset[str], str, str]
"""Parameters of SGR: attributes, foreground, background; colours that are the terminal's own: 39 and 49."""

PLAIN: Codes = (frozenset(), "39", "49")
_OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "6": "25", "7": "27", "8": "28", "9": "29"}
_SHOWN_ON_BLANKS = frozenset({"4", "7", "9", "21", "53"})
"""Attributes by which the foreground shows on a blank."""


def shows(style: Codes) -> bool:
    """Whether more of this style than its background shows on a blank."""
    return not _SHOWN_ON_BLANKS.isdisjoint(style[0])


def queued(driver: Driver | None) -> int:
    """Pictures that wait because the terminal takes no more."""
    thread = getattr(driver, "_writer_thread", None)
    return 0 if thread is None else thread._queue.qsize()


def cropped(strip: Strip, first: int, end: int) -> Iterator[Segment]:
    """As ``Strip.crop``, but without a new Strip, which takes longer to make than what is in it."""
    at = 0
    for segment in strip:
        text = segment.text
        start, at = at, at + (len(text) if text.isascii() else cell_len(text))
        if at <= first:
            continue
        if at > end:
            segment = segment.split_cells(end - start)[0]
        if start < first:
            segment = segment.split_cells(first - start)[1]
        yield segment
        if at >= end:
            return


class Pieces:
    """Styled text at places of the screen, drawn style by style: a move costs less than other colours."""

    def __init__(self) -> None:
        self._by_style: dict[Codes, list[tuple[int, int, str]]] = {}
        self._last = PLAIN

    def add(self, x: int, y: int, text: str, style: Codes) -> None:
        """Text that begins in this cell; in the order of lines and cells."""
        if text.isspace() and not shows(style):
            style = self._like(style[2])
        self._by_style.setdefault(style, []).append((x, y, text))
        self._last = style

    def _like(self, back: str) -> Codes:
        """A style that blanks of this background can be drawn in, since only that shows; best the last."""
        for style in (self._last, *self._by_style):
            if style[2] == back and style in self._by_style and not shows(style):
                return style
        return (frozenset(), "39", back)

    def drawn(self) -> str:
        """All of it; the terminal's own style is on before and after."""
        out: list[str] = []
        on, at = PLAIN, (-1, -1)
        for style, pieces in self._by_style.items():
            if style != on:
                out.append(f"\x1b[{change(on, style)}m")
                on = style
            for x, y, text in pieces:
                if at != (x, y):
                    out.append(move(*at, x, y))
                out.append(text)
                at = (x + (len(text) if text.isascii() else cell_len(text)), y)
        if on != PLAIN:
            out.append("\x1b[m")
        return "".join(out)


def move(at_x: int, at_y: int, x: int, y: int) -> str:
    """The shortest way to a cell. Behind the last cell of a line only places are safe, not distances."""
    if at_y == y and 0 <= at_x < x:
        return f"\x1b[{x - at_x}C" if x - at_x > 1 else "\x1b[C"
    return f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H"


@lru_cache(maxsize=1024)
def codes(style: Style, colors: ColorSystem) -> Codes:
    """What turns this style on."""
    plain = style.without_color
    attributes = frozenset(filter(None, plain._make_ansi_codes(colors).split(";")))
    front = style.color.downgrade(colors).get_ansi_codes() if style.color else ("39",)
    back = style.bgcolor.downgrade(colors).get_ansi_codes(foreground=False) if style.bgcolor else ("49",)
    return attributes, ";".join(front), ";".join(back)


@lru_cache(maxsize=4096)
def change(old: Codes, new: Codes) -> str:
    """Parameters that lead from one style to another."""
    off = {_OFF[code] for code in old[0] - new[0] if code in _OFF}
    if len(off) < len({_OFF.get(code) for code in old[0] - new[0]}):
        old, off = PLAIN, {"0"}  # one that has no way back of its own
    lost = {code for code in new[0] if _OFF.get(code) in off}  # bold and dim go off together
    parts = [*sorted(off), *sorted((new[0] - old[0]) | lost)]
    parts += [of for of, before in ((new[1], old[1]), (new[2], old[2])) if of != before]
    plain = ";".join(parts)
    return min(plain, ";".join(filter(None, ["0", _from_plain(new)])), key=len)


def _from_plain(new: Codes) -> str:
    return ";".join([*sorted(new[0]), *(of for of in new[1:] if of not in ("39", "49"))])
