"""Memory that grows while it is tracked comes to lie in many mappings: how many is bounded."""

from __future__ import annotations

from pathlib import Path

import life as sys
import pytest
from harness import PAGE
from life import Life, Span, Watch

from memtop.model.coverage import Coverage
from memtop.tracking import crowd

pytestmark = pytest.mark.usefixtures("needs_write_protect")

STEP = 4
"""Pages that the heap grows by at a time."""


def mappings(life: Life) -> int:
    return len(Path(f"/proc/{life.pid}/maps").read_text(encoding="ascii").splitlines())


def grow(life: Life, pages: int = STEP) -> Span:
    """The heap, as a program's is: larger, and written before anybody looks."""
    end = (life.sys(sys.BRK, 0) + PAGE - 1) // PAGE * PAGE
    new = Span(life, end, pages)
    life.sys(sys.BRK, new.end)
    new.write()
    return new


def test_each_growth_of_a_tracked_heap_stays_a_mapping_of_its_own(life: Life, watch: Watch) -> None:
    """What the bound is for; should a kernel join them one day, docs/tracking.md says too much."""
    grow(life)
    watch.tracker.tick()
    before = mappings(life)
    for _ in range(5):
        grow(life)
        watch.tracker.tick()
    assert mappings(life) == before + 5


def test_growth_beyond_the_bound_is_left_alone(
    life: Life, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    heap = grow(life)
    watch.tracker.tick()
    room = mappings(life) + 3
    monkeypatch.setattr(crowd, "max_map_count", lambda: 2 * room)
    grown = [grow(life)]
    for _ in range(20):
        watch.tracker.tick()
        grown.append(grow(life))
    seen = watch.tracker.tick()
    assert mappings(life) <= room + 1, "it grows on in the one that is left alone"
    rows = [row for row in seen.sample.mappings if heap.start <= row.mapping.start < grown[-1].end]
    assert rows[-1].coverage is Coverage.CROWDED
    assert rows[-1].mapping.end == grown[-1].end
    assert {row.coverage for row in rows[:-1]} == {Coverage.EXACT}
    log = heap.write()
    assert watch.told(heap) == (log, {"exact"}), "the rest stays tracked"
    elsewhere = life.map(STEP)
    elsewhere.write()
    assert Coverage.CROWDED not in {row.coverage for row in watch.tracker.tick().rows(elsewhere)}, (
        "it joins nothing"
    )


def test_what_was_left_alone_is_tracked_when_there_is_room_again(
    life: Life, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(life)
    watch.tracker.tick()
    monkeypatch.setattr(crowd, "max_map_count", lambda: 2)
    new = grow(life)
    assert {row.coverage for row in watch.tracker.tick().rows(new)} == {Coverage.CROWDED}
    monkeypatch.undo()
    life.map(1)  # maps has to change for a new look at it
    watch.tracker.tick()
    watch.exact(new)
