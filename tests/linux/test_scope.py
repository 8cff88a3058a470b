"""Tracking one mapping, or a range of one: what is inside is exact, what is outside is left alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import PAGE, Area, Runs, Seen, Writer, armed_mappings, clipped

from memtop.linux.errors import Failed
from memtop.linux.features import probe_kernel
from memtop.linux.runs import runs_pages
from memtop.model.actions import Care, KeepHuge, Method
from memtop.model.coverage import Coverage
from memtop.model.scope import Scope
from memtop.sampler.target import Target, open_target

pytestmark = pytest.mark.usefixtures("needs_write_protect")


@pytest.fixture
def target(writer: Writer) -> Iterator[Target]:
    opened = open_target(writer.pid, probe_kernel())
    yield opened
    opened.close()


def scope_of(target: Target, area: Area, first: int | None = None, pages: int = 0) -> Scope:
    """The mapping that an area is, or so many pages of it."""
    m = Seen(target.tick()).row(area).mapping
    low = area.start + (first or 0) * PAGE
    return Scope(m.id, (m.start, m.end), None if first is None else (low, low + pages * PAGE))


def within(runs: Runs, low: int, high: int) -> Runs:
    return clipped(runs, low, high)


def test_one_mapping_alone_is_exact_and_its_neighbours_are_left_alone(writer: Writer, target: Target) -> None:
    area, other = writer.map("area", "anon", 64), writer.map("other", "anon", 64)
    area.fill(), other.fill()
    scope = scope_of(target, area)
    cost = target.arm_cost(Method.AUTO, scope=scope)
    assert cost is not None
    assert (cost.mappings, cost.pages) == (1, 64)
    target.arm(Method.AUTO, scope=scope)
    assert target.tick().baseline
    assert armed_mappings(writer.pid) == 1
    for n in range(3):
        wrote = area.poke(5 * n, 3)
        other.poke(7, 2)
        seen = Seen(target.tick())
        assert seen.runs(area) == wrote
        assert seen.row(area).coverage is Coverage.EXACT
        assert seen.runs(other) == []
        assert seen.row(other).coverage is Coverage.OUT_OF_SCOPE
        assert seen.row(other).written_pages is None
    assert target.tracker_info.armed == 1
    target.arm(Method.OFF)
    assert armed_mappings(writer.pid) == 0


def test_a_range_is_exact_to_the_page_at_both_ends(writer: Writer, target: Target) -> None:
    area = writer.map("area", "anon", 64)
    area.fill()
    scope = scope_of(target, area, 10, 20)
    low, high = scope.span
    cost = target.arm_cost(Method.AUTO, scope=scope)
    assert cost is not None
    assert cost.pages == 20
    assert "cut in maps" in cost.sentence
    before = len(target.tick().table)
    target.arm(Method.AUTO, scope=scope)
    target.tick()
    for first, pages in ((0, 64), (9, 2), (29, 2), (12, 1), (30, 5), (0, 10)):
        wrote = area.poke(first, pages)
        assert Seen(target.tick()).runs(area) == within(wrote, low, high)
    target.arm(Method.OFF)
    assert len(target.tick().table) == before


def test_a_mapping_that_grows_splits_or_moves_stays_in_scope(writer: Writer, target: Target) -> None:
    heap = writer.brk("heap", 32)
    heap.fill()
    m = next(m for m in target.tick().mappings if m.mapping.start <= heap.start < m.mapping.end).mapping
    target.arm(Method.AUTO, scope=Scope(m.id, (m.start, m.end)))
    target.tick()
    more = writer.brk("more", 16)
    more.fill()
    target.tick()
    wrote = more.poke(3, 4)
    assert Seen(target.tick()).runs(more) == wrote


def test_pieces_of_a_mapping_stay_in_scope(writer: Writer, target: Target) -> None:
    area = writer.map("area", "anon", 64)
    area.fill()
    target.arm(Method.AUTO, scope=scope_of(target, area))
    target.tick()
    area.do("unmap", 20, 10)
    target.tick()
    wrote = [*area.poke(2, 3), *area.poke(40, 3)]
    seen = Seen(target.tick())
    assert len(seen.rows(area)) == 2
    assert seen.runs(area) == wrote


def test_what_moved_meanwhile_is_refused_and_nothing_is_armed(writer: Writer, target: Target) -> None:
    area = writer.map("area", "anon", 64)
    area.fill()
    scope = scope_of(target, area)
    area.do("unmap", 0, 64)
    with pytest.raises(Failed, match=r"is gone"):
        target.arm(Method.AUTO, scope=scope)
    assert armed_mappings(writer.pid) == 0
    assert target.tracker_info.name == "off"


def test_a_narrower_scope_loses_nothing_for_those_who_follow(writer: Writer, target: Target) -> None:
    """One tracker, several consumers: while one depends on it, its extent stays."""
    area = writer.map("area", "anon", 64)
    area.fill()
    target.arm(Method.WRITE_PROTECT)
    target.tick()
    consumer = target.fan_out.subscribe()
    wrote = area.poke(4, 4)
    with pytest.raises(Failed, match="dump"):
        target.arm(Method.AUTO, scope=scope_of(target, area))
    target.tick()
    runs = consumer.take()
    assert clipped([(r.start, r.pages) for r in runs], area.start, area.end) == wrote
    assert runs_pages(runs) >= 4
    target.fan_out.unsubscribe(consumer)
    target.arm(Method.AUTO, scope=scope_of(target, area))
    assert target.tick().baseline
    assert target.tracker_info.armed == 1


def test_a_part_is_refused_where_huge_pages_are_kept_or_soft_dirty_is_asked(writer: Writer) -> None:
    area = writer.map("area", "anon", 64)
    area.fill()
    target = open_target(writer.pid, probe_kernel(), care=Care(keep_huge=KeepHuge.PARTS))
    try:
        scope = scope_of(target, area, 3, 4)
        with pytest.raises(Failed, match="--keep-huge"):
            target.arm(Method.AUTO, scope=scope)
        with pytest.raises(Failed, match="whole process"):
            target.arm(Method.SOFT_DIRTY, scope=scope)
    finally:
        target.close()
