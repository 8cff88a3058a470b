"""Golden pictures of the dump dialog, of a dump that runs, and of what is said when it is over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from recorded import View, compare, shown, styles

from memtop.dump.background import Dumps, Outcome, Underway
from memtop.dump.image import Area, Consistency, Freeze, Image, Origin, PageKind, Round, Run, Statement
from memtop.dump.job import Format, Job
from memtop.dump.progress import Progress, Result
from memtop.model.layout import PAGE, Kind, Perm
from memtop.sampler.source import Key
from memtop.ui.app import MemtopApp
from memtop.ui.theme import DARK, MONO, Palette

SIZES = ((60, 15), (80, 24), (120, 40))
THEMES = {"dark": DARK, "mono": MONO}


@dataclass(frozen=True, slots=True)
class Steady(Underway):
    """Always as fast."""

    @property
    def speed(self) -> float:
        return 1.4e9


class StillDumps(Dumps):
    """Makes none; all it says stays the same."""

    def __init__(self, *, known: bool = False) -> None:
        self.busy, self.last, self.snapshots = None, None, {}
        self.speed, self.overhead = (1.6e9, 0.003) if known else (None, None)
        self.room = 12 << 30

    @staticmethod
    def now() -> float:
        return 1795218067.0

    def free(self, path: str) -> int | None:  # type: ignore[override]  # of the method of a class
        return self.room

    @staticmethod
    def core_filter(pid: int) -> int:
        return 0x33

    def continues(self, key: Key, parent: str) -> bool:
        return False


def _job(format: Format = Format.CORE) -> Job:
    return Job("memtop-demo-811-20261120T234107Z.core", format)


def _runs(app: MemtopApp, progress: Progress, **options: Any) -> None:
    view = app.live.view
    app.open_dumps().busy = Steady(view.key, view.title, _job(), 0.0, 0.0, progress, **options)
    app.live.show()


def _over(app: MemtopApp) -> None:
    view = app.live.view
    origin = Origin(811, 1, "b", "6.18", "db-07", "memtop-demo", 62, 0.0)
    said = Statement(
        freeze=Freeze.FINAL,
        consistency=Consistency.POINT,
        tracker="write-protect",
        exactness="exact",
        ended_because="",
        rounds=[Round(80000, 0.2), Round(900, 0.01)],
        stop_s=0.0031,
        longest_s=0.0028,
        threads=4,
        final_pages=120,
        unsettled=0,
    )
    at, pages = 0x7F0000000000, 300 << 8
    held = (Run(at, pages, PageKind.DATA),)
    area = Area(at, at + pages * PAGE, Perm.READ, Kind.ANON, 0, 0, 0, 0, b"", True, runs=held)
    result = Result(Image(origin, (area,), said, b""), 0.4, 330 << 20, ["shared memory is not followed"])
    program = "/usr/bin/python3.11"
    outcome = Outcome(view.key, view.title, _job(), result, open_with=f"gdb {program} {_job().path}")
    app.live.report.show(outcome, app.size.width)


VIEWS = {
    "dump-form": ["d"],
    "dump-file": ["d", "down"],
    "dump-snapshot": ["d", "right", "down", "down", "right"],
    "dump-frozen": ["space", "d", "up", "right"],
    "dump-no-room": ["d"],
    "dump-round": [],
    "dump-stop": [],
    "dump-over": [],
}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", VIEWS)
async def test_looks_as_it_should(
    name: str, size: tuple[int, int], theme: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    update = request.config.getoption("--update-golden")
    palette: Palette = THEMES[theme]
    dumps = StillDumps(known=name == "dump-snapshot")
    if name == "dump-no-room":
        dumps.room = 100 << 20
    async with shown(View(name, VIEWS[name]), size, palette, tmp_path, dumps=dumps) as app:
        await _lead(app, name)
        said = f"{name}-{size[0]}x{size[1]}"
        picture = app.picture(app.live.view)
        compare(f"{said}.txt", app.text, update and theme == next(iter(THEMES)), picture, tmp_path)
        compare(f"{said}.{theme}", styles(app), update, picture, tmp_path)


@pytest.mark.parametrize("name", VIEWS)
async def test_is_drawn_in_ascii_alone(name: str, tmp_path: Path) -> None:
    view = View(name, VIEWS[name])
    async with shown(view, (80, 24), MONO, tmp_path, ascii=True, dumps=StillDumps()) as app:
        await _lead(app, name)
        assert app.text.isascii()
        assert "?" not in app.text.replace("? help", "")  # nothing without a stand-in


async def _lead(app: MemtopApp, name: str) -> None:
    """To the state that keys alone do not lead to."""
    if name == "dump-round":
        _runs(app, Progress(2, 5200, 20480, 400 << 20, 20480))
    elif name == "dump-stop":
        _runs(app, Progress(3, 500, 500, 400 << 20, 500, frozen=True))
    elif name == "dump-over":
        _over(app)
    await _drawn(app)


async def _drawn(app: MemtopApp) -> None:
    before = ""
    for _ in range(3000):
        await asyncio.sleep(0.02)
        choice = app.live.form.choice
        if app.text == before and (choice is None or choice.place is not None):
            return
        before = app.text
    raise AssertionError("the picture does not come to rest")
