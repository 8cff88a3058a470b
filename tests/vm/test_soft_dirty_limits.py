"""What soft-dirty can't see, even of a process that is stopped for each look: memtop says so of each mapping.

Each of these pages was written, and the log is the truth. Where the kernel loses it, the mapping must not say
that nothing is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import PAGE, Runs, Seen, page_count, wait_for
from life import (
    ANON,
    HUGE,
    HUGETLB,
    MAYMOVE,
    MERGEABLE,
    MOVE_FIXED,
    MREMAP,
    PAGEOUT,
    PRIVATE,
    SHARED,
    Life,
    Span,
)

from memtop.linux.features import probe_kernel
from memtop.model.actions import Care, Method
from memtop.model.coverage import Coverage, Exactness
from memtop.model.sample import MappingSample
from memtop.sampler.target import open_target

pytestmark = pytest.mark.usefixtures("needs_soft_dirty")

KSM = Path("/sys/kernel/mm/ksm")


class Watch:
    """A Life under the soft-dirty tracker, stopped for each look: that explains no page that is missed."""

    def __init__(self, life: Life) -> None:
        self.target = open_target(life.pid, probe_kernel(), care=Care(max_cost=0, freeze=True))
        self.target.arm(Method.SOFT_DIRTY)
        assert self.target.tick().baseline

    def tick(self, span: Span) -> tuple[Runs, MappingSample]:
        """What one tick tells of the span."""
        seen = Seen(self.target.tick())
        return seen.runs(span), seen.row(span)  # type: ignore[arg-type]


@pytest.fixture
def watch(life: Life) -> Iterator[Callable[[], Watch]]:
    started: list[Watch] = []

    def start() -> Watch:
        started.append(Watch(life))
        return started[-1]

    yield start
    for each in started:
        each.target.close()


def test_hugetlb_is_not_known(life: Life, watch: Callable[[], Watch], hugetlb_pages: int) -> None:
    area = life.map(hugetlb_pages * 512, PRIVATE | ANON | HUGETLB, align=HUGE)
    area.write()
    watched = watch()
    for _ in range(2):
        area.write(5, 1)
        runs, row = watched.tick(area)
        assert (runs, row.written_pages) == ([], None)
        assert (row.coverage, row.exactness) == (Coverage.NO_SOFT_DIRTY, Exactness.NONE)
        assert row.resident == area.bytes, "that is known as ever"


def test_private_memory_that_is_paged_out_is_told(
    life: Life, watch: Callable[[], Watch], zram_swap: None
) -> None:
    area = life.map(512)
    area.write()
    watched = watch()
    log = area.write(100, 50)
    area.advise(PAGEOUT)
    runs, row = watched.tick(area)
    assert row.resident != area.bytes, "some of it is out"
    assert (runs, row.coverage) == (log, Coverage.SOFT_DIRTY_FROZEN)
    area.read()
    assert watched.tick(area)[0] == [], "coming back in is no write"


def test_shared_memory_that_is_paged_out_is_not(
    life: Life, watch: Callable[[], Watch], zram_swap: None
) -> None:
    area = life.map(512, SHARED | ANON)
    area.write()
    watched = watch()
    area.write(100, 50)
    area.advise(PAGEOUT)
    runs, row = watched.tick(area)
    assert page_count(runs) < 50, "the bits went with the page table entries"
    assert row.coverage is Coverage.SOFT_DIRTY_SHARED
    assert "paged out" in row.coverage.reason


def test_another_mapping_of_the_same_memory_tells_nothing(life: Life, watch: Callable[[], Watch]) -> None:
    fd = life.memfd(64)
    here, there = life.map(64, SHARED, fd), life.map(64, SHARED, fd)
    here.write()
    there.read()
    seen = watch().target
    log = here.write(3, 4)
    sample = Seen(seen.tick())
    assert sample.runs(here) == log  # type: ignore[arg-type]
    assert sample.runs(there) == []  # type: ignore[arg-type]
    row = sample.row(there)  # type: ignore[arg-type]
    assert row.coverage is Coverage.SOFT_DIRTY_SHARED
    assert "another mapping" in row.coverage.reason


def test_what_was_written_before_it_was_merged_is_lost(
    life: Life, watch: Callable[[], Watch], needs_guest: None
) -> None:
    if not KSM.exists():
        pytest.skip("missing capability: KSM (not in this kernel)")
    area = life.map(512)
    area.write()
    watched = watch()
    for page in range(area.pages):
        life.put(area.at(page), bytes(PAGE - 4) + b"same")
    try:
        for name, value in (("pages_to_scan", "2000"), ("sleep_millisecs", "5"), ("run", "1")):
            (KSM / name).write_text(value)
        area.advise(MERGEABLE)
        wait_for(lambda: int((KSM / "pages_sharing").read_text()) > 400, "merged pages", 60)
        (KSM / "run").write_text("0")
        runs, row = watched.tick(area)
    finally:
        (KSM / "run").write_text("2")  # takes them apart
    assert page_count(runs) < 256, "the kernel merged the bits away"
    assert row.coverage is Coverage.MERGED
    assert "missed" in row.coverage.reason


def test_moved_memory_is_told_whole_and_then_to_the_page(life: Life, watch: Callable[[], Watch]) -> None:
    area = life.map(64)
    area.write()
    watched = watch()
    to = life.reserve(64)
    area.write(3, 4)
    at = life.sys(MREMAP, area.start, area.bytes, area.bytes, MAYMOVE | MOVE_FIXED, to)
    moved = Span(life, at, 64)
    runs, row = watched.tick(moved)
    assert (runs, row.coverage) == ([(at, 64)], Coverage.SOFT_DIRTY_NEW)
    log = moved.write(5, 1)
    runs, row = watched.tick(moved)
    assert (runs, row.coverage) == (log, Coverage.SOFT_DIRTY_FROZEN)
