"""What both applications wear: a theme that can be changed, ASCII where nothing else can be shown; and that
no byte is sent for a cell that stays as it was."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TypeVar, cast

from rich.console import RenderableType
from rich.segment import Segment
from textual import events, screen
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App, ScreenStackError
from textual.color import Color
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.filter import LineFilter, NoColor
from textual.screen import Screen

from memtop.ui.glyphs import ascii_only
from memtop.ui.job_control import JobControl
from memtop.ui.shown import News, Shown
from memtop.ui.theme import ANSI, DARK, MONO, Look, Palette

R = TypeVar("R")

FRAME_S = 0.004
"""Seconds until Textual draws what a key has changed, at most; its own 1/60 made that up to 30 ms. It makes
no more pictures: samples and keys do. (TEXTUAL_FPS would tell what memtop starts, too.)"""

vars(screen)["UPDATE_PERIOD"] = FRAME_S


class Spelled(LineFilter):
    """ASCII, also of what Textual draws by itself: borders, ellipses."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments, in as many cells."""
        return [Segment(ascii_only(text), style, control) for text, style, control in segments]


class Dressed(App[R]):
    """An application in one of memtop's themes.

    Args:
        ascii: draw with ASCII only.
        palette: what was chosen; None: none of them, so NO_COLOR and the terminal decide.
    """

    def __init__(self, *, ascii: bool, palette: Palette | None) -> None:
        # Textual would turn truecolor grey and forget NO_COLOR: mono is a theme of its own here, and who asks
        # for colours by name gets them. Empty means unset (no-color.org).
        no_color = os.environ.pop("NO_COLOR", None)
        try:
            super().__init__()
        finally:
            if no_color is not None:
                os.environ["NO_COLOR"] = no_color
        if palette is None:
            few = self.console.color_system == "standard"
            palette = MONO if no_color else ANSI if few else DARK
        self.look = Look(palette, ascii)
        self.shown = Shown()
        self._jobs: JobControl | None = None
        self._dyes = self._filters
        self.wear(palette)

    def wear(self, palette: Palette) -> None:
        """Draws everything in these colours from now on."""
        self.look.palette = palette
        # Textual's own widgets know no theme without colour.
        last = [NoColor()] if palette is MONO else []
        self._filters = [*self._dyes, *last, *([Spelled()] if self.look.ascii else [])]
        self.register_theme(palette.textual)
        self.theme = palette.textual.name

    def refresh_css(self, animate: bool = True) -> None:
        """Brings Textual's own widgets into the theme; without animation, for a theme that was just put on.

        That takes 10 to 20 ms, and is not waited for: what memtop draws has its colours from the palette.
        """
        if animate:
            super().refresh_css(animate)
        else:
            self.call_after_refresh(super().refresh_css, animate)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        if self._jobs is not None and self._jobs.away:
            return
        if isinstance(renderable, ChopsUpdate | LayoutUpdate):
            renderable = cast("RenderableType", News(renderable, self.shown))
        super()._display(screen, renderable)

    def _build_driver(
        self, headless: bool, inline: bool, mouse: bool, size: tuple[int, int] | None
    ) -> Driver:
        driver = super()._build_driver(headless, inline, mouse, size)
        if isinstance(driver, LinuxDriver):
            self._jobs = JobControl(driver, self.redraw, lambda: self._exit)
        return driver

    def redraw(self) -> None:
        """Sends every cell again: something else has written to the terminal."""
        self.shown.forget()
        with suppress(ScreenStackError):  # there is none yet, or none any more
            self.screen.refresh()

    async def on_event(self, event: events.Event) -> None:
        """A terminal of another size, or one that was given back for a while, shows nobody knows what."""
        if isinstance(event, events.Resize):
            self.shown.forget()
        await super().on_event(event)
