"""Scroll bars: importing this changes all of Textual's."""

from __future__ import annotations

from typing import ClassVar

from textual.scrollbar import ScrollBar, ScrollBarRender


class Bars(ScrollBarRender):
    """A scroll bar of whole cells, without the eighths that only some fonts and no ASCII has."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "]


ScrollBar.renderer = Bars
