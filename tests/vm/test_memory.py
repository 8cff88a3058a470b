"""memtop's counters agree with smaps, whatever the machine does with memory.

The target stands still between two commands: nothing changes between the two looks, and equal is equal.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import PAGE, wait_for
from life import ANON, HUGE, HUGEPAGE, HUGETLB, MERGEABLE, PAGEOUT, PRIVATE, SHARED, Life, Span

from memtop.linux.features import probe_kernel
from memtop.model.actions import Care, Method
from memtop.model.layout import COUNT, Kind
from memtop.model.sample import Sample
from memtop.sampler.target import Target, open_target

pytestmark = pytest.mark.usefixtures("needs_pagemap")

MM = Path("/sys/kernel/mm")
HUGE_1G = MM / "hugepages/hugepages-1048576kB/nr_hugepages"
LAZY = 64
"""Pages that a thread may have counted and not yet added to what status says (TASK_RSS_EVENTS_THRESH)."""
METHODS = (Method.OFF, Method.AUTO)


@pytest.fixture
def target(life: Life) -> Iterator[Callable[[Method], Target]]:
    """Opens the target with a tracker, the baseline behind it."""
    opened: list[Target] = []

    def start(method: Method) -> Target:
        opened.append(open_target(life.pid, probe_kernel(), care=Care(max_cost=0)))
        opened[-1].arm(method)
        opened[-1].tick()
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@contextmanager
def written(path: Path, text: str) -> Iterator[None]:
    """A setting of the whole machine, for a while."""
    before = path.read_text()
    chosen = re.search(r"\[(\S+)\]", before)
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(chosen[1] if chosen else before)


def smaps(pid: int) -> dict[int, dict[str, int]]:
    """Bytes by mapping and field; fields that this kernel lacks are 0."""
    found: dict[int, dict[str, int]] = {}
    fields: dict[str, int] = defaultdict(int)
    for line in Path(f"/proc/{pid}/smaps").read_text(errors="replace").splitlines():
        if head := re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line):
            fields = found[int(head[1], 16)] = defaultdict(int)
        elif size := re.match(r"(\w+): +(\d+) kB", line):
            fields[size[1]] = int(size[2]) * 1024
    return found


def compare(sample: Sample, pid: int) -> int:
    """Every mapping of the sample against smaps; how many there were."""
    truth, compared, swapped_sum = smaps(pid), 0, 0
    for index, row in enumerate(sample.mappings):
        fields = truth[row.mapping.start]
        if row.mapping.perms[3] == "p":  # VmSwap is of anonymous memory only
            swapped_sum += fields["Swap"]
        if row.resident is None:
            continue
        where = f"{row.mapping.start:x} {row.mapping.name}"
        hugetlb = fields["Private_Hugetlb"] + fields["Shared_Hugetlb"]
        rss = fields["Rss"] + hugetlb
        if row.zero is not None:
            assert row.resident == rss, where
        else:  # zero pages can't be told, and smaps does not count them
            assert row.resident >= rss, where
        if row.huge is not None and row.zero == 0:
            pmd = fields["AnonHugePages"] + fields["ShmemPmdMapped"] + fields["FilePmdMapped"]
            assert row.huge == pmd + hugetlb, where
        if row.mapping.kind in (Kind.ANON, Kind.HEAP, Kind.STACK) and sample.tracker.name != "write-protect":
            assert COUNT.unpack_from(sample.counts, index * COUNT.size)[3] * PAGE == fields["Swap"], where
        compared += 1
    assert compared > 5
    assert abs((sample.totals.swapped or 0) - swapped_sum) <= LAZY * PAGE
    return compared


def row_of(sample: Sample, span: Span) -> dict[str, int | None]:
    (row,) = [r for r in sample.mappings if r.mapping.start <= span.start < r.mapping.end]
    return {"resident": row.resident, "huge": row.huge}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("thp", ["always", "madvise", "never"])
def test_transparent_huge_pages(
    needs_guest: None, thp: str, method: Method, life: Life, target: Callable[[Method], Target]
) -> None:
    with written(MM / "transparent_hugepage/enabled", thp):
        plain, advised = life.map(2048, align=HUGE), life.map(2048, align=HUGE)
        advised.advise(HUGEPAGE)
        for span in (plain, advised):
            span.write()
        sample = target(method).tick()
        compare(sample, life.pid)
        truth = smaps(life.pid)
        assert bool(truth[plain.start]["AnonHugePages"]) == (thp == "always")
        assert bool(truth[advised.start]["AnonHugePages"]) == (thp != "never")


@pytest.mark.parametrize("method", METHODS)
def test_hugetlb_2_mib(
    method: Method, hugetlb_pages: int, life: Life, target: Callable[[Method], Target]
) -> None:
    area = life.map(hugetlb_pages * 512, PRIVATE | ANON | HUGETLB, align=HUGE)
    area.write(0, 512 + 1)
    sample = target(method).tick()
    compare(sample, life.pid)
    assert row_of(sample, area)["resident"] == 2 * HUGE


@pytest.mark.parametrize("method", METHODS)
def test_hugetlb_1_gib(
    method: Method, needs_guest: None, life: Life, target: Callable[[Method], Target]
) -> None:
    if not HUGE_1G.exists():
        pytest.skip("missing capability: huge pages of 1 GiB (this processor has none)")
    assert int(HUGE_1G.read_text()) == 1, "tools/guests.py has the kernel reserve one when it boots"
    pages = (1 << 30) // PAGE
    area = life.map(pages, PRIVATE | ANON | HUGETLB | 30 << 26, align=1 << 30)
    area.write(0, 1)
    watched = target(method)
    sample = watched.tick()
    compare(sample, life.pid)
    assert row_of(sample, area)["resident"] == 1 << 30
    area.write(1, 1)
    sample = watched.tick()
    compare(sample, life.pid)
    (row,) = [r for r in sample.mappings if r.mapping.start == area.start]
    whole = 1 << 18 if sample.tracker.name == "write-protect" else None
    assert row.written_pages == whole, "the whole page; soft-dirty knows nothing of these"
    area.unmap()


@pytest.mark.parametrize("method", METHODS)
def test_swap(method: Method, zram_swap: None, life: Life, target: Callable[[Method], Target]) -> None:
    area, shared = life.map(1024), life.map(256, SHARED | ANON)
    area.write()
    shared.write()
    watched = target(method)
    area.advise(PAGEOUT, 0, 512)
    shared.advise(PAGEOUT, 0, 128)
    sample = watched.tick()
    compare(sample, life.pid)
    assert smaps(life.pid)[area.start]["Swap"] >= 256 * PAGE, "some of it is out"
    back = area.part(0, 64)
    back.read()
    compare(watched.tick(), life.pid)


@pytest.mark.parametrize("method", METHODS)
def test_same_page_merging(
    method: Method, needs_guest: None, life: Life, target: Callable[[Method], Target]
) -> None:
    ksm = MM / "ksm"
    if not ksm.exists():
        pytest.skip("missing capability: KSM (not in this kernel)")
    area = life.map(512)
    area.write()
    with open(f"/proc/{life.pid}/mem", "r+b", buffering=0) as memory:
        for page in range(area.pages):
            memory.seek(area.at(page))
            memory.write(bytes(PAGE - 4) + b"same")
    watched = target(method)
    with (
        written(ksm / "pages_to_scan", "2000"),
        written(ksm / "sleep_millisecs", "5"),
        written(ksm / "run", "1"),
    ):
        area.advise(MERGEABLE)
        wait_for(lambda: int((ksm / "pages_sharing").read_text()) > 200, "merged pages")
        (ksm / "run").write_text("0")  # it stands still while both look
        sample = watched.tick()
        compare(sample, life.pid)
        assert row_of(sample, area)["resident"] == 512 * PAGE
        (ksm / "run").write_text("2")
