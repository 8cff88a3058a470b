"""The same memory mapped more than once: a write through one mapping is a write to all, in a dump as well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dumps import Core
from harness import PAGE
from life import MMAP, PRIVATE, RW, SHARED, Life, Span

from memtop.dump.image import Consistency
from memtop.dump.job import Job, dump
from memtop.dump.plan import Range
from memtop.dump.progress import Progress
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle

pytestmark = pytest.mark.usefixtures("needs_write_protect")
PAGES = 16


def memfd(life: Life) -> tuple[Span, Span]:
    fd = life.memfd(PAGES)
    return life.map(PAGES, SHARED, fd), life.map(PAGES, SHARED, fd)


def shifted(life: Life) -> tuple[Span, Span]:
    """The second one begins in the middle of the first, and ends with it."""
    fd = life.memfd(2 * PAGES)
    first = life.map(2 * PAGES, SHARED, fd)
    at = life.sys(MMAP, 0, PAGES * PAGE, RW, SHARED, fd, PAGES * PAGE)
    return Span(life, first.at(PAGES), PAGES), Span(life, at, PAGES)


def private(life: Life) -> tuple[Span, Span]:
    """Nothing of it was written privately: it shows what the other one writes."""
    fd = life.memfd(PAGES)
    return life.map(PAGES, SHARED, fd), life.map(PAGES, PRIVATE, fd)


@pytest.mark.parametrize("only", [False, True], ids=["all", "the other alone"])
@pytest.mark.parametrize("stop", [False, True], ids=["copying", "before the stop"])
@pytest.mark.parametrize("kind", [memfd, shifted, private], ids=lambda kind: kind.__name__)
def test_written_through_another_mapping(
    life: Life, tmp_path: Path, kind: Callable[[Life], tuple[Span, Span]], stop: bool, only: bool
) -> None:
    written, other = kind(life)
    written.write()
    other.read()
    new, done = bytes(range(1, 9)) * (PAGE // 8), False

    def watch(progress: Progress) -> None:
        nonlocal done
        if not done and (progress.frozen if stop else progress.round > 1 or progress.frozen):
            done = True
            for page in (3, 4, 9):
                life.put(written.at(page), new)

    job = Job(str(tmp_path / "core"), take_all=True, only=(Range(other.start, other.end),) if only else ())
    with ProcessHandle.open(life.pid) as handle:
        statement = dump(job, handle, probe_kernel(), watch=watch).image.statement
    assert done
    assert statement.consistency is Consistency.POINT
    core = Core(tmp_path / "core")
    try:
        for page in (3, 4, 9):
            assert core.read(other.at(page), PAGE) == new
    finally:
        core.close()
