"""Categories that take more than writing to come about: guards, swap; and filters on a huge page."""

from __future__ import annotations

import errno
from pathlib import Path

import life as sys
import pytest
from harness import Runs, clipped, merged, page_count
from life import Life, Span

from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.actions import Care
from memtop.model.filter import parse
from memtop.tracking.rounds import Rounds
from memtop.watch import WriteWatch


def matching(area: Span, expression: str, *, protect: bool = False) -> Runs:
    """What of the area matches; with ``protect``, under tracking that has just begun."""
    pid = area.life.pid
    with ProcessHandle.open(pid) as handle, Rounds(handle, probe_kernel(), parse(expression)) as rounds:
        if protect:
            rounds.track(Care())
        found = [(f.match.start, f.match.pages) for f in rounds.find(protect=protect)]
    return clipped(found, area.start, area.end)


def install_guards(area: Span, first: int, pages: int) -> None:
    try:
        area.advise(sys.GUARD, first, pages)
    except OSError:
        pytest.skip("missing capability: MADV_GUARD_INSTALL (Linux 6.13)")
    if not probe_kernel().guard_bit.works:
        pytest.skip("missing capability: PAGE_IS_GUARD")


def test_guards(life: Life, area: Span, needs_pagemap_scan: None) -> None:
    install_guards(area, 10, 10)
    guards = [(area.at(10), 10)]
    assert matching(area, "guard") == guards
    assert matching(area, "present") == [(area.start, 10), (area.at(20), area.pages - 20)]
    assert matching(area, "!guard") == matching(area, "present")
    assert matching(area, "guard | present") == [(area.start, area.pages)]


def test_guards_are_never_written_and_stay_guards(life: Life, area: Span, needs_write_protect: None) -> None:
    install_guards(area, 10, 10)
    with WriteWatch(life.pid, area.start, area.end) as watch:
        for _ in range(3):
            assert watch.get() == []
        log = area.write(0, 5)
        assert watch.get() == merged(log)
    for expression in ("guard", "!written", "swapped | huge"):  # none of them is write-protected either
        assert page_count(clipped(matching(area, expression, protect=True), area.at(10), area.at(20))) == 0
    with pytest.raises(OSError) as caught:
        life.sys(sys.READ, life.open("/dev/zero", 0), area.at(12), 8)
    assert caught.value.errno == errno.EFAULT


def test_swapped(life: Life, area: Span, needs_pagemap_scan: None) -> None:
    if len(Path("/proc/swaps").read_text(encoding="utf-8").splitlines()) < 2:
        pytest.skip("missing capability: swap")
    area.advise(sys.PAGEOUT)
    smaps = Path(f"/proc/{life.pid}/smaps").read_text(encoding="utf-8")
    entry = smaps[smaps.index(f"{area.start:x}-") :]
    swapped = int(entry[entry.index("\nSwap:") :].split()[1]) // 4
    assert page_count(matching(area, "swapped")) == swapped
    assert page_count(matching(area, "swapped & !present")) == swapped
    assert page_count(matching(area, "present & !pfnzero")) == area.pages - swapped


def test_a_huge_page_that_is_written_splits_and_is_told_to_the_page(
    life: Life, needs_write_protect: None
) -> None:
    area = life.map(2048)
    start = -(-area.start // sys.HUGE) * sys.HUGE
    area = Span(life, start, 512 * 3)
    area.advise(sys.HUGEPAGE)
    area.write()
    huge = matching(area, "huge")
    if page_count(huge) < 512:
        pytest.skip("missing capability: transparent huge pages")
    with WriteWatch(life.pid, area.start, area.end) as watch:
        log = area.write(700, 3)
        assert watch.get(reset=False) == merged(log)
        assert watch.get() == merged(log)
        log = area.write(701, 1)
        assert watch.get() == merged(log)
        assert watch.get() == []
