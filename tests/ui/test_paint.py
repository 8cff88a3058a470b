"""What is sent for a part of the screen leads to the picture of Textual's own way, in fewer bytes."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from memtop.ui.paint import change, codes
from memtop.ui.shown import News, Shown

WIDTH, HEIGHT = 24, 4
STYLES = [
    Style.parse(text)
    for text in (
        *("#ff8800 on #101418", "#00aa44 on #101418", "bold #ffffff on #101418", "dim #888888 on #101418"),
        *("#ff8800 on #202830", "reverse #888888 on #101418", "underline red on blue", "bold italic", "none"),
        *("bold dim #888888 on #101418", "green", "on yellow", "reverse"),
    )
]
TEXTS = st.text(alphabet="ab ·▓█1日", min_size=1, max_size=9)
ESCAPE = re.compile(r"\x1b\[([\d;]*)([mHC])")

Cell = tuple[str, frozenset[str], str, str]
BLANK: Cell = (" ", frozenset(), "39", "49")
BROKEN: Cell = ("?", frozenset(), "39", "49")
OFF = {"22": "12", "23": "3", "24": "4", "25": "56", "27": "7", "28": "8", "29": "9"}


def seen(cell: Cell) -> Cell:
    """What an eye can tell: of a blank only the ground, and what is drawn through it."""
    text, attributes, _, back = cell
    if text == " " and not attributes & {"4", "7", "9"}:
        return (" ", frozenset(), "", back)
    return cell


class Terminal:
    """A grid that knows colours."""

    def __init__(self) -> None:
        self.cells = [[BLANK] * WIDTH for _ in range(HEIGHT)]
        self.x = self.y = 0
        self.attributes: frozenset[str] = frozenset()
        self.front, self.back = "39", "49"

    def feed(self, text: str) -> None:
        at = 0
        for escape in ESCAPE.finditer(text):
            self._print(text[at : escape.start()])
            at = escape.end()
            numbers = escape[1].split(";")
            if escape[2] == "m":
                self._style(numbers)
            elif escape[2] == "C":
                self.x += int(numbers[0] or 1)
            else:
                self.y = int(numbers[0] or 1) - 1
                self.x = int(numbers[1]) - 1 if len(numbers) > 1 else 0
        self._print(text[at:])

    def _print(self, text: str) -> None:
        assert "\x1b" not in text, "an escape that this terminal does not know"
        for character in text:
            width = cell_len(character)
            assert self.x + width <= WIDTH, "over the edge"
            row = self.cells[self.y]
            for other in (self.x - 1, self.x + width):  # who takes half of a wide one takes all of it
                if 0 <= other < WIDTH and row[max(other, self.x)][0] == "":
                    row[other] = BROKEN
            for half in range(width):
                this = character if half == 0 else ""
                self.cells[self.y][self.x + half] = (this, self.attributes, self.front, self.back)
            self.x += width

    def _style(self, numbers: list[str]) -> None:
        left = list(numbers)
        while left:
            code = left.pop(0)
            if code in ("0", ""):
                self.attributes, self.front, self.back = frozenset(), "39", "49"
            elif code in ("38", "48"):
                count = 4 if left[0] == "2" else 2
                colour, left = ";".join([code, *left[:count]]), left[count:]
                if code == "38":
                    self.front = colour
                else:
                    self.back = colour
            elif code in OFF:
                self.attributes -= set(OFF[code])
            elif int(code) < 30:
                self.attributes |= {code}
            elif int(code) in range(40, 50) or int(code) >= 100:
                self.back = code
            else:
                self.front = code


@st.composite
def updates(draw: st.DrawFn) -> ChopsUpdate:
    """Lines of one or two strips, and spans that are to be drawn."""
    chops, ends, spans = [], [], []
    for y in range(HEIGHT):
        cut = draw(st.integers(1, WIDTH - 1))
        line = {}
        for x, width in ((0, cut), (cut, WIDTH - cut)):
            segments = [
                Segment(text, style)
                for text, style in draw(st.lists(st.tuples(TEXTS, st.sampled_from(STYLES)), max_size=6))
            ]
            line[x] = Strip(segments).adjust_cell_length(width, Style.parse("#ff8800 on #101418"))
        chops.append(line)
        ends.append([cut, WIDTH])
        places = draw(st.lists(st.integers(0, WIDTH), max_size=6, unique=True).map(sorted))
        spans += [(y, a, b) for a, b in zip(places[::2], places[1::2], strict=False)]
    return ChopsUpdate(chops, spans or [(0, 0, WIDTH)], ends)


def layout(update: ChopsUpdate) -> LayoutUpdate:
    """All of the lines, as when a page is opened."""
    lines = [list(line.values()) for line in update.chops]
    return LayoutUpdate(lines, Region(0, 0, WIDTH, HEIGHT))  # type: ignore[arg-type]  # lists of strips do


def draw_plainly(terminal: Terminal, update: ChopsUpdate | LayoutUpdate, colors: ColorSystem) -> None:
    """Every cell with the whole of its style."""

    def put(x: int, y: int, strip: Strip) -> None:
        terminal.feed(f"\x1b[{y + 1};{x + 1}H")
        for text, style, _ in strip:
            on = codes(style or Style.null(), colors)
            parts = ";".join(["0", *on[0], on[1], on[2]])
            terminal.feed(f"\x1b[{parts}m{text}")

    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips):
            put(0, y, Strip.join(line))
        return
    for y, first, end in update.spans:
        for x, strip in update.chops[y].items():
            assert strip is not None
            left, right = max(first, x), min(end, x + strip.cell_length)
            if left < right:
                put(left, y, strip.crop(left - x, right - x))


@given(
    st.lists(st.one_of(updates(), updates().map(layout)), min_size=1, max_size=4),
    st.sampled_from([ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT, ColorSystem.STANDARD]),
)
@settings(max_examples=300, deadline=None)
def test_leads_to_the_same_pictures(following: list[ChopsUpdate | LayoutUpdate], colors: ColorSystem) -> None:
    console = Console(color_system="truecolor")
    console._color_system = colors
    mine, expected, shown = Terminal(), Terminal(), Shown()
    for update in following:
        mine.feed(News(update, shown).render_segments(console))
        draw_plainly(expected, update, colors)
        for ours, theirs in zip(mine.cells, expected.cells, strict=True):
            assert [seen(cell) for cell in ours] == [seen(cell) for cell in theirs]
        assert (mine.attributes, mine.front, mine.back) == (frozenset(), "39", "49"), "as it was"
        assert News(update, shown).render_segments(console) == ""


def test_what_stands_there_is_sent_again_only_after_it_was_forgotten() -> None:
    console, shown = Console(color_system="truecolor"), Shown()
    strip = Strip([Segment("a word 日本 " + " " * 12, STYLES[0])])
    update = ChopsUpdate([{0: strip}], [(0, 0, WIDTH)], [[WIDTH]])
    first = News(update, shown).render_segments(console)
    assert "word" in first
    assert News(update, shown).render_segments(console) == ""
    shown.forget()
    assert News(update, shown).render_segments(console) == first


def test_only_what_changes_is_sent() -> None:
    console, shown = Console(color_system="truecolor"), Shown()
    for text in ("one word here", "one bird here"):
        strip = Strip([Segment(text.ljust(WIDTH), STYLES[0])])
        sent = News(layout(ChopsUpdate([{0: strip}], [], [[WIDTH]])), shown).render_segments(console)
    assert "bi" in sent
    assert "one" not in sent
    assert "here" not in sent


@given(st.sampled_from(STYLES), st.sampled_from(STYLES), st.sampled_from(list(ColorSystem)[:4]))
def test_from_any_style_to_any_other(one: Style, other: Style, colors: ColorSystem) -> None:
    if colors is ColorSystem.WINDOWS:
        return
    terminal = Terminal()
    was, will = codes(one, colors), codes(other, colors)
    terminal.feed(f"\x1b[{change((frozenset(), '39', '49'), was)}m" if was != BLANK[1:] else "")
    if was != will:
        terminal.feed(f"\x1b[{change(was, will)}m")
    assert (terminal.attributes, terminal.front, terminal.back) == will


def test_codes_are_those_of_rich() -> None:
    """The full style, as Rich writes it."""
    for style in STYLES:
        attributes, front, back = codes(style, ColorSystem.TRUECOLOR)
        rich = set(style.render("x", color_system=ColorSystem.TRUECOLOR).partition("x")[0][2:-1].split(";"))
        mine = set(";".join([*attributes, front, back]).split(";"))
        assert mine - {"39", "49"} == rich - {""}
