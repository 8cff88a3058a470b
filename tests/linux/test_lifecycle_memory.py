"""What a tracked target does to its address space, system call by system call: docs/tracking.md, as tests."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import life as sys
import pytest
from harness import PAGE, Tracked, merged
from life import ANON, PRIVATE, SHARED, Life, Span, Watch, inside

from memtop.linux.pagemap import Scanner

pytestmark = pytest.mark.usefixtures("needs_write_protect")

PAGES = 64


# ---- mmap, brk, the stack ------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [PRIVATE | ANON, SHARED | ANON])
def test_mmap(flags: int, life: Life, watch: Watch) -> None:
    new = life.map(PAGES, flags)
    log = new.write(5, 9)
    assert watch.told(new) == (log, {"approximate"})
    log = new.write(7, 3)
    assert watch.told(new) == (log, {"approximate" if flags & SHARED else "exact"})


def test_mmap_over_a_part_of_an_armed_mapping(life: Life, area: Span, watch: Watch) -> None:
    life.sys(sys.MMAP, area.at(20), 10 * PAGE, sys.RW, PRIVATE | ANON | sys.FIXED, -1, 0)
    log = merged([*area.write(3, 2), *area.write(22, 3)])
    told, said = watch.told(area)
    assert told == log
    assert said == {"exact", "approximate"}
    watch.exact(area)


def test_brk_growth_and_shrink(life: Life, watch: Watch) -> None:
    floor = (life.sys(sys.BRK, 0) + PAGE - 1) // PAGE * PAGE
    heap = Span(life, floor, PAGES)
    life.sys(sys.BRK, heap.end)
    log = heap.write(3, 4)
    assert watch.told(heap) == (log, {"approximate"})
    log = heap.write()
    life.sys(sys.BRK, heap.at(16))  # shrinks: the rest is gone with what was written there
    assert watch.told(heap) == ([(heap.start, 16)], {"exact"})
    life.sys(sys.BRK, heap.end)  # grows back: new pages, not the old ones
    assert watch.told(heap.part(16, PAGES - 16))[0] == []
    log = heap.write(14, 4)
    assert watch.told(heap)[0] == log
    watch.exact(heap)


def test_stack_growth(life: Life, watch: Watch) -> None:
    before = life.ask("deep", 1)
    lowest = life.ask("deep", 400) // PAGE * PAGE
    stack = Span(life, lowest, (before - lowest) // PAGE - 2)
    told, said = watch.told(stack)
    assert told == [(stack.start, stack.pages)]
    assert said == {"exact"}, "a mapping grows with its tracking"
    life.ask("deep", 200)
    told, said = watch.told(stack)
    assert said == {"exact"}
    assert PAGE * sum(pages for _, pages in told) == pytest.approx(200 * PAGE, abs=8 * PAGE)
    assert told == [(told[0][0], told[0][1])], "one piece, the upper one"
    assert told[0][0] + told[0][1] * PAGE == stack.end


# ---- munmap, mremap --------------------------------------------------------------------------------


def test_munmap_whole(area: Span, watch: Watch) -> None:
    area.write(0, 9)
    area.unmap()
    assert watch.told(area) == ([], set())


def test_munmap_middle(area: Span, watch: Watch) -> None:
    log = merged([*area.write(0, 2), *area.write(60, 2)])
    area.write(20, 10)
    area.unmap(20, 20)
    assert watch.told(area) == (log, {"exact"})
    watch.exact(area.part(0, 20))
    watch.exact(area.part(40, 24))


def test_mremap_move(life: Life, area: Span, watch: Watch) -> None:
    to = life.reserve(PAGES)
    life.sys(sys.MREMAP, area.start, area.bytes, area.bytes, sys.MAYMOVE | sys.MOVE_FIXED, to)
    moved = Span(life, to, PAGES)
    assert watch.told(moved) == ([(to, PAGES)], {"approximate"})
    watch.exact(moved)


def test_mremap_move_over_an_armed_mapping(life: Life, area: Span, tracked: Callable[[int], Tracked]) -> None:
    """Not a letter of maps changes at the destination: only its pages tell that they are others."""
    other = life.map(PAGES)
    other.write()
    watch = Watch(tracked, life)
    life.sys(sys.MREMAP, area.start, area.bytes, area.bytes, sys.MAYMOVE | sys.MOVE_FIXED, other.start)
    assert watch.told(other) == ([(other.start, PAGES)], {"approximate"})
    watch.exact(other)


def test_mremap_move_of_a_part(life: Life, area: Span, watch: Watch) -> None:
    to = life.reserve(8)
    log = area.write(30, 2)
    life.sys(sys.MREMAP, area.at(8), 8 * PAGE, 8 * PAGE, sys.MAYMOVE | sys.MOVE_FIXED, to)
    seen = watch.told(area)
    assert seen == (log, {"exact"})
    moved = Span(life, to, 8)
    assert watch.coverage(moved) == {"FRESH"}
    watch.exact(moved)
    watch.exact(area.part(16, 48))


def test_mremap_grow_in_place(life: Life, watch: Watch) -> None:
    room = life.map(2 * PAGES)
    room.unmap(PAGES, PAGES)
    half = room.part(0, PAGES)
    half.write()
    watch.told(half)
    watch.told(half)
    life.sys(sys.MREMAP, half.start, half.bytes, room.bytes, 0)
    log = room.write(PAGES - 2, 5)
    assert watch.told(room) == (log, {"exact"}), "a mapping grows with its tracking"
    watch.exact(room)


def test_mremap_shrink(life: Life, area: Span, watch: Watch) -> None:
    area.write(0, 40)
    life.sys(sys.MREMAP, area.start, area.bytes, 16 * PAGE, 0)
    assert watch.told(area) == ([(area.start, 16)], {"exact"})
    watch.exact(area.part(0, 16))


def test_mremap_dontunmap(life: Life, area: Span, watch: Watch) -> None:
    to = life.reserve(PAGES)
    flags = sys.MAYMOVE | sys.MOVE_FIXED | sys.DONTUNMAP
    life.sys(sys.MREMAP, area.start, area.bytes, area.bytes, flags, to)
    moved = Span(life, to, PAGES)
    assert watch.told(moved) == ([(to, PAGES)], {"approximate"})
    watch.exact(moved)
    assert watch.told(area)[0] == [], "what stayed is empty"
    log = area.write(4, 2)
    assert watch.told(area)[0] == log
    watch.exact(area)


@pytest.mark.parametrize("written", [True, False])
def test_mremap_that_joins_a_neighbour(written: bool, life: Life, area: Span, watch: Watch) -> None:
    """The kernel takes the tracking off the joined mapping, but leaves the protection bits of the neighbour's
    pages: without care, what is written to those would be called clean for good."""
    away = life.reserve(32)
    flags = sys.MAYMOVE | sys.MOVE_FIXED
    life.sys(sys.MREMAP, area.at(32), 32 * PAGE, 32 * PAGE, flags, away)
    watch.told(area)
    watch.told(area)
    life.sys(sys.MREMAP, away, 32 * PAGE, 32 * PAGE, flags, area.at(32))
    if written:
        area.write(3, 2)
    told, said = watch.told(area)
    assert told == [(area.start, area.pages)], "all that lost its tracking"
    assert said == {"approximate"}
    watch.exact(area)


def test_mremap_that_joins_a_neighbour_then_another_memtop(
    life: Life, area: Span, tracked: Callable[[int], Tracked]
) -> None:
    """The bits are still there when memtop has ended: the next one must not trust them."""
    watch = Watch(tracked, life)
    away = life.reserve(32)
    flags = sys.MAYMOVE | sys.MOVE_FIXED
    life.sys(sys.MREMAP, area.at(32), 32 * PAGE, 32 * PAGE, flags, away)
    watch.told(area)
    life.sys(sys.MREMAP, away, 32 * PAGE, 32 * PAGE, flags, area.at(32))
    watch.tracker.close()
    area.write(3, 2)  # writable again, with its old bit
    watch = Watch(tracked, life)
    log = area.write(3, 2)
    assert watch.told(area) == (log, {"exact"})
    watch.exact(area)


def test_mremap_that_joins_a_neighbour_in_the_middle_of_a_tick(
    life: Life, area: Span, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the look for mappings that lost their tracking, before the scan, which passes over such: what was
    written there is not clean, and told in the next tick (the fuzz met it)."""
    away = life.reserve(32)
    flags = sys.MAYMOVE | sys.MOVE_FIXED
    life.sys(sys.MREMAP, area.at(32), 32 * PAGE, 32 * PAGE, flags, away)
    left = area.part(0, 32)
    watch.told(left)
    log = left.write(3, 2)
    scan = Scanner.scan

    def overtaken(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        life.sys(sys.MREMAP, away, 32 * PAGE, 32 * PAGE, flags, area.at(32))
        return scan(*arguments, **options)

    monkeypatch.setattr(Scanner, "scan", overtaken)
    assert watch.told(left) == ([], {"none"})
    (row,) = (row for row in watch.sample.mappings if row.mapping.start == left.start)
    assert (row.resident, watch.sample.totals.resident >= left.bytes) == (left.bytes, True)
    told, said = watch.told(area)
    assert inside(told, left.part(3, 2)) == log, "told now"
    assert said == {"approximate"}
    watch.exact(area)


def test_mremap_of_several_mappings_at_once(life: Life, tracked: Callable[[int], Tracked]) -> None:
    """The kernel moves them in one call since 6.17, but not tracked ones: docs/tracking.md says so."""
    move = sys.MAYMOVE | sys.MOVE_FIXED
    two = life.map(PAGES)
    two.write()
    two.protect(sys.R, 32, 32)
    try:
        life.sys(sys.MREMAP, two.start, two.bytes, two.bytes, move, life.reserve(PAGES))
    except OSError:
        pytest.skip("missing capability: mremap of several mappings at once (Linux 6.17)")
    two = life.map(PAGES)
    two.write()
    two.protect(sys.R, 32, 32)
    watch = Watch(tracked, life)
    to = life.reserve(PAGES)
    with contextlib.suppress(OSError):
        life.sys(sys.MREMAP, two.start, two.bytes, two.bytes, move, to)
    moved = Span(life, to, PAGES)  # all of it, or what could be
    told = watch.told(moved)[0]
    there = [row for row in watch.sample.mappings if moved.start <= row.mapping.start < moved.end]
    assert sum(pages for _, pages in told) * PAGE == sum(row.resident or 0 for row in there)


# ---- mprotect, madvise -----------------------------------------------------------------------------


@pytest.mark.parametrize("prot", [sys.NONE, sys.R, sys.R | sys.X], ids=["none", "r", "rx"])
def test_mprotect_and_back(prot: int, area: Span, watch: Watch) -> None:
    log = area.write(5, 6)
    area.protect(prot)
    assert watch.told(area) == (log, {"exact"})
    assert watch.told(area) == ([], {"exact"})
    area.protect(sys.RW)
    watch.exact(area)


def test_mprotect_of_a_part(area: Span, watch: Watch) -> None:
    log = area.write(5, 30)
    area.protect(sys.R, 10, 10)
    assert watch.told(area) == (log, {"exact"})
    area.protect(sys.RW, 10, 10)
    watch.exact(area)


def test_write_xor_execute(area: Span, watch: Watch) -> None:
    """As a JIT compiler does: written, made executable, made writable again, written."""
    for turn in range(4):
        area.protect(sys.RW)
        log = area.write(turn * 8, 5)
        area.protect(sys.R | sys.X)
        assert watch.told(area) == (log, {"exact"})


def test_private_file_made_read_only_and_back(life: Life, tmp_path: Path, watch: Watch) -> None:
    """Its pages are its own by then, but a read-only file mapping is not armed: said, and made good later."""
    path = tmp_path / "file"
    path.write_bytes(bytes(16 * PAGE))
    data = life.map(16, PRIVATE, life.open(path, 0))
    assert watch.told(data) == ([], {"approximate"})
    log = data.write(2, 3)
    data.protect(sys.R)
    assert watch.told(data) == ([], {"none"})
    data.protect(sys.RW)
    assert watch.told(data) == (log, {"approximate"})
    watch.exact(data)


def test_a_part_of_a_private_file_made_read_only_and_back(life: Life, tmp_path: Path, watch: Watch) -> None:
    """The part that was not armed joins the one that was: what it tells is late, so not exact."""
    path = tmp_path / "file"
    path.write_bytes(bytes(16 * PAGE))
    data = life.map(16, PRIVATE, life.open(path, 0))
    data.write(0, 1)
    watch.told(data)
    log = data.write(8, 3)
    data.protect(sys.R, 8, 8)
    assert watch.told(data) == ([], {"exact", "none"})
    data.protect(sys.RW, 8, 8)
    assert watch.told(data) == ([(data.start, 1), *log], {"approximate"})
    watch.exact(data)


def test_madvise_dontneed(area: Span, watch: Watch) -> None:
    area.write(0, 10)
    area.advise(sys.DONTNEED, 4, 40)
    assert watch.told(area) == ([(area.start, 4)], {"exact"})
    assert next(r for r in watch.sample.mappings if r.mapping.start == area.start).resident == 24 * PAGE
    area.read()
    assert watch.told(area) == ([], {"exact"}), "zero pages were read, not written"
    watch.exact(area)


def test_madvise_free(area: Span, watch: Watch) -> None:
    log = area.write(0, 10)
    area.advise(sys.FREE)
    assert watch.told(area) == (log, {"exact"})
    watch.exact(area)


def test_madvise_free_taken_by_the_kernel(area: Span, watch: Watch) -> None:
    area.write(0, 10)
    area.advise(sys.FREE)
    area.advise(sys.PAGEOUT)  # reclaims what was freed
    told, said = watch.told(area)
    assert merged([*told, *area.part(0, 10).write()]) == [(area.start, 10)]
    assert said == {"exact"}
    assert watch.told(area) == ([(area.start, 10)], {"exact"})


def test_madvise_collapse(life: Life, tracked: Callable[[int], Tracked]) -> None:
    area = life.map(1024, align=sys.HUGE)
    area.write()
    watch = Watch(tracked, life)
    with pytest.raises(OSError):  # the kernel refuses: a page of it is protected
        area.advise(sys.COLLAPSE)
    log = area.write(700, 3)
    assert watch.told(area) == (log, {"exact"})
    log = area.write(512, 512)  # none is protected any more
    try:
        area.advise(sys.COLLAPSE, 512, 512)
    except OSError:
        said = {"exact"}
    else:
        said = {"huge-page"}
    assert watch.told(area) == (log, said)
    log = area.write(100, 3)
    assert watch.told(area.part(0, 512))[0] == log


def test_guard_pages(life: Life, area: Span, watch: Watch) -> None:
    try:
        area.advise(sys.GUARD, 10, 10)
    except OSError:
        pytest.skip("missing capability: MADV_GUARD_INSTALL (Linux 6.13)")
    log = area.write(0, 5)
    for turn in range(3):
        assert watch.told(area) == (log if turn == 0 else [], {"exact"})
    with pytest.raises(OSError) as caught:  # still guards: read(2) into one fails
        life.sys(sys.READ, life.open("/dev/zero", 0), area.at(12), 8)
    assert caught.value.errno == errno.EFAULT
    area.advise(sys.GUARD + 1, 10, 10)
    watch.exact(area)


@pytest.mark.parametrize("kind", ["shared", "private-file"])
def test_guard_pages_over_a_file_or_shared_memory(
    kind: str, life: Life, tmp_path: Path, tracked: Callable[[int], Tracked]
) -> None:
    """A kernel defect (seen in 6.18): discarding leaves write-protect markers there, and the guards wait
    without end for these to go. It ends with tracking; docs/tracking.md says so."""
    path = tmp_path / "file"
    path.write_bytes(bytes(PAGES * PAGE))
    area = (
        life.map(PAGES, SHARED | ANON) if kind == "shared" else life.map(PAGES, PRIVATE, life.open(path, 0))
    )
    area.write()
    try:
        area.advise(sys.GUARD, 0, 1)
    except OSError:
        pytest.skip("missing capability: MADV_GUARD_INSTALL of files and shared memory (Linux 6.15)")
    watch = Watch(tracked, life)
    life.send("sys", sys.MADVISE, area.at(10), 10 * PAGE, sys.GUARD)
    if not life.answered(1.0):
        log = area.part(30, 10)
        assert watch.told(log) == ([], {"approximate"} if kind == "shared" else {"exact"}), "ticks go on"
        watch.tracker.close()
        assert life.answered(1.0), "the target goes on as soon as nothing is protected"
    assert life.answer() == 0


def test_populate_write_counts_as_written(area: Span, watch: Watch) -> None:
    """The kernel makes the pages writable, as a write does: a documented extra."""
    area.advise(sys.POPULATE_WRITE, 3, 5)
    assert watch.told(area) == ([(area.at(3), 5)], {"exact"})
    watch.exact(area)
