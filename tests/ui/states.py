"""Everything that memtop can be in and has to say, on a source without a kernel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fake import FakeSource, FakeTarget, process, world
from recorded import settled
from screen import opened

from memtop.model.coverage import Exactness
from memtop.model.sample import Life, Sample, TrackerInfo
from memtop.ui.app import MemtopApp
from memtop.ui.theme import Palette

PTRACE = (
    "writes of redis-server 4711 can't be tracked: Yama's ptrace_scope 1 lets only ancestors trace a process "
    "(run memtop as root, or set kernel.yama.ptrace_scope to 0)"
)
KERNEL = "writes can't be tracked: this kernel (5.10.0) has neither PAGEMAP_SCAN (6.7) nor soft-dirty bits"
FALLBACK = "soft-dirty: userfaultfd is not there (a sandbox refuses it, or the kernel is older than 6.7)"
STRETCHED = (
    "samples come every 4.0 s, so that write faults cost redis-server 4711 at most 2 % of a processor"
    " (--max-cost)"
)


@dataclass(frozen=True)
class State:
    """What is looked at.

    Attributes:
        keys: pressed when everything else stands.
        ticks: samples before that.
        changes: to every sample.
        notice: text and severity.
    """

    name: str
    keys: Sequence[str] = ()
    ticks: int = 5
    arm: bool = True
    readonly: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    notice: tuple[str, str] | None = None
    two: bool = False


def tracker(name: str, exact: Exactness, note: str) -> dict[str, Any]:
    """A change of the tracker."""
    armed = 0 if name == "off" else 22
    return {"tracker": TrackerInfo(name, exact, note, armed, 35)}


STATES = (
    State("waiting", ticks=0, arm=False),
    State("not-tracked", arm=False),
    State("tracked"),
    State("baseline", ticks=1),
    State("question-track", ["w"], arm=False),
    State("question-clear", ["c"]),
    State("question-clear-4", ["c", "4"]),
    State("readonly", ["w"], arm=False, readonly=True),
    State("not-permitted", arm=False, notice=(PTRACE, "error")),
    State(
        "kernel-cannot", arm=False, changes=tracker("off", Exactness.NONE, KERNEL), notice=(KERNEL, "warning")
    ),
    State(
        "degraded",
        changes=tracker("soft-dirty", Exactness.APPROXIMATE, FALLBACK),
        notice=(FALLBACK, "warning"),
    ),
    State("stretched", changes={"stretched": True, "interval": 4.0, "message": STRETCHED}),
    State(
        "ended",
        changes={
            "life": Life.ENDED,
            "message": "redis-server 4711 ended at 23:41:52; this is its last picture",
        },
    ),
    State("two-processes", ["n"], two=True),
    State("page-in-hex", ["down", "enter", "enter"]),
    State("help", ["question_mark"]),
    State("commands", ["colon"]),
)


@asynccontextmanager
async def in_state(
    state: State, size: tuple[int, int], palette: Palette, folder: Path
) -> AsyncIterator[MemtopApp]:
    """The application in a state."""
    targets = [FakeTarget(process(), world())]
    if state.two:
        targets.append(FakeTarget(process(812, "postgres", "postgres"), world()[:6], 2))
    for each in targets:
        _change(each, state.changes)
    source = FakeSource(*targets, readonly=state.readonly)
    async with opened(
        source, size, ticks=state.ticks, arm=state.arm, palette=palette, folder=folder
    ) as screen:
        if state.notice is not None:
            screen.app.live.say(*state.notice)
        await screen.press(*state.keys)
        await settled(screen.app, screen.pilot)
        yield screen.app


def _change(target: FakeTarget, changes: dict[str, Any]) -> None:
    taken = target.sample

    def sample(interval: float) -> Sample:
        return replace(taken(interval), **changes)

    target.sample = sample  # type: ignore[method-assign]
