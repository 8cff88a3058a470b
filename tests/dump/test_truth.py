"""Dumps of a process that writes all the time, judged by what its pages say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from crit import Images
from dumps import Core, Dumpee, take

from memtop.dump.chain import Chain
from memtop.dump.image import Consistency, Freeze
from memtop.dump.job import Format
from memtop.dump.verify import verify
from memtop.model.layout import PAGE, RUN
from memtop.model.runs import PageRuns

pytestmark = pytest.mark.usefixtures("needs_write_protect")


def read_snapshot(chain: Chain) -> Callable[[int, int], bytes]:
    return lambda start, size: bytes(chain.load(PageRuns(RUN.pack(start, size // PAGE, 0)), hashed=False)[0])


def judge(process: Dumpee, path: Path, format: Format, *, point: bool) -> None:
    if format is Format.CORE:
        core = Core(path)
        process.judge(core.read, point=point)
        core.close()
    elif format is Format.CRIU:
        process.judge(Images(path, process.pid).read, point=point)
    else:
        verify(str(path))
        with Chain(str(path)) as chain:
            process.judge(read_snapshot(chain), point=point)


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize("freeze", [Freeze.FINAL, Freeze.FULL])
@pytest.mark.parametrize("rate", [1000, 0])
def test_one_point_in_time(
    dumpee: Callable[..., Dumpee], tmp_path: Path, format: Format, freeze: Freeze, rate: int
) -> None:
    process = dumpee(3, 96, rate)
    for i in range(3):
        before = process.ask("written")
        result = take(process.pid, tmp_path / f"{i}", format, freeze=freeze)
        assert result.image.statement.consistency is Consistency.POINT
        assert result.image.statement.threads == 4
        assert result.image.statement.stop_s > 0
        judge(process, tmp_path / f"{i}", format, point=True)
        assert process.ask("written") > before  # it runs on


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize("rate", [1000, 0])
def test_each_page_of_some_time(
    dumpee: Callable[..., Dumpee], tmp_path: Path, format: Format, rate: int
) -> None:
    process = dumpee(3, 96, rate)
    result = take(process.pid, tmp_path / "dump", format, freeze=Freeze.NONE)
    statement = result.image.statement
    assert statement.consistency is Consistency.PAGES
    assert statement.stop_s == 0
    if statement.unsettled:  # then it says so, and how many
        assert any("may be torn" in doubt for doubt in statement.doubts)
    else:
        judge(process, tmp_path / "dump", format, point=False)


def test_a_chain_while_it_writes(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    process = dumpee(2, 96, 2000)
    parent = None
    for i in range(6):
        take(process.pid, tmp_path / f"{i}", Format.SNAPSHOT, parent=parent, compress=i % 2 == 1)
        parent = str(tmp_path / f"{i}")
    for i in range(6):
        judge(process, tmp_path / f"{i}", Format.SNAPSHOT, point=True)
