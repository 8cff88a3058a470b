"""Dumps where soft-dirty follows what is written: it is read and cleared in a short stop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "dump"))
from dumps import Core, Dumpee, take

from memtop.dump.image import Consistency, Freeze
from memtop.dump.job import Format, Job, dump
from memtop.dump.verify import verify
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.actions import Method

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


@pytest.mark.parametrize("format", list(Format))
def test_all_at_once(process: Dumpee, tmp_path: Path, format: Format) -> None:
    result = take(process.pid, tmp_path / "dump", format, freeze=Freeze.FULL)
    assert result.image.statement.consistency is Consistency.POINT
    if format is Format.CORE:
        judge(process, tmp_path / "dump", point=True)
    elif format is Format.SNAPSHOT:
        verify(str(tmp_path / "dump"))
