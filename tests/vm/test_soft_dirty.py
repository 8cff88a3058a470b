"""The soft-dirty tracker against a writer that logs its pages, on kernels that have it."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import PAGE, Area, Runs, Seen, Writer, clipped, merged, page_count, run

from memtop.linux.features import probe_kernel
from memtop.model.actions import Care, Method
from memtop.model.coverage import Coverage
from memtop.model.filter import Page
from memtop.model.filter_rows import matches
from memtop.model.layout import Category
from memtop.sampler.target import Target, open_target

pytestmark = pytest.mark.usefixtures("needs_soft_dirty")

HUGE = 512
Track = Callable[..., Target]


@pytest.fixture
def track() -> Iterator[Track]:
    """Opens processes with the soft-dirty tracker armed, the baseline behind it."""
    opened: list[Target] = []

    def start(pid: int, freeze: bool = False, method: Method = Method.SOFT_DIRTY) -> Target:
        target = open_target(pid, probe_kernel(), care=Care(max_cost=0, freeze=freeze))
        opened.append(target)
        target.arm(method)
        assert target.tick().baseline
        return target

    yield start
    for target in opened:
        target.close()


def overlap(a: Runs, b: Runs) -> int:
    """Pages that are in both."""
    return sum(page_count(clipped(b, start, start + pages * PAGE)) for start, pages in a)


def missed(log: Runs, told: Runs) -> int:
    """Pages that were written and not told."""
    return page_count(log) - overlap(merged(log), merged(told))


def coverage(seen: Seen, area: Area) -> set[Coverage]:
    return {row.coverage for row in seen.rows(area)}


def has_sd_flag(pid: int, address: int) -> bool:
    """Whether smaps shows the mapping of this address as all soft-dirty."""
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text(errors="replace").splitlines():
        if head := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(head[1], 16) <= address < int(head[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return "sd" in line.split()
    raise AssertionError(f"{address:#x} is not mapped")


# ---- in step: the writer stands still while memtop looks ------------------------------------------


@pytest.mark.parametrize("freeze", [False, True], ids=["running", "freeze"])
@pytest.mark.parametrize("kind", ["anon", "shared", "memfd", "private-memfd", "private-file"])
def test_every_page_and_no_other(kind: str, freeze: bool, writer: Writer, track: Track) -> None:
    area = writer.map("area", kind, 2048)
    area.fill()
    target = track(writer.pid, freeze)
    for turn, pattern in enumerate(("random", "sequential", "alternate")):
        log = area.write(pattern, 200, threads=2, seed=turn * 37)
        seen = Seen(target.tick())
        assert seen.runs(area) == log, pattern
        want = Coverage.SOFT_DIRTY_FROZEN if freeze else Coverage.SOFT_DIRTY
        want = Coverage.SOFT_DIRTY_SHARED if kind in ("shared", "memfd") else want
        assert coverage(seen, area) == {want}
        assert (seen.sample.cost.stop_s > 0) == freeze
        area.do("read")
        assert Seen(target.tick()).runs(area) == [], "reads do not count"


def test_a_filter_knows_what_the_bit_is(writer: Writer, track: Track) -> None:
    area = writer.map("area", "anon", 64)
    area.fill()
    for freeze in (False, True):
        target = track(writer.pid, freeze)
        area.poke(3)
        row = Seen(target.tick()).row(area)
        assert matches(Page(Category.SOFT_DIRTY), row), row.coverage
        assert not matches(Page(Category.WPALLOWED), row), row.coverage
        target.close()


@pytest.mark.parametrize("kind", ["anon", "shared", "thp"])
def test_dense_memory(kind: str, writer: Writer, track: Track) -> None:
    """Where small pages lie densely, PAGEMAP_SCAN is asked for what is *not* an ordinary present page
    (native/sweep.c): with holes, zero pages and huge pages between them, over several of its windows."""
    area = writer.map("area", kind, 48 << 8)  # 48 MiB
    area.poke(0, 6000)
    area.poke(6100, 3000)
    area.do("read")  # holes of private memory are zero pages from here on
    area.do("discard", 2000, 700)
    target = track(writer.pid, freeze=True)
    for turn, pattern in enumerate(("random", "alternate", "sequential", "random")):
        log = area.write(pattern, 900, seed=turn * 13 + 1)
        seen = Seen(target.tick())
        told, row = seen.runs(area), seen.row(area)
        assert missed(log, told) == 0, pattern
        if kind != "thp":
            assert told == log, pattern
        else:
            assert missed(told, whole_huge(log)) == 0, pattern
        zero = row.zero or 0  # told by PAGEMAP_SCAN, and then not resident
        assert row.resident == present_pages(writer.pid, area) * PAGE - zero
        assert Seen(target.tick()).runs(area) == [], "and then nothing"


def present_pages(pid: int, area: Area) -> int:
    """By the entries, which no look of memtop's is involved in."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        entries = os.pread(file.fileno(), area.pages * 8, area.start // PAGE * 8)
    return sum(entry >> 63 for (entry,) in struct.iter_unpack("<Q", entries))


def test_the_kernel_writes_for_the_process(writer: Writer, track: Track) -> None:
    area = writer.map("area", "anon", 256)
    area.fill()
    target = track(writer.pid)
    log = area.by_kernel(10, 20)
    assert Seen(target.tick()).runs(area) == log


def test_a_new_mapping_is_told_whole_and_said_to_be(writer: Writer, track: Track) -> None:
    target = track(writer.pid)
    new = writer.map("new", "anon", 512)
    new.poke(0, 512)
    assert has_sd_flag(writer.pid, new.start)
    seen = Seen(target.tick())
    assert seen.runs(new) == [(new.start, 512)]
    assert coverage(seen, new) == {Coverage.SOFT_DIRTY_NEW}
    assert not has_sd_flag(writer.pid, new.start)
    log = new.poke(100, 3)
    seen = Seen(target.tick())
    assert seen.runs(new) == log
    assert coverage(seen, new) == {Coverage.SOFT_DIRTY}


def test_a_new_mapping_that_was_only_read_is_told_too(writer: Writer, track: Track) -> None:
    """The over-reporting that the sd flag means: these pages were never written."""
    target = track(writer.pid)
    new = writer.map("new", "private-file", 64)
    new.do("read")
    assert has_sd_flag(writer.pid, new.start)
    seen = Seen(target.tick())
    assert seen.runs(new) == [(new.start, 64)]
    assert coverage(seen, new) == {Coverage.SOFT_DIRTY_NEW}


def test_huge_pages_are_told_whole_and_stay_whole(writer: Writer, track: Track) -> None:
    area = writer.map("area", "thp", HUGE * 4)
    area.fill()
    target = track(writer.pid)
    before = Seen(target.tick()).row(area)
    if probe_kernel().pagemap_scan.works and not before.huge:
        pytest.skip("missing capability: transparent huge pages")
    anon_huge = smaps_huge(writer.pid)
    assert anon_huge, "these are huge pages"
    area.poke(HUGE + 5)
    area.poke(HUGE * 3 - 1, 2)
    seen = Seen(target.tick())
    assert seen.runs(area) == [(area.start + HUGE * PAGE, HUGE * 3)]
    assert smaps_huge(writer.pid) == anon_huge, "none was split"


def smaps_huge(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"AnonHugePages: +(\d+)", text)[1])  # type: ignore[index]


def test_several_processes_at_once(new_writer: Callable[[], Writer], track: Track) -> None:
    writers = [new_writer() for _ in range(3)]
    areas = [writer.map("area", "anon", 512) for writer in writers]
    for area in areas:
        area.fill()
    targets = [track(writer.pid, freeze=True) for writer in writers]
    for turn in range(3):
        logs = [area.write("random", 50 + 10 * i, seed=turn + 1) for i, area in enumerate(areas)]
        for area, target, log in zip(areas, targets, logs, strict=True):
            assert Seen(target.tick()).runs(area) == log


# ---- while the writer runs --------------------------------------------------------------------------

PAGES = 1 << 16
"""A quarter of a GiB: memtop can look at it a few times while it is written once."""


def told_while_it_writes(
    writer: Writer, area: Area, target: Target, pattern: str
) -> tuple[Runs, Runs, set[Coverage], int]:
    """Ticks as fast as they go while each page is written once: log, told, how exact, ticks meanwhile.

    A page that is written once and not told in any tick was missed.
    """
    told: list[tuple[int, int]] = []
    said: set[Coverage] = set()
    ticks = 0
    target.tick()
    writer.begin(f"write {area.name} {pattern} {area.pages} 2 0")
    while not writer.answered():
        seen = Seen(target.tick())
        told += seen.runs(area)
        said |= coverage(seen, area)
        ticks += 1
    log = writer.answer_runs()
    told += Seen(target.tick()).runs(area)
    assert page_count(log) == area.pages
    return log, merged(told), said, ticks


def shares(writer: Writer, target: Target, pattern: str, least: int) -> tuple[int, int, int, set[Coverage]]:
    """Pages written, of these missed, ticks, and what memtop said of them; for at least so many ticks."""
    area = writer.map("area", "anon", PAGES)
    area.fill()
    written = lost = ticks = 0
    said: set[Coverage] = set()
    while ticks < least:
        log, told, words, count = told_while_it_writes(writer, area, target, pattern)
        written, lost, ticks = written + page_count(log), lost + missed(log, told), ticks + count
        said |= words
    return written, lost, ticks, said


def test_nothing_is_missed_when_the_target_is_stopped_for_it(
    writer: Writer, track: Track, record_property: Callable[[str, object], None]
) -> None:
    written, lost, ticks, said = shares(writer, track(writer.pid, freeze=True), "paced", least=10)
    record_property("soft_dirty_frozen", f"{lost} of {written} missed in {ticks} ticks")
    assert said == {Coverage.SOFT_DIRTY_FROZEN}
    assert lost == 0


def test_the_share_of_misses_when_it_is_not(
    writer: Writer, track: Track, record_property: Callable[[str, object], None]
) -> None:
    """How many is the machine's affair; that there may be some is said."""
    written, lost, ticks, said = shares(writer, track(writer.pid), "once", least=5)
    record_property("soft_dirty_running", f"{lost} of {written} missed in {ticks} ticks")
    assert said == {Coverage.SOFT_DIRTY}
    assert Coverage.SOFT_DIRTY.exactness.value == "approximate"
    assert "missed" in Coverage.SOFT_DIRTY.reason


# ---- what is said before ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["soft-dirty", "auto"])
def test_other_users_of_the_bits_are_named_before_they_are_cleared(method: str, writer: Writer) -> None:
    area = writer.map("area", "anon", 16)
    area.fill()
    done = run("batch", "-p", str(writer.pid), "-n", "1", "--track", method, "--json")
    assert done.code == 0
    done.said("CRIU", "lose their state")
    warned = run("batch", "-p", str(writer.pid), "-n", "1", "--track", "soft-dirty", "--freeze")
    warned.said("CRIU", "all threads stop for it")


def test_readonly_clears_nothing(writer: Writer) -> None:
    area = writer.map("new", "anon", 16)
    area.fill()
    done = run("batch", "-p", str(writer.pid), "-n", "1", "--track", "soft-dirty", "--readonly")
    assert done.code == 4
    assert has_sd_flag(writer.pid, area.start)


# ---- both trackers on the same writer -------------------------------------------------------------------


def test_write_protect_and_soft_dirty_in_turn(
    needs_write_protect: None,
    writer: Writer,
    track: Track,
    hugetlb_pages: int,
    record_property: Callable[[str, object], None],
) -> None:
    """The same writes under each: both tell the log; what soft-dirty tells beyond it is in huge pages.

    Of hugetlb pages it tells nothing, and says so.
    """
    kinds = ("anon", "shared", "private-memfd", "thp", "hole")
    areas = {kind: writer.map(kind, "anon" if kind == "hole" else kind, HUGE * 2) for kind in kinds}
    for kind, area in areas.items():
        if kind != "hole":
            area.fill()
    hugetlb = writer.map("hugetlb", "hugetlb", hugetlb_pages * HUGE)
    hugetlb.fill()
    differences: dict[str, int] = {}
    for turn in range(3):
        told: dict[Method, dict[str, Runs]] = {}
        for method in (Method.SOFT_DIRTY, Method.WRITE_PROTECT):
            target = track(writer.pid, freeze=method is Method.SOFT_DIRTY, method=method)
            logs = {kind: area.write("random", 60, seed=turn * 31 + 7) for kind, area in areas.items()}
            hugetlb.poke(5)
            seen = Seen(target.tick())
            if method is Method.SOFT_DIRTY:
                assert coverage(seen, hugetlb) == {Coverage.NO_SOFT_DIRTY}
            else:
                assert seen.runs(hugetlb) == [(hugetlb.start, HUGE)]
            told[method] = {kind: seen.runs(area) for kind, area in areas.items()}
            huge = {kind: seen.row(area).huge for kind, area in areas.items()}
            target.close()
            for kind in kinds:
                extra = page_count(told[method][kind]) - page_count(logs[kind])
                assert missed(logs[kind], told[method][kind]) == 0, (method, kind)
                if method is Method.SOFT_DIRTY and huge[kind]:
                    assert told[method][kind] == whole_huge(logs[kind]), "exactly the huge pages it wrote to"
                    differences[kind] = differences.get(kind, 0) + extra
                else:
                    assert extra == 0, (method, kind)
            if method is Method.SOFT_DIRTY:
                first = logs
        assert first == logs, "the writer repeats itself"
    extra = "".join(
        f"{pages} pages more, all in the huge pages that it wrote to" for pages in differences.values()
    )
    record_property(
        "agreement",
        f"write-protect told its log, soft-dirty {extra or 'told it, too'}"
        "; of hugetlb pages, which write-protect told whole, soft-dirty knows nothing",
    )


def whole_huge(runs: Runs) -> Runs:
    """The huge pages that these pages lie in."""
    size = HUGE * PAGE
    return merged(
        (at * size, HUGE)
        for start, pages in runs
        for at in range(start // size, (start + pages * PAGE - 1) // size + 1)
    )
