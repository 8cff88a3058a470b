"""Pictures of the screen without a terminal: the same application on a display that nobody sees."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textual.pilot import Pilot

from memtop.linux.errors import Failed
from memtop.model.actions import Method
from memtop.model.sample import Process
from memtop.sampler.source import Source
from memtop.ui.app import MemtopApp
from memtop.ui.theme import DARK, Palette

POLL = 0.02
"""Seconds between two looks whether what is waited for has come."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in both its forms, and of whom it is.

    Attributes:
        time: of the sample it shows, unix seconds.
    """

    svg: str
    text: str
    process: Process
    time: float


def photograph(
    source: Source,
    processes: Sequence[Process],
    *,
    size: tuple[int, int],
    after: float,
    ascii: bool = False,
    arm_at_start: Method | None = None,
    palette: Palette = DARK,
) -> Picture:
    """Opens the screen on a source, and takes its picture some time after the first samples.

    Args:
        source: started here; not stopped.
        size: columns and rows.
        after: seconds from the first sample of the last process on; a recording stands by then.
        arm_at_start: track writes from the first sample on.

    Raises:
        RuntimeError: the screen failed.
        Failed: it is a recording without a sample that can be read.
    """
    app = MemtopApp(lambda: source, processes, ascii=ascii, arm_at_start=arm_at_start, palette=palette)
    taken: list[Picture] = []

    async def wait_and_take(pilot: Pilot[Any]) -> None:
        due = None
        while due is None or time.monotonic() < due or not _settled(app):
            await pilot.pause(POLL)
            if not app.opened:
                continue
            if due is None and all(view.sample is not None for view in app.views.values()):
                due = time.monotonic() + after
            elif due is None and _unreadable(app):
                app.exit()
                return
        app.live.wake()  # of now, if it stands
        await pilot.pause()
        view = app.live.view
        assert view.sample is not None
        taken.append(Picture(app.picture(view), app.text, view.process, view.sample.time))
        app.exit()

    app.run(headless=True, size=size, auto_pilot=wait_and_take)
    if not taken and _unreadable(app):
        raise Failed("no sample of this recording can be shown")
    if not taken:
        raise RuntimeError("the screen ended before its picture was taken")
    return taken[0]


def _settled(app: MemtopApp) -> bool:
    """Whether a recording stands where it was to be; what is live never does."""
    position = app.source.position
    return position is None or not position.recorded or position.stands


def _unreadable(app: MemtopApp) -> bool:
    """Whether it is a recording that was cut off before its first sample."""
    position = app.source.position
    return position is not None and position.recorded and position.at_end and not position.moments
