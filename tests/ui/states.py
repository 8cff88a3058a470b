"""Everything that memtop can be in and has to say, on a source without a kernel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fake import FakeSource
from fake_target import FakeTarget
from fake_world import TIME, process, world
from real import kernel, tracking
from recorded import settled
from screen import opened

from memtop.model.actions import Notice
from memtop.model.coverage import Coverage
from memtop.model.sample import Life, Sample, TrackerInfo
from memtop.sampler import telling
from memtop.ui.app import MemtopApp
from memtop.ui.theme import Palette

PTRACE, NOT_PERMITTED = tracking(kernel(scan=True, soft_dirty=False))
KERNEL, CANNOT = tracking(kernel(scan=False, soft_dirty=False))
LESSER, DEGRADED = tracking(kernel(scan=True, soft_dirty=True))
TITLE = "redis-server 4711"
LATER = TIME + 45
BY_BITS = bytes(
    {
        Coverage.FRESH: Coverage.SOFT_DIRTY_NEW,
        Coverage.OTHER_WRITERS: Coverage.SOFT_DIRTY_SHARED,
        **dict.fromkeys((Coverage.EXACT, Coverage.FILE_LEFT_OUT, Coverage.BUSY), Coverage.SOFT_DIRTY),
    }.get(known, known)  # type: ignore[call-overload]  # other bytes stay as they are
    for known in range(256)
)
"""What soft-dirty says of mappings, for what write-protect does."""


@dataclass(frozen=True)
class State:
    """What is looked at.

    Attributes:
        keys: pressed when everything else stands.
        ticks: samples before that.
        changes: to every sample.
        notice: what the source says then.
    """

    name: str
    keys: Sequence[str] = ()
    ticks: int = 5
    arm: bool = True
    readonly: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    notice: Notice | None = None
    two: bool = False


def tracker(info: TrackerInfo) -> dict[str, Any]:
    """A change of the tracker; the fake's world has so many mappings."""
    armed = 0 if info.name == "off" else 22
    return {"tracker": replace(info, armed=armed, mappings=35)}


STATES = (
    State("waiting", ticks=0, arm=False),
    State("not-tracked", arm=False),
    State("tracked"),
    State("baseline", ticks=1),
    State("question-track", ["w"], arm=False),
    State("question-clear", ["c"]),
    State("question-clear-4", ["c", "4"]),
    State("readonly", ["w"], arm=False, readonly=True),
    State("not-permitted", arm=False, changes=tracker(PTRACE), notice=NOT_PERMITTED),
    State("kernel-cannot", arm=False, changes=tracker(KERNEL), notice=CANNOT),
    State("degraded", changes=tracker(LESSER), notice=DEGRADED),
    State(
        "stretched",
        changes={"stretched": True, "interval": 4.0, "message": telling.stretched(4.0, 0.02, TITLE)},
    ),
    State(
        "execed",
        arm=False,
        changes={"life": Life.EXECED, "message": telling.ran_exec(TITLE, LATER, True)},
    ),
    State("ended", changes={"life": Life.ENDED, "message": telling.ended(TITLE, LATER)}),
    State("help-after-refusal", ["question_mark"], arm=False, changes=tracker(PTRACE), notice=NOT_PERMITTED),
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
            screen.app.live.notify_user(state.notice)
        await screen.press(*state.keys)
        await settled(screen.app, screen.pilot)
        yield screen.app


def _change(target: FakeTarget, changes: dict[str, Any]) -> None:
    taken = target.sample

    def sample(interval: float) -> Sample:
        now = replace(taken(interval), **changes)
        by_bits = now.tracker.name == "soft-dirty"
        return replace(now, coverage=now.coverage.translate(BY_BITS)) if by_bits else now

    target.sample = sample  # type: ignore[method-assign]  # of this one only
