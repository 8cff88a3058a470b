"""What a tracked target does to its mappings: never silently clean, and exact again one tick later."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import PAGE, Area, Tracked, Writer, armed_mappings, descriptors, merged, vm_flags, wait_for

pytestmark = pytest.mark.usefixtures("needs_write_protect")


@pytest.fixture
def area(writer: Writer) -> Area:
    """256 pages that all exist before tracking starts."""
    area = writer.map("area", "anon", 256)
    area.fill()
    return area


@pytest.fixture
def tracker(writer: Writer, area: Area, tracked: Callable[[int], Tracked]) -> Tracked:
    """Armed, with the baseline behind it."""
    tracker = tracked(writer.pid)
    assert tracker.tick().runs(area) == []
    return tracker


def exact_again(tracker: Tracked, area: Area) -> None:
    """From here on every page and no other, and said to be so."""
    for first in (0, area.pages // 2):
        log = area.poke(first, 3)
        seen = tracker.tick()
        assert seen.runs(area) == log
        assert seen.exactness(area) == {"exact"}


def test_a_new_mapping_counts_as_written(writer: Writer, tracker: Tracked) -> None:
    new = writer.map("new", "anon", 100)
    log = new.poke(20, 30)
    seen = tracker.tick()
    assert seen.runs(new) == log
    assert seen.exactness(new) == {"approximate"}
    exact_again(tracker, new)


def test_a_new_mapping_that_is_still_empty(writer: Writer, tracker: Tracked) -> None:
    new = writer.map("new", "anon", 100)
    assert tracker.tick().runs(new) == []
    exact_again(tracker, new)


@pytest.mark.parametrize("before", [0, 16])
def test_brk_growth(before: int, writer: Writer, tracker: Tracked) -> None:
    if before:
        writer.brk("heap", before).fill()
        tracker.tick()
        tracker.tick()
    heap = writer.brk("heap", 64)
    log = heap.poke(before and before - 1, 10)  # over the seam of old and new
    seen = tracker.tick()
    assert seen.runs(heap) == log
    assert "approximate" in seen.exactness(heap)
    log = heap.poke(0, 40)
    seen = tracker.tick()
    assert seen.runs(heap) == log
    assert seen.exactness(heap) == {"exact"}


def test_munmap_in_the_middle_leaves_the_rest_tracked(area: Area, tracker: Tracked) -> None:
    log = merged([*area.poke(10), *area.poke(250)])
    area.do("unmap", 100, 50)
    seen = tracker.tick()
    assert seen.runs(area) == log
    assert seen.exactness(area) == {"exact"}
    log = merged([*area.poke(99), *area.poke(150)])
    assert tracker.tick().runs(area) == log


def test_munmap_of_all(area: Area, tracker: Tracked) -> None:
    area.poke(0, 9)
    area.do("unmap", 0, area.pages)
    assert tracker.tick().runs(area) == []


def test_discarded_pages_are_gone_not_written(area: Area, tracker: Tracked) -> None:
    before = tracker.tick().row(area).resident
    area.do("discard", 64, 128)
    seen = tracker.tick()
    assert seen.row(area).resident == before - 128 * PAGE
    assert seen.runs(area) == []
    log = area.poke(60, 20)  # partly where nothing is any more
    assert tracker.tick().runs(area) == log
    exact_again(tracker, area)


def test_written_then_discarded(area: Area, tracker: Tracked) -> None:
    area.poke(64, 8)
    area.do("discard", 64, 8)
    log = area.poke(66, 1)
    assert tracker.tick().runs(area) == log


def test_the_same_place_mapped_anew(area: Area, tracker: Tracked) -> None:
    """munmap + mmap: not a letter of /proc/PID/maps changes, but all tracking is gone."""
    area.do("again")
    log = area.poke(7, 5)
    seen = tracker.tick()
    assert seen.runs(area) == log
    assert seen.exactness(area) == {"approximate"}
    exact_again(tracker, area)


def test_the_same_place_mapped_anew_and_left_empty_for_a_while(area: Area, tracker: Tracked) -> None:
    area.do("again")
    for _ in range(3):
        assert tracker.tick().runs(area) == []
    log = area.poke(0, 2)
    seen = tracker.tick()
    assert seen.runs(area) == log, "the first page ever there"
    exact_again(tracker, area)


def test_the_same_place_mapped_anew_and_only_read(area: Area, tracker: Tracked) -> None:
    area.do("again")
    area.do("read")  # zero pages: present, but nothing was written
    tracker.tick()
    exact_again(tracker, area)


def test_a_moved_mapping_is_never_silently_clean(area: Area, tracker: Tracked) -> None:
    area.do("move")
    area.poke(3)
    seen = tracker.tick()
    assert seen.runs(area) == [(area.start, area.pages)], "all its present pages count"
    assert seen.exactness(area) <= {"approximate", "none"}
    exact_again(tracker, area)


def test_moved_there_and_back(area: Area, tracker: Tracked) -> None:
    home = area.start
    area.do("move")
    area.do("move")
    log = area.poke(3)
    seen = tracker.tick()
    if area.start == home:
        assert seen.runs(area)
    assert log[0][0] in {start + i * PAGE for start, pages in seen.runs(area) for i in range(pages)}
    assert seen.exactness(area) <= {"approximate", "none"}
    exact_again(tracker, area)


def test_a_child_writes_its_own_copy(area: Area, tracker: Tracked) -> None:
    area.do("fork", 200)
    assert tracker.tick().runs(area) == []
    exact_again(tracker, area)


def test_the_parent_writes_while_a_child_shares(area: Area, writer: Writer, tracker: Tracked) -> None:
    area.do("hold", 50)
    exact_again(tracker, area)
    writer.ask("release")
    exact_again(tracker, area)


def test_protection_changes(area: Area, tracker: Tracked) -> None:
    log = area.poke(5)
    area.do("protect", "r")
    assert tracker.tick().runs(area) == log
    area.do("protect", "none")
    assert tracker.tick().runs(area) == []
    area.do("protect", "rw")
    exact_again(tracker, area)


def test_memory_that_was_unwritable_when_armed(writer: Writer, tracked: Callable[[int], Tracked]) -> None:
    area = writer.map("area", "none", 64)
    tracker = tracked(writer.pid)
    tracker.tick()
    area.do("protect", "rw")
    log = area.poke(0, 5)
    assert tracker.tick().runs(area) == log
    exact_again(tracker, area)


def test_exec_ends_the_old_memory_and_is_told(writer: Writer, tracker: Tracked) -> None:
    writer.ask("exec")
    samples = [tracker.tick().sample for _ in range(3)]
    assert "execed" in [sample.life.value for sample in samples]
    assert any(sample.message for sample in samples)


def test_the_end_of_the_target_is_told(writer: Writer, area: Area, tracker: Tracked) -> None:
    writer.kill()
    last = tracker.tick().sample
    assert last.life.value == "ended"
    assert last.message
    assert last.table, "the last picture stays"


def test_nothing_is_left_behind(writer: Writer, area: Area, tracked: Callable[[int], Tracked]) -> None:
    flags, open_files = vm_flags(writer.pid), descriptors(writer.pid)
    tracker = tracked(writer.pid)
    tracker.tick()
    assert armed_mappings(writer.pid)
    assert descriptors(writer.pid) == open_files, "no descriptor stays in the target"
    tracker.close()
    wait_for(lambda: armed_mappings(writer.pid) == 0, "all mappings unregistered")
    assert vm_flags(writer.pid) == flags
    assert descriptors(writer.pid) == open_files
