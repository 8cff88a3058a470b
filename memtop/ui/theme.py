"""Colours: one palette holds every style that the screen uses.

Age is the one colour scale: viridis, whose lightness rises evenly, so that it keeps its order for every kind
of colour vision. On dark ground its brighter half, from bright (now) to dark (earlier); on light ground its
darker half, from dark (now) to bright. Kinds have muted hues of their own and appear only in the KIND column
and its bar; red is kept for trouble. All styles share one background, so that runs stay long and the bytes on
the wire few. No state shows by colour alone. tests/ui/test_themes.py computes for every theme the contrast
(WCAG 2.2: 4.5 for text, 3 for cells of maps) and the order of ages, also as colour-blind people see them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

from memtop.model.layout import Kind
from memtop.ui.glyphs import ascii_only


@dataclass(frozen=True, eq=False)
class Palette:
    """Styles by what they say.

    Attributes:
        name: of the theme, as ``--theme`` takes it.
        text, dim, faint, strong: ordinary text, labels, rules and what can't be used, emphasis.
        accent: names memtop and keys; good, warn, trouble: states.
        rate, spark: what is written now, and its history.
        ages: by ``ages.Age``; cells of maps stand on a ground of their own, so that blank ones show.
        kinds: by ``Kind``.
        selected: laid over the selected row.
        cursor: the cell of a map under the cursor.
        raised: laid over what lies over the page.
        textual: what Textual itself paints with (background, scroll bars).
        ansi: its colours are the terminal's own.
    """

    name: str
    text: Style
    dim: Style
    faint: Style
    strong: Style
    accent: Style
    good: Style
    warn: Style
    trouble: Style
    rate: Style
    spark: Style
    ages: tuple[Style, ...]
    kinds: tuple[Style, ...]
    selected: Style
    cursor: Style
    raised: Style
    textual: Theme
    ansi: bool

    def written(self, now: bool) -> Style:
        """Of a rate: bright where something is written."""
        return self.rate if now else self.dim


@lru_cache(maxsize=1024)
def over(style: Style, layer: Style) -> Style:
    """A style with another one laid over it; the same object for the same pair."""
    return style + layer


def _palette(
    name: str,
    *,
    background: str,
    colours: Mapping[str, str],
    ages: tuple[str, ...],
    ground: str,
    spark: str,
    kinds: Mapping[Kind, str],
    selected: str,
    cursor: str,
    raised: str,
    ansi: bool = False,
    light: bool = False,
) -> Palette:
    def style(text: str, on: str = background) -> Style:
        return Style.parse(f"{text} on {on}")

    return Palette(
        name=name,
        **{role: style(colour) for role, colour in colours.items()},
        rate=style(ages[-1]),
        spark=style(spark),
        ages=tuple(style(colour, ground) for colour in ages),
        kinds=tuple(style(kinds.get(kind, colours["dim"])) for kind in Kind),
        selected=Style.parse(selected),
        cursor=Style.parse(cursor),
        raised=Style.parse(raised),
        textual=replace(BUILTIN_THEMES["ansi-dark"], name=f"memtop-{name}")
        if ansi
        else _textual(name, background, colours, ages[1], light),
        ansi=ansi,
    )


def _textual(name: str, background: str, colours: Mapping[str, str], bar: str, light: bool) -> Theme:
    variables = dict.fromkeys(("scrollbar", "scrollbar-hover", "scrollbar-active"), bar)
    for place in ("", "-hover", "-active"):
        variables[f"scrollbar-background{place}"] = background
    return Theme(
        name=f"memtop-{name}",
        primary=colours["accent"].split()[-1],
        dark=not light,
        foreground=colours["text"],
        background=background,
        surface=background,
        panel=background,
        variables=variables | {"scrollbar-corner-color": background},
    )


DARK = _palette(
    "dark",
    background="#0d1117",
    colours={
        "text": "#c9d1d9",
        "dim": "#9aa3ad",
        "faint": "#828b96",
        "strong": "bold #f0f6fc",
        "accent": "bold #58a6c7",
        "good": "#5ec962",
        "warn": "#e3b341",
        "trouble": "bold #f0655b",
    },
    # Absent, resident, then viridis at even steps of lightness.
    ages=("#828b96", "#65737f", "#21918c", "#35b779", "#8fd744", "#fde725"),
    ground="#151c25",
    spark="#3aa79f",
    kinds={
        Kind.ANON: "#8fa1b3",
        Kind.HEAP: "#9ab87a",
        Kind.STACK: "#b39ac7",
        Kind.TEXT: "#6f9fb5",
        Kind.DATA: "#7fa8a0",
        Kind.FILE: "#8f949d",
        Kind.SHARED: "#c29f7a",
        Kind.HUGETLB: "#c7b07a",
        Kind.JIT: "#c78fa5",
        Kind.GUARD: "#828b96",
        Kind.SPECIAL: "#828b96",
    },
    selected="on #1b2430",
    cursor="bold #0d1117 on #f0f6fc",
    raised="on #1b2430",
)

LIGHT = _palette(
    "light",
    background="#ffffff",
    colours={
        "text": "#1f2328",
        "dim": "#57606a",
        "faint": "#626a73",
        "strong": "bold #000000",
        "accent": "bold #0b5c87",
        "good": "#1a6b2c",
        "warn": "#7d4e00",
        "trouble": "bold #b3201a",
    },
    ages=("#626a73", "#7c858e", "#1f8f8c", "#33638d", "#453781", "#440154"),
    ground="#f1f4f7",
    spark="#1a6b66",
    kinds={
        Kind.ANON: "#4a5f75",
        Kind.HEAP: "#4b661f",
        Kind.STACK: "#6f4a8e",
        Kind.TEXT: "#205f7d",
        Kind.DATA: "#2b655c",
        Kind.FILE: "#5a6068",
        Kind.SHARED: "#7d521f",
        Kind.HUGETLB: "#6b5b10",
        Kind.JIT: "#8b3f63",
        Kind.GUARD: "#626a73",
        Kind.SPECIAL: "#626a73",
    },
    selected="on #e3ebf4",
    cursor="bold #ffffff on #000000",
    raised="on #e3ebf4",
    light=True,
)

CONTRAST = _palette(
    "contrast",
    background="#000000",
    colours={
        "text": "#ffffff",
        "dim": "#d0d7de",
        "faint": "#b8c1ca",
        "strong": "bold #ffffff",
        "accent": "bold #7fd4ff",
        "good": "#7ee787",
        "warn": "bold #ffd33d",
        "trouble": "bold #ffaba4",
    },
    ages=("#b8c1ca", "#a3adb8", "#21918c", "#35b779", "#8fd744", "#fde725"),
    ground="#000000",
    spark="#5ce1d6",
    kinds={
        Kind.ANON: "#c3d3e3",
        Kind.HEAP: "#c6e8a0",
        Kind.STACK: "#e2c5f7",
        Kind.TEXT: "#a5d5ee",
        Kind.DATA: "#b0dcd2",
        Kind.FILE: "#cdd2d9",
        Kind.SHARED: "#f2cda3",
        Kind.HUGETLB: "#f0d89c",
        Kind.JIT: "#f5bdd3",
        Kind.GUARD: "#b8c1ca",
        Kind.SPECIAL: "#b8c1ca",
    },
    selected="bold on #12304d",
    cursor="bold #000000 on #ffffff",
    raised="on #12304d",
)

ANSI = _palette(
    "ansi",
    background="default",
    colours={
        "text": "default",
        "dim": "default",
        "faint": "default",
        "strong": "bold default",
        "accent": "bold cyan",
        "good": "green",
        "warn": "yellow",
        "trouble": "bold red",
    },
    ages=("default", "default", "bright_blue", "cyan", "bright_green", "bright_yellow"),
    ground="default",
    spark="cyan",
    kinds={},
    selected="bold",
    cursor="reverse bold",
    raised="reverse",
    ansi=True,
)

MONO = _palette(
    "mono",
    background="default",
    colours={
        "text": "default",
        "dim": "default",
        "faint": "dim default",
        "strong": "bold default",
        "accent": "bold default",
        "good": "default",
        "warn": "bold default",
        "trouble": "bold reverse default",
    },
    ages=("default",) * 6,
    ground="default",
    spark="default",
    kinds={},
    selected="bold",
    cursor="reverse bold",
    raised="reverse",
    ansi=True,
)


THEMES = (DARK, LIGHT, CONTRAST, ANSI, MONO)
"""In the order in which ``T`` goes through them."""


def named(name: str) -> Palette:
    """The theme of this name.

    Raises:
        KeyError: there is none.
    """
    return {palette.name: palette for palette in THEMES}[name]


@dataclass(eq=False)
class Look:
    """How everything is drawn: the colours, which may change while it is, and the alphabet."""

    palette: Palette = DARK
    ascii: bool = False

    def spell(self, text: str) -> str:
        """The text in the alphabet of this screen."""
        return ascii_only(text) if self.ascii else text
