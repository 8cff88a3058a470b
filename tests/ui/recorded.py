"""The screen on a recorded run, as text and as styles: the same at any time, on any machine.

A view is looked at in three steps: the recording is shown up to one sample, keys are pressed, and what is on
screen is compared with ``golden/``: the text once for all themes, since no state may show by colour alone,
and the styles of each theme in the words of its palette.
"""

from __future__ import annotations

import asyncio
import difflib
import gzip
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from rich.style import Style
from textual.pilot import Pilot

from memtop.dump.background import Dumps
from memtop.model.layout import Kind
from memtop.sampler.source import Position
from memtop.stream.recording import Recording, open_recording
from memtop.stream.replay import ReplaySource
from memtop.ui.ages import Age
from memtop.ui.app import MemtopApp
from memtop.ui.theme import Palette

DATA = Path(__file__).parents[1] / "data"
GOLDEN = Path(__file__).parent / "golden"


class LiveLike(ReplaySource):
    """Shows recorded samples as if they were taken now: a screen can't tell."""

    def __init__(self, recording: Recording, at: int | None = None) -> None:
        super().__init__(recording, at)
        self.readonly = False

    @property
    def position(self) -> Position | None:
        return None


@dataclass(frozen=True)
class View:
    """What is looked at.

    Attributes:
        name: of the golden files.
        keys: pressed when the sample stands; ``+N`` steps N samples in place of a key.
        at: which sample, from 1.
        live: as if the samples were taken now.
        samples: so many lines of samples are in the recording.
    """

    name: str
    keys: Sequence[str] = ()
    at: int = 6
    live: bool = True
    samples: int = 1000
    recording: str = "demo"


def recorded(name: str, folder: Path, samples: int = 1000) -> Recording:
    """A recording of tests/data with at most so many samples."""
    lines = gzip.decompress((DATA / f"{name}.jsonl.gz").read_bytes()).splitlines(keepends=True)
    path = folder / f"{name}.jsonl"
    path.write_bytes(b"".join(lines[: samples + 1]))
    return open_recording(str(path))


@asynccontextmanager
async def shown(
    view: View,
    size: tuple[int, int],
    palette: Palette,
    folder: Path,
    *,
    ascii: bool = False,
    dumps: Dumps | None = None,
) -> AsyncIterator[MemtopApp]:
    """The application where the view's keys have led it."""
    recording = recorded(view.recording, folder, view.samples)
    processes = recording.processes()
    source = (LiveLike if view.live else ReplaySource)(recording, view.at)
    app = MemtopApp(
        source,
        processes,
        palette=palette,
        ascii=ascii,
        cpu_share=lambda: 0.003,
        folder=folder,
        dumps=dumps,
    )
    try:
        async with app.run_test(size=size) as pilot:
            await _stands(source)
            await pilot.pause()
            for key in view.keys:
                await pilot.press(key)
                await pilot.pause()
                await _stands(source)
                await pilot.pause()
            await _settled(app, pilot)
            yield app
    finally:
        source.stop()


async def _stands(source: ReplaySource) -> None:
    for _ in range(500):
        if ReplaySource.position.fget(source).stands:  # type: ignore[attr-defined]
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the recording does not come to stand")


async def _settled(app: MemtopApp, pilot: Pilot[int]) -> None:
    """What a sample changes in the layout (a scroll bar) comes one refresh after it."""
    table, seen = app.live.table, [""]
    for _ in range(500):
        seen.append(styles(app))
        overflows = table.virtual_size.height > table.container_size.height
        if seen[-3:] == [seen[-1]] * 3 and table.show_vertical_scrollbar == overflows:
            return
        await pilot.pause()
    raise AssertionError("the picture does not come to rest")


def styles(app: MemtopApp) -> str:
    """The styles on screen, one line a row: ``row  column role  column role …``."""
    names = roles(app.look.palette)
    lines = []
    for y, strip in enumerate(app.screen._compositor.render_strips()):
        x, last, parts = 0, "", [f"{y:2}"]
        for text, style, *_ in strip:
            name = names.get(_drawn(style), str(style))
            if name != last:
                parts.append(f"{x} {name}")
            x, last = x + len(text), name
        lines.append("  ".join(parts) + "\n")
    return "".join(lines)


def _drawn(style: Style | None) -> str:
    return str(
        Style() if style is None else style.without_color + Style(color=style.color, bgcolor=style.bgcolor)
    )


def roles(palette: Palette) -> dict[str, str]:
    """What each style says; where two look the same, the first one's name stands for both."""
    found: dict[str, str] = {}

    def add(name: str, style: Style) -> None:
        found.setdefault(_drawn(style), name)
        found.setdefault(_drawn(style + palette.selected), f"{name}/selected")
        found.setdefault(_drawn(style + palette.raised), f"{name}/raised")

    for field in fields(palette):
        value = getattr(palette, field.name)
        if isinstance(value, Style) and field.name not in ("selected", "raised"):
            add(field.name, value)
    for age in Age:
        add(f"age.{age.name.lower()}", palette.ages[age])
    for kind in Kind:
        add(f"kind.{kind.label}", palette.kinds[kind])
    return found


def compare(name: str, actual: str, update: bool, picture: str, folder: Path) -> None:
    """Compares with a golden file, or writes it.

    Raises:
        AssertionError: with the difference, and where the picture of now is.
    """
    path = GOLDEN / name
    if update:
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(actual, encoding="utf-8")
        return
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    if actual != expected:
        svg = folder / f"{name}.svg"
        svg.write_text(picture, encoding="utf-8")
        both = expected.splitlines(), actual.splitlines()
        diff = "\n".join(difflib.unified_diff(*both, "golden", "now", lineterm="", n=0))
        raise AssertionError(f"{name} (--update-golden takes it over; picture: {svg})\n{diff}")
