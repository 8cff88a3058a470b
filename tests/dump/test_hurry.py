"""A dump that has to wait for a processor goes ahead of others in its last rounds, no longer than it may."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dumps import Core, Dumpee
from harness import wait_for

from memtop.dump import engine, hurry
from memtop.dump.feed import Written
from memtop.dump.hurry import BUDGET_S, LONG_S, MOST, Hurry
from memtop.dump.image import Consistency, Freeze
from memtop.dump.job import Format, Job, dump
from memtop.dump.progress import Progress
from memtop.dump.verify import verify
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.linux.standstill import urgent
from memtop.model.runs import PageRuns

NOTHING = Written(PageRuns())


class Clock:
    """Both clocks, and whether, and how long, this thread was ahead of others."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wall = self.used = self.spent = 0.0
        self.ahead = False
        patch.setattr(hurry.time, "monotonic", lambda: self.wall)
        patch.setattr(hurry.time, "thread_time", lambda: self.used)
        patch.setattr(hurry, "urgent", self.urgent)

    @contextmanager
    def urgent(self) -> Iterator[None]:
        self.ahead = True
        yield
        self.ahead = False

    def look(self, used: float, waited: float = 0.0) -> Callable[[], Written]:
        def take() -> Written:
            self.use(used)
            self.wall += waited
            return NOTHING

        return take

    def use(self, seconds: float) -> None:
        self.spent += seconds if self.ahead else 0.0
        self.used += seconds
        self.wall += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    with monkeypatch.context() as patch:  # ends before pytest looks at the clock
        yield Clock(patch)


@pytest.mark.parametrize(
    ("used", "waited", "pages", "ahead"),
    [
        (0.004, 0.05, 1000, True),
        (0.004, 0.05, MOST + 1, False),
        (0.004, 0.001, 1000, False),
        (LONG_S, 1.0, 1000, False),
    ],
    ids=["it waits", "many pages", "it does not wait", "a look takes long in itself"],
)
def test_when_it_is_needed(clock: Clock, used: float, waited: float, pages: int, ahead: bool) -> None:
    hurried = Hurry()
    assert hurried.look(clock.look(used, waited)) is NOTHING
    hurried.before(pages)
    assert (hurried.on, clock.ahead) == (ahead, ahead)
    hurried.end()
    assert (hurried.on, clock.ahead) == (False, False)


def test_it_stays_until_a_round_is_large(clock: Clock) -> None:
    hurried = Hurry()
    for pages, ahead in ((1000, True), (MOST, True), (MOST + 1, False), (10, True)):
        hurried.look(clock.look(0.004, 0.0 if hurried.on else 0.05))
        hurried.before(pages)
        hurried.check()
        assert clock.ahead == ahead
    hurried.end()
    hurried.end()
    assert not clock.ahead


def test_its_time_is_bounded(clock: Clock) -> None:
    """In all, however often it begins."""
    hurried = Hurry()
    for number in range(1000):
        hurried.look(clock.look(0.004, 0.05))
        hurried.before(1000)
        for _ in range(10):
            hurried.check()
            clock.use(0.001)
        if number % 3:
            hurried.end()
    assert BUDGET_S <= clock.spent < BUDGET_S + 0.03
    assert not clock.ahead


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize("freeze", [Freeze.FINAL, Freeze.NONE])
@pytest.mark.parametrize("format", [Format.CORE, Format.SNAPSHOT])
def test_a_dump_in_a_hurry_is_true(
    dumpee: Callable[..., Dumpee],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    format: Format,
    freeze: Freeze,
) -> None:
    """And leaves nothing of it to the thread that made it."""
    begun = []

    @contextmanager
    def counted() -> Iterator[None]:
        begun.append(os.sched_getscheduler(0))
        with urgent():
            yield

    monkeypatch.setattr(hurry, "WAITED", 0.0)
    monkeypatch.setattr(hurry, "LONG_S", 60.0)
    monkeypatch.setattr(hurry, "urgent", counted)
    monkeypatch.setattr(engine, "PART", 16)
    process, before = dumpee(2, 1024, 20000), os.sched_getscheduler(0)

    def watch(progress: Progress) -> None:
        """More is written in the first round than a second one is needed for."""
        if progress.round == 1 and not progress.done:
            written = process.ask("written")
            wait_for(lambda: process.ask("written") > written + 600, "it writes")

    with ProcessHandle.open(process.pid) as handle:
        job = Job(str(tmp_path / "dump"), format, freeze=freeze)
        result = dump(job, handle, probe_kernel(), watch=watch)
    assert begun
    assert os.sched_getscheduler(0) == before
    point = result.image.statement.consistency is Consistency.POINT
    assert point == (freeze is Freeze.FINAL)
    if format is Format.CORE:
        core = Core(tmp_path / "dump")
        process.judge(core.read, point=point, torn=result.image.statement.unsettled)
        core.close()
    else:
        verify(str(tmp_path / "dump"))
