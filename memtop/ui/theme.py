"""Colours: one palette holds every style that the screen uses.

Age is the one colour scale: viridis, which is perceptually even and readable with every common
colour vision deficiency, from bright (now) to dark (earlier). Kinds have muted hues of their own and
appear only in the KIND column; red is kept for trouble. All styles share one background, so that runs
stay long and the bytes on the wire few. No state shows by colour alone.
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
        text, dim, faint, strong: ordinary text, labels, rules and what can't be used, emphasis.
        accent: names memtop and keys; good, warn, trouble: states.
        rate, spark: what is written now, and its history.
        ages: by ``ages.Age``; cells of maps stand on a ground of their own, so that blank ones show.
        kinds: by ``Kind``.
        selected: laid over the selected row.
        cursor: the cell of a map under the cursor.
        raised: laid over what lies over the page.
        textual: what Textual itself paints with (background, scroll bars).
    """

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
) -> Palette:
    def style(text: str, on: str = background) -> Style:
        return Style.parse(f"{text} on {on}")

    return Palette(
        **{role: style(colour) for role, colour in colours.items()},
        rate=style(ages[-1]),
        spark=style(spark),
        ages=tuple(style(colour, ground) for colour in ages),
        kinds=tuple(style(kinds.get(kind, colours["dim"])) for kind in Kind),
        selected=Style.parse(selected),
        cursor=Style.parse(cursor),
        raised=Style.parse(raised),
        textual=_textual(name, ansi, background, colours),
    )


def _textual(name: str, ansi: bool, background: str, colours: Mapping[str, str]) -> Theme:
    if ansi:
        return replace(BUILTIN_THEMES["ansi-dark"], name=f"memtop-{name}")
    variables = dict.fromkeys(("scrollbar", "scrollbar-hover", "scrollbar-active"), "#39424e")
    for place in ("", "-hover", "-active"):
        variables[f"scrollbar-background{place}"] = background
    return Theme(
        name=f"memtop-{name}",
        primary="#4c8dae",
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
        "dim": "#8b949e",
        "faint": "#4a525c",
        "strong": "bold #f0f6fc",
        "accent": "bold #58a6c7",
        "good": "#5ec962",
        "warn": "#e3b341",
        "trouble": "bold #f0655b",
    },
    # Absent, resident, then viridis at even steps of lightness.
    ages=("#4a525c", "#5d6b7a", "#8a97dd", "#2fa39a", "#6fd06a", "#fde725"),
    ground="#151c25",
    spark="#3aa79f",
    kinds={
        Kind.ANON: "#8fa1b3",
        Kind.HEAP: "#9ab87a",
        Kind.STACK: "#b39ac7",
        Kind.TEXT: "#6f9fb5",
        Kind.DATA: "#7fa8a0",
        Kind.FILE: "#8a8f98",
        Kind.SHARED: "#c29f7a",
        Kind.HUGETLB: "#c7b07a",
        Kind.JIT: "#c78fa5",
        Kind.GUARD: "#5c646e",
        Kind.SPECIAL: "#5c646e",
    },
    selected="on #1f2a37",
    cursor="bold #0d1117 on #f0f6fc",
    raised="on #1f2a37",
)

ANSI = _palette(
    "ansi",
    background="default",
    colours={
        "text": "default",
        "dim": "default",
        "faint": "bright_black",
        "strong": "bold default",
        "accent": "bold cyan",
        "good": "green",
        "warn": "yellow",
        "trouble": "bold red",
    },
    ages=("default", "bright_black", "blue", "cyan", "bright_green", "bright_yellow"),
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


@dataclass(frozen=True)
class Look:
    """How everything is drawn: the colours and the alphabet."""

    palette: Palette = DARK
    ascii: bool = False

    def spell(self, text: str) -> str:
        """The text in the alphabet of this screen."""
        return ascii_only(text) if self.ascii else text
