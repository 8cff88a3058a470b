"""Huge pages: stated before they are at stake, counted when they split, left out where that is asked for.

What is true is read from AnonHugePages of smaps, which the kernel keeps by itself.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import (
    PAGE,
    Area,
    Batch,
    Seen,
    Writer,
    armed_mappings,
    clipped,
    page_count,
    run,
    spawned,
    wait_for,
)

from memtop.linux.features import probe_kernel
from memtop.model.actions import Care, KeepHuge, Method
from memtop.model.coverage import Coverage
from memtop.sampler.target import Target, open_target
from memtop.tracking import huge as huge_module

HUGE = 512
pytestmark = pytest.mark.usefixtures("needs_write_protect")


def huge_pages(pid: int) -> int:
    """So many huge pages map anonymous memory of the process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")
    return int(re.findall(r"^AnonHugePages: +(\d+) kB", text, re.MULTILINE)[0]) // 2048


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text("utf-8")


def mappings_in(area: Area) -> int:
    rows = (line.split()[0].split("-") for line in maps(area.writer.pid).splitlines())
    return sum(area.start <= int(start, 16) < area.end for start, _ in rows)


@pytest.fixture
def huge(writer: Writer) -> Area:
    """16 MiB in eight huge pages."""
    area = writer.map("huge", "thp", 8 * HUGE)
    area.fill()
    if huge_pages(writer.pid) != 8:
        pytest.skip("missing capability: transparent huge pages (off, or none free)")
    return area


@pytest.fixture
def opened() -> Iterator[Callable[..., Target]]:
    targets: list[Target] = []

    def open_(
        pid: int, *, method: Method = Method.WRITE_PROTECT, keep_huge: KeepHuge = KeepHuge.NO
    ) -> Target:
        targets.append(open_target(pid, probe_kernel(), care=Care(keep_huge=keep_huge)))
        targets[-1].arm(method)
        return targets[-1]

    yield open_
    for target in targets:
        target.close()


Open = Callable[..., Target]


# ---- stated, counted -------------------------------------------------------------------------------


def test_batch_states_them_before_the_first_sample(huge: Area) -> None:
    done = run("batch", "-p", str(huge.writer.pid), "-n", "1", "--json", "--track", "write-protect")
    done.said("8 huge pages split on first write", "mappings", "16M")
    assert done.err.count("\n") == 1
    kept = run("batch", "-p", str(huge.writer.pid), "-n", "1", "--json", "--track", "auto", "--keep-huge")
    kept.said("8 huge pages stay out of it")


def test_nothing_is_said_of_huge_pages_where_there_are_none(writer: Writer) -> None:
    writer.map("small", "anon", 100).fill()
    done = run("batch", "-p", str(writer.pid), "-n", "1", "--json", "--track", "write-protect")
    done.said("write-protect", "mappings")
    assert "huge" not in done.err


def test_every_split_is_counted(huge: Area, opened: Open) -> None:
    target = opened(huge.writer.pid)
    assert target.tick().tracker.huge_split == 0
    assert huge_pages(huge.writer.pid) == 8, "protecting splits nothing"
    wrote = [huge.poke(0), huge.poke(1), huge.poke(600), huge.poke(3 * HUGE - 1, 2)]
    sample = target.tick()
    assert sample.totals.written_pages is not None
    assert page_count(clipped(((r.start, r.pages) for r in sample.runs), huge.start, huge.end)) == sum(
        page_count(runs) for runs in wrote
    )
    assert sample.tracker.huge_split == 8 - huge_pages(huge.writer.pid) == 4
    huge.poke(0, 2 * HUGE)
    assert target.tick().tracker.huge_split == 4, "those are split already"
    huge.fill()
    assert target.tick().tracker.huge_split == 8 - huge_pages(huge.writer.pid) == 8


def collapse(area: Area) -> None:
    """Asks the kernel to make a huge page of the first 2 MiB: process_madvise(2), MADV_COLLAPSE.

    Raises:
        OSError: it does not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    where = (ctypes.c_uint64 * 2)(area.start, HUGE * PAGE)
    pidfd = os.pidfd_open(area.writer.pid)
    try:
        if libc.syscall(440, pidfd, where, 1, 25, 0) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(pidfd)


@pytest.mark.usefixtures("needs_root")
def test_they_stay_split_until_tracking_ends(huge: Area, opened: Open) -> None:
    target = opened(huge.writer.pid)
    target.tick()
    huge.poke(0)
    target.tick()
    with pytest.raises(OSError, match="Invalid argument"):
        collapse(huge)
    assert huge_pages(huge.writer.pid) == 7
    target.close()
    collapse(huge)
    assert huge_pages(huge.writer.pid) == 8


def test_what_the_process_gives_back_is_not_split(huge: Area, opened: Open) -> None:
    target = opened(huge.writer.pid)
    target.tick()
    huge.do("discard", 0, 4 * HUGE)
    assert huge_pages(huge.writer.pid) == 4
    assert target.tick().tracker.huge_split == 0
    huge.do("again")  # unmapped and mapped anew
    huge.poke(0, 10)
    assert target.tick().tracker.huge_split == 0


def test_huge_pages_that_come_up_later_are_counted_too(writer: Writer, opened: Open, huge: Area) -> None:
    target = opened(writer.pid)
    target.tick()
    later = writer.map("later", "thp", 2 * HUGE)
    later.fill()
    before = huge_pages(writer.pid)
    if before != 10:
        pytest.skip("missing capability: transparent huge pages (none free)")
    assert target.tick().tracker.huge_split == 0
    later.poke(5)
    assert target.tick().tracker.huge_split == before - huge_pages(writer.pid) == 1


def test_hugetlb_is_not_at_stake(writer: Writer, opened: Open, hugetlb_pages: int) -> None:
    area = writer.map("fixed", "hugetlb", hugetlb_pages * HUGE)
    area.fill()
    target = opened(writer.pid)
    target.tick()
    cost = target.arm_cost(Method.WRITE_PROTECT)
    assert cost is not None
    assert cost.huge_pages == 0
    area.fill()
    assert target.tick().tracker.huge_split == 0


def test_the_stream_has_the_count(huge: Area) -> None:
    with Batch(huge.writer.pid, "-d", "0.1", "--track", "write-protect") as batch:
        assert batch.sample()["tracker"]["huge_split"] == 0
        huge.fill()
        # Samples of before may still be in the pipe.
        wait_for(lambda: batch.sample()["tracker"]["huge_split"] == 8, "all of them split")


# ---- kept ------------------------------------------------------------------------------------------


def test_keep_huge_splits_none_and_tracks_the_rest(huge: Area, opened: Open) -> None:
    pid = huge.writer.pid
    rest = huge.writer.map("rest", "anon", 100)
    rest.fill()
    before = maps(pid)
    target = opened(pid, keep_huge=KeepHuge.PARTS)
    seen = Seen(target.tick())
    assert seen.row(huge).coverage is Coverage.HUGE_KEPT
    assert seen.row(huge).written_pages is None
    assert maps(pid) == before, "a mapping that is huge all through is not cut"
    huge.fill()
    wrote = rest.poke(3, 4)
    seen = Seen(target.tick())
    assert seen.runs(rest) == wrote
    assert huge_pages(pid) == 8
    assert seen.sample.tracker.huge_split == 0


def partly_split(area: Area, opened: Open) -> None:
    """Splits the first and the fourth of eight huge pages."""
    target = opened(area.writer.pid)
    target.tick()
    area.poke(0)
    area.poke(3 * HUGE)
    target.tick()
    target.close()
    assert huge_pages(area.writer.pid) == 6


def test_the_small_parts_of_a_mapping_are_tracked(huge: Area, opened: Open) -> None:
    pid = huge.writer.pid
    partly_split(huge, opened)
    before, identity = maps(pid), None
    target = opened(pid, keep_huge=KeepHuge.PARTS)
    seen = Seen(target.tick())
    rows = seen.rows(huge)
    assert [row.coverage for row in rows] == [
        Coverage.EXACT, Coverage.HUGE_KEPT, Coverage.EXACT, Coverage.HUGE_KEPT
    ]  # fmt: skip
    assert [row.mapping.pages for row in rows] == [HUGE, 2 * HUGE, HUGE, 4 * HUGE]
    identity = {row.mapping.id for row in rows}
    wrote = huge.poke(7) + huge.poke(3 * HUGE + 5)
    huge.poke(HUGE, 10)
    seen = Seen(target.tick())
    assert seen.runs(huge) == wrote
    assert {row.mapping.id for row in seen.rows(huge)} == identity
    assert huge_pages(pid) == 6
    target.close()
    assert maps(pid) == before, "whole again"
    assert armed_mappings(pid) == 0


def test_a_mapping_stays_itself_when_it_is_cut(huge: Area, opened: Open) -> None:
    pid = huge.writer.pid
    partly_split(huge, opened)
    target = open_target(pid, probe_kernel(), care=Care(keep_huge=KeepHuge.PARTS))
    try:
        identity = Seen(target.tick()).row(huge).mapping.id
        target.arm(Method.WRITE_PROTECT)
        assert identity in {row.mapping.id for row in Seen(target.tick()).rows(huge)}
        target.arm(Method.OFF)
        assert Seen(target.tick()).row(huge).mapping.id == identity
    finally:
        target.close()


def test_huge_pages_that_come_up_in_tracked_memory_are_let_go(
    writer: Writer, huge: Area, opened: Open
) -> None:
    area = writer.map("empty", "thp", 4 * HUGE)
    target = opened(writer.pid, keep_huge=KeepHuge.PARTS)
    assert Seen(target.tick()).row(area).coverage is Coverage.EXACT
    area.poke(0)
    if huge_pages(writer.pid) != 9:
        pytest.skip("missing capability: transparent huge pages (none free)")
    target.tick()
    area.poke(1)
    seen = Seen(target.tick())
    assert [row.coverage for row in seen.rows(area)] == [Coverage.HUGE_KEPT, Coverage.EXACT]
    assert huge_pages(writer.pid) == 9
    assert seen.sample.tracker.huge_split == 0


def test_a_new_mapping_that_is_huge_before_it_is_seen(writer: Writer, huge: Area, opened: Open) -> None:
    target = opened(writer.pid, keep_huge=KeepHuge.PARTS)
    target.tick()
    area = writer.map("later", "thp", 2 * HUGE)
    area.fill()
    if huge_pages(writer.pid) != 10:
        pytest.skip("missing capability: transparent huge pages (none free)")
    assert Seen(target.tick()).row(area).coverage is Coverage.HUGE_KEPT
    area.fill()
    target.tick()
    assert huge_pages(writer.pid) == 10


def test_what_would_be_cut_too_often_is_left_out_whole(
    huge: Area, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may have 65 530 mappings: memtop does not use them up."""
    partly_split(huge, opened)
    monkeypatch.setattr(huge_module, "MOST_PARTS", 1)
    before = maps(huge.writer.pid)
    target = opened(huge.writer.pid, keep_huge=KeepHuge.PARTS)
    assert Seen(target.tick()).row(huge).coverage is Coverage.HUGE_KEPT
    assert maps(huge.writer.pid) == before


def test_whole_mappings_can_be_kept_so_that_none_is_cut(huge: Area, opened: Open) -> None:
    pid = huge.writer.pid
    partly_split(huge, opened)
    later = huge.writer.map("later", "thp", 4 * HUGE)
    before = maps(pid)
    target = opened(pid, keep_huge=KeepHuge.WHOLE)
    assert Seen(target.tick()).row(huge).coverage is Coverage.HUGE_KEPT
    cost = target.arm_cost(Method.WRITE_PROTECT)
    assert cost is not None
    assert (cost.huge_kept, cost.cut) == (6, 0)
    later.poke(0)  # a huge page comes up in what is tracked
    target.tick()
    assert Seen(target.tick()).row(later).coverage is Coverage.HUGE_KEPT
    assert maps(pid) == before


def test_what_a_cut_mapping_can_not_do_is_said_before(huge: Area, opened: Open) -> None:
    """The kernel moves no range that is more than one mapping; nothing else tells the process of the cut."""
    partly_split(huge, opened)
    target = opened(huge.writer.pid, method=Method.OFF, keep_huge=KeepHuge.PARTS)
    cost = target.look_at_cost(Method.WRITE_PROTECT)
    assert cost is not None
    assert cost.cut == 1
    target.arm(Method.WRITE_PROTECT)
    target.tick()
    assert "mremap of them fails meanwhile" in cost.sentence
    with pytest.raises(OSError, match="Bad address"):
        huge.do("move")
    huge.do("protect", "r")
    huge.do("protect", "rw")
    huge.fill()
    huge.do("discard", 0, huge.pages)
    target.tick()
    target.close()
    huge.do("move")


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_no_huge_page_is_split_and_nothing_is_missed(
    writer: Writer, opened: Open, seed: int
) -> None:
    dice = random.Random(seed)
    areas = [writer.map(f"area{n}", "thp", 4 * HUGE) for n in range(3)]
    target = opened(writer.pid, keep_huge=KeepHuge.PARTS)
    target.tick()
    for _ in range(40):
        area = dice.choice(areas)
        first = dice.randrange(area.pages - HUGE)
        pages = dice.choice((1, 5, HUGE))
        match dice.randrange(6):
            case 0:
                area.do("discard", first, pages)
            case 1:
                area.do("again")
            case 2:
                area.do("protect", "r")
                area.do("protect", "rw")
            case _:
                pass
        target.tick()
        whole = huge_pages(writer.pid)
        wrote = area.poke(first, pages)
        seen = Seen(target.tick())
        for row in seen.rows(area):
            if row.coverage is not Coverage.HUGE_KEPT:
                mine = clipped(wrote, row.mapping.start, row.mapping.end)
                assert page_count(mine) <= page_count(
                    clipped(seen.runs(area), row.mapping.start, row.mapping.end)
                )
        assert huge_pages(writer.pid) >= whole
        assert seen.sample.tracker.huge_split == 0


def test_what_is_kept_may_be_unmapped_and_used_anew(huge: Area, opened: Open) -> None:
    target = opened(huge.writer.pid, keep_huge=KeepHuge.PARTS)
    target.tick()
    start, end = huge.start, huge.end
    huge.do("unmap", 0, huge.pages)
    target.tick()
    area = huge.writer.map("next", "anon", 50)
    area.fill()
    target.tick()
    wrote = area.poke(2)
    assert Seen(target.tick()).runs(area) == wrote
    assert end - start == 8 * HUGE * PAGE


@pytest.mark.parametrize("library", ["glibc", "musl"])
def test_realloc_of_a_cut_mapping(
    library: str, build: Callable[[str], Path], tmp_path: Path, opened: Open
) -> None:
    """mremap of it fails, so the C libraries copy: docs/safety.md stands on that."""
    program = build("regrow")
    if library == "musl":
        compiler = shutil.which("musl-gcc")
        if compiler is None:
            pytest.skip("missing capability: musl-gcc")
        source = Path(__file__).parent.parent / "targets" / "regrow.c"
        program = tmp_path / "regrow"
        subprocess.run([compiler, "-std=gnu11", "-O2", "-static", source, "-o", program], check=True)
    with spawned([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pages = int(process.stdout.readline())
        if huge_pages(process.pid) < 8:
            pytest.skip("missing capability: transparent huge pages (off, or none free)")
        before = len(maps(process.pid).splitlines())
        target = opened(process.pid, keep_huge=KeepHuge.PARTS)
        target.tick()
        assert len(maps(process.pid).splitlines()) > before + 8, "cut"
        for _ in range(3):
            process.stdin.write("grow\n")
            process.stdin.flush()
            pages *= 2
            assert int(process.stdout.readline()) == pages, "all there"
            target.tick()
