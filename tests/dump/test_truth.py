"""Dumps of a process that writes all the time, judged by what its pages say."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from crit import Images
from dumps import Core, Dumpee, take

from memtop.dump import engine
from memtop.dump.chain import Chain
from memtop.dump.feed import OwnFeed
from memtop.dump.image import Consistency, Freeze
from memtop.dump.job import Format, Job, dump
from memtop.dump.verify import verify
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.layout import PAGE, RUN
from memtop.model.runs import PageRuns

pytestmark = pytest.mark.usefixtures("needs_write_protect")


def read_snapshot(chain: Chain) -> Callable[[int, int], bytes]:
    return lambda start, size: bytes(chain.load(PageRuns(RUN.pack(start, size // PAGE, 0)), hashed=False)[0])


def judge(process: Dumpee, path: Path, format: Format, *, point: bool, torn: int = 0) -> tuple[int, int]:
    if format is Format.CORE:
        core = Core(path)
        try:
            return process.judge(core.read, point=point, torn=torn)
        finally:
            core.close()
    if format is Format.CRIU:
        return process.judge(Images(path, process.pid).read, point=point, torn=torn)
    verify(str(path))
    with Chain(str(path)) as chain:
        return process.judge(read_snapshot(chain), point=point, torn=torn)


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


def test_an_increment_on_top_of_one_that_nothing_stood_still_for(
    dumpee: Callable[..., Dumpee], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tracker had told of by then, it does not tell again."""
    monkeypatch.setattr(engine, "SETTLE", 1)
    process = dumpee(2, 512, 2000)
    with ExitStack() as stack:
        chain = Chained(process, FORMS[-1], tmp_path, stack)
        stack.callback(chain.forget)
        chain.follow()
        for i in range(6):
            chain.one([Freeze.NONE, Freeze.FINAL][i % 2], f"{i}")


def test_a_chain_while_it_writes(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    process = dumpee(2, 96, 2000)
    parent = None
    for i in range(6):
        take(process.pid, tmp_path / f"{i}", Format.SNAPSHOT, parent=parent, compress=i % 2 == 1)
        parent = str(tmp_path / f"{i}")
    for i in range(6):
        judge(process, tmp_path / f"{i}", Format.SNAPSHOT, point=True)


# ---- many
# ------------------------------------------------------------------------------------------------------

MANY = 1000 if "MEMTOP_LONG" in os.environ else 36


@dataclass(frozen=True)
class Form:
    """A kind of file."""

    format: Format
    compress: bool = False
    increment: bool = False
    tracked: bool = False  # the tracker is kept, and what it does not tell is not read


FORMS = (
    Form(Format.CORE),
    Form(Format.CRIU),
    Form(Format.SNAPSHOT),
    Form(Format.SNAPSHOT, compress=True),
    Form(Format.SNAPSHOT, increment=True),
    Form(Format.SNAPSHOT, compress=True, increment=True),
    Form(Format.SNAPSHOT, increment=True, tracked=True),
)
TARGETS = (
    (1, 64, 0),
    (3, 48, 0),
    (8, 16, 1000),
    (1, 128, 20000),
    (16, 8, 0),
    (2, 64, 100),
)  # threads, pages, rate
CHAIN = 5
"""Increments on top of one another, before a chain begins anew."""


class Chained:
    """The dumps of one form of one process."""

    def __init__(self, process: Dumpee, form: Form, directory: Path, stack: ExitStack) -> None:
        self.process, self.form, self._directory = process, form, directory
        self._handle = stack.enter_context(ProcessHandle.open(process.pid))
        self._files: list[Path] = []
        self._feed: OwnFeed | None = None

    def follow(self) -> None:
        """Only one tracker can have a process: it is kept for this chain."""
        self._feed = OwnFeed(self._handle, probe_kernel())

    def forget(self) -> None:
        if self._feed is not None:
            self._feed.close()
        self._feed = None
        self._remove(self._files)
        self._files = []

    def one(self, freeze: Freeze, name: str) -> None:
        """A dump, and what it says."""
        form, process = self.form, self.process
        parent = self._files[-1] if form.increment and self._files else None
        path = self._directory / name
        job = Job(
            str(path), form.format, str(parent) if parent else None, freeze=freeze, compress=form.compress
        )
        before = process.ask("written")
        result = dump(
            job, self._handle, probe_kernel(), feed=self._feed, since_parent=bool(self._feed and parent)
        )
        after = process.ask("written")
        self._files.append(path)
        statement = result.image.statement
        point = freeze is not Freeze.NONE
        assert statement.consistency is (Consistency.POINT if point else Consistency.PAGES)
        assert statement.unsettled == 0 or (not point and any("may be torn" in d for d in statement.doubts))
        oldest, at = judge(process, path, form.format, point=point, torn=statement.unsettled)
        if point:
            assert before <= at <= after
        elif process.threads == 1:  # nothing older than the beginning of the dump
            assert oldest >= before
        if len(self._files) > CHAIN or not form.increment:
            self._remove(self._files)
            self._files = []

    def _remove(self, files: list[Path]) -> None:
        for file in files:
            shutil.rmtree(file) if file.is_dir() else file.unlink()


def test_many_dumps(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    """All forms and freeze modes, on processes that write with all their might and on slow ones."""
    modes = itertools.cycle([Freeze.FINAL, Freeze.FINAL, Freeze.NONE, Freeze.FULL])
    made = 0
    while made < MANY:
        for threads, pages, rate in TARGETS:
            process = dumpee(threads, pages, rate)
            for form in FORMS:
                with ExitStack() as stack:
                    chain = Chained(process, form, tmp_path, stack)
                    stack.callback(chain.forget)
                    for i in range(CHAIN + 1 if form.increment and MANY > 100 else 2):
                        freeze = next(modes)
                        if form.tracked and i == 0:
                            chain.follow()
                        if form.tracked and freeze is Freeze.FULL:  # follows nothing
                            freeze = next(modes)
                        chain.one(freeze, f"{made}")
                        made += 1
                    if made >= MANY:
                        break
            process.__exit__()
            if made >= MANY:
                break
    assert made >= MANY
