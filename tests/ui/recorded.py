"""The screen on a recorded run, as text and as styles: the same at any time, on any machine.

A view is looked at in three steps: the recording is shown up to one sample, keys are pressed, and what is on
screen is compared with ``golden/``: the text once for all themes, since no state may show by colour alone,
and the styles of each theme in the words of its palette.
"""

from __future__ import annotations

import asyncio
import difflib
import gzip
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.style import Style
from textual.pilot import Pilot

from memtop.dump.background import Dumps
from memtop.model.detail import Detail, Numa, Smaps
from memtop.model.layout import Kind
from memtop.sampler.source import Key, Position
from memtop.stream.recording import Recording, open_recording
from memtop.stream.replay import ReplaySource
from memtop.ui.ages import Age
from memtop.ui.app import MemtopApp
from memtop.ui.dressed import Dressed
from memtop.ui.theme import Palette

DATA = Path(__file__).parents[1] / "data"
GOLDEN = Path(__file__).parent / "golden"


KIB = 1024
DETAIL = Detail(
    0x7F0000000000,
    1795218067.0,
    0.0042,
    Smaps(
        0x7F0000000000,
        0x7F0000000000 + (64 << 20),
        {"Size": 65536 * KIB, "KernelPageSize": 4 * KIB, "MMUPageSize": 4 * KIB, "Rss": 65212 * KIB}
        | {"Pss": 65212 * KIB, "Pss_Dirty": 61440 * KIB, "Shared_Clean": 0, "Shared_Dirty": 0}
        | {"Private_Clean": 3772 * KIB, "Private_Dirty": 61440 * KIB, "Referenced": 65212 * KIB}
        | {"Anonymous": 61440 * KIB, "KSM": 0, "LazyFree": 0, "AnonHugePages": 6144 * KIB}
        | {"ShmemPmdMapped": 0, "FilePmdMapped": 0, "Shared_Hugetlb": 0, "Private_Hugetlb": 0}
        | {"Swap": 324 * KIB, "SwapPss": 324 * KIB, "Locked": 0},
        {"THPeligible": 1},
        ("rd", "wr", "mr", "mw", "me", "ac", "hg", "uw"),
    ),
    "may have huge pages: transparent_hugepage/enabled is madvise and it asked for them (madvise); while its "
    "writes are tracked none are made, and those there split on their first write",
    Numa("interleave:0-1", {0: 8151, 1: 8152}, 4 * KIB, {"anon": 15360, "dirty": 15360, "mapmax": 2}),
)


class LiveLike(ReplaySource):
    """Shows recorded samples as if they were taken now: a screen can't tell."""

    def __init__(self, recording: Recording, at: int | None = None) -> None:
        super().__init__(recording, at)
        self.readonly = False

    @property
    def position(self) -> Position | None:
        return None

    def detail(self, key: Key, mapping_id: int, anyway: bool, then: Callable[[Detail], None]) -> None:
        then(DETAIL)


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
        lambda: source,
        processes,
        palette=palette,
        ascii=ascii,
        cpu_share=lambda: 0.003,
        folder=folder,
        open_dumps=None if dumps is None else lambda: dumps,
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
            await settled(app, pilot)
            yield app
    finally:
        source.stop()


async def redressed(app: MemtopApp, palette: Palette) -> None:
    """The same picture in another theme."""
    await redrawn(app, palette, app.live.show)


async def redrawn(app: Dressed[Any], palette: Palette, show: Callable[[], None] | None = None) -> None:
    """The same, of any application; ``show`` draws it."""
    app.wear(palette)
    (show or app.show)()  # type: ignore[attr-defined]  # those without ``show`` have it
    for _ in range(2):
        done = asyncio.Event()
        app.call_after_refresh(done.set)
        await done.wait()


async def _stands(source: ReplaySource) -> None:
    for _ in range(6000):
        if ReplaySource.position.fget(source).stands:  # type: ignore[attr-defined]  # a property has it
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the recording does not come to stand")


async def settled(app: MemtopApp, pilot: Pilot[int]) -> None:
    """What a sample changes in the layout (a scroll bar) comes one refresh after it."""
    table, seen = app.live.table, [""]
    for _ in range(500):
        seen.append(styles(app))
        overflows = table.virtual_size.height > table.container_size.height
        scrolls = table.show_vertical_scrollbar == overflows or not table.display
        if seen[-3:] == [seen[-1]] * 3 and scrolls:
            return
        await pilot.pause()
    raise AssertionError("the picture does not come to rest")


LETTERS = {
    "text": "t",
    "dim": "d",
    "faint": "f",
    "strong": "s",
    "accent": "a",
    "good": "g",
    "warn": "w",
    "trouble": "!",
    "spark": "k",
    "cursor": "c",
    **{f"age.{age.name.lower()}": str(int(age)) for age in Age},
    **{f"kind.{kind.label}": chr(ord("A") + kind) for kind in Kind},
}
"""One letter a style; ``>`` in front: in the selected row, ``^``: what lies over the page; ``?``: Textual's.

Where two styles look the same in a theme, the first one's letter stands for both.
"""


def styles(app: Dressed[Any]) -> str:
    """The styles on screen, one line a row, runs as letter and length: ``t80``."""
    names = roles(app.look.palette)
    lines = []
    for strip in app.screen._compositor.render_strips():
        runs: list[list[Any]] = []
        for text, style, *_ in strip:
            letter = names.get(_drawn(style), "?")
            if runs and runs[-1][0] == letter:
                runs[-1][1] += cell_len(text)
            else:
                runs.append([letter, cell_len(text)])
        lines.append(" ".join(f"{letter}{length}" for letter, length in runs) + "\n")
    return "".join(lines)


def _drawn(style: Style | None) -> str:
    return str(
        Style() if style is None else style.without_color + Style(color=style.color, bgcolor=style.bgcolor)
    )


def roles(palette: Palette) -> dict[str, str]:
    """The letter of each style."""
    found: dict[str, str] = {}
    styles = {name: getattr(palette, name) for name in LETTERS if "." not in name}
    styles |= {f"age.{age.name.lower()}": palette.ages[age] for age in Age}
    styles |= {f"kind.{kind.label}": palette.kinds[kind] for kind in Kind}
    for name, style in styles.items():
        for mark, layer in (("", Style()), (">", palette.selected), ("^", palette.raised)):
            found.setdefault(_drawn(style + layer), mark + LETTERS[name])
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
