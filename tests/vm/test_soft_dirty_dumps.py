"""Dumps where soft-dirty follows what is written: it is read and cleared in a short stop."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "dump"))
from desk import Desk
from dumps import Core, Dumpee, take
from harness import PAGE, spawned, wait_for
from life import MERGEABLE, Life

from memtop.dump.image import Consistency, Freeze
from memtop.dump.job import Format, Job, dump
from memtop.dump.progress import Progress
from memtop.dump.verify import verify
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.actions import Method

KSM = Path("/sys/kernel/mm/ksm")
pytestmark = [pytest.mark.usefixtures("needs_soft_dirty"), pytest.mark.usefixtures("needs_ptrace")]


@pytest.fixture
def process(build: Callable[[str], Path]) -> Iterator[Dumpee]:
    """Three threads that write; under emulation not as fast as they can."""
    with Dumpee(build("dumpee"), 3, 64, 300) as process:
        yield process


def judge(process: Dumpee, path: Path, *, point: bool) -> tuple[int, int]:
    core = Core(path)
    try:
        return process.judge(core.read, point=point)
    finally:
        core.close()


def test_one_point_in_time(process: Dumpee, tmp_path: Path) -> None:
    for i in range(5):
        path = tmp_path / f"{i}"
        before = process.ask("written")
        with ProcessHandle.open(process.pid) as handle:
            result = dump(Job(str(path)), handle, probe_kernel(), method=Method.SOFT_DIRTY)
        statement = result.image.statement
        assert statement.tracker == "soft-dirty"
        assert statement.consistency is Consistency.POINT
        assert statement.rounds
        assert any("more stops" in doubt for doubt in statement.doubts)  # to read and clear
        _, at = judge(process, path, point=True)
        assert before <= at <= process.ask("written")


def test_nothing_torn_without_a_last_stop(process: Dumpee, tmp_path: Path) -> None:
    with ProcessHandle.open(process.pid) as handle:
        job = Job(str(tmp_path / "core"), freeze=Freeze.NONE)
        statement = dump(job, handle, probe_kernel(), method=Method.SOFT_DIRTY).image.statement
    assert statement.consistency is Consistency.PAGES
    if not statement.unsettled:
        judge(process, tmp_path / "core", point=False)


def test_beside_a_screen_whose_ticks_clear_too(process: Dumpee, tmp_path: Path) -> None:
    """Without --freeze: for as long as the dump takes, its ticks are made in stops, and nothing is missed."""
    at = Desk(process.pid, 0.05, Method.SOFT_DIRTY)
    try:
        for i in range(4):
            outcome = at.make(tmp_path / f"{i}")
            assert outcome.result is not None, outcome.error
            statement = outcome.result.image.statement
            assert statement.consistency is Consistency.POINT
            assert any("more stops" in doubt for doubt in statement.doubts)
            assert not any("older" in doubt for doubt in statement.doubts)
            judge(process, tmp_path / f"{i}", point=True)
        seen = len(at.samples)
        wait_for(lambda: len(at.samples) > seen + 2, "samples")
        assert at.samples[-1].cost.stop_s == 0, "it is stopped no more"
        assert not at.notices
    finally:
        at.close()


def test_a_stop_that_is_not_to_be_had_is_said(
    process: Dumpee, tmp_path: Path, build: Callable[[str], Path]
) -> None:
    with spawned(
        [build("tracer"), str(process.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tracer:
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == b"ok\n"
        with ProcessHandle.open(process.pid) as handle:
            job = Job(str(tmp_path / "core"), freeze=Freeze.NONE)
            statement = dump(job, handle, probe_kernel(), method=Method.SOFT_DIRTY).image.statement
    assert statement.consistency is Consistency.TORN
    assert any("pages may be older" in doubt and "tracer" in doubt for doubt in statement.doubts)


@pytest.mark.parametrize("format", list(Format))
def test_all_at_once(process: Dumpee, tmp_path: Path, format: Format) -> None:
    result = take(process.pid, tmp_path / "dump", format, freeze=Freeze.FULL)
    assert result.image.statement.consistency is Consistency.POINT
    if format is Format.CORE:
        judge(process, tmp_path / "dump", point=True)
    elif format is Format.SNAPSHOT:
        verify(str(tmp_path / "dump"))


@pytest.mark.parametrize("freeze", [Freeze.FINAL, Freeze.NONE], ids=lambda freeze: freeze.value)
def test_what_was_written_and_then_merged(
    life: Life, tmp_path: Path, freeze: Freeze, merge: Callable[[Callable[[], bool]], None]
) -> None:
    """KSM takes the soft-dirty bits away: such pages are read again in the stop, or doubted."""
    area = life.map(512)
    area.write()
    area.advise(MERGEABLE)
    same = bytes(PAGE - 4) + b"same"
    written = False

    def watch(progress: Progress) -> None:
        """Between the last look of the rounds and the stop."""
        nonlocal written
        if written or not progress.frozen:
            return
        for page in range(area.pages):
            life.put(area.at(page), same)
        merge(lambda: int((KSM / "pages_sharing").read_text()) > 400)
        written = True

    if freeze is Freeze.NONE:
        merge(lambda: True)
    with ProcessHandle.open(life.pid) as handle:
        job = Job(str(tmp_path / "core"), freeze=freeze)
        statement = dump(job, handle, probe_kernel(), method=Method.SOFT_DIRTY, watch=watch).image.statement
    if freeze is Freeze.NONE:
        assert any("nothing follows" in doubt for doubt in statement.doubts)
        return
    core = Core(tmp_path / "core")
    try:
        assert core.read(area.start, area.bytes) == same * area.pages
    finally:
        core.close()
    assert written
    assert statement.final_pages >= area.pages


@pytest.fixture
def merge(needs_guest: None) -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Has same pages merged until a condition holds."""
    if not KSM.exists():
        pytest.skip("missing capability: KSM (not in this kernel)")

    def until(condition: Callable[[], bool]) -> None:
        for name, value in (("pages_to_scan", "2000"), ("sleep_millisecs", "5"), ("run", "1")):
            (KSM / name).write_text(value)
        wait_for(condition, "merged pages", 60)

    yield until
    (KSM / "run").write_text("2")  # takes them apart
    (KSM / "run").write_text("0")
