"""The write-protect tracker names exactly the pages that a target logs as written, no page more or less."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import (
    PAGE,
    Area,
    Batch,
    Runs,
    Tracked,
    Writer,
    clipped,
    mapping_at,
    merged,
    page_count,
    written,
)

pytestmark = pytest.mark.usefixtures("needs_write_protect")

GIB_PAGES = (1 << 30) // PAGE
PATTERNS = ("random", "sequential", "alternate")


def test_a_million_writes_in_a_gibibyte(writer: Writer, tracked: Callable[[int], Tracked]) -> None:
    area = writer.map("wide", "anon", GIB_PAGES)
    idle = writer.map("idle", "anon", 1024)
    area.fill()
    idle.fill()
    tracker = tracked(writer.pid)
    assert tracker.tick().baseline
    logged = 0
    for turn in range(100):
        pattern, threads = PATTERNS[turn % 3], turn % 8 + 1
        log = area.write(pattern, 12_000, threads, seed=turn * 2711)
        logged += page_count(log)
        seen = tracker.tick()
        assert seen.runs(area) == log, f"turn {turn}: {pattern}, {threads} threads"
        assert seen.runs(idle) == []
    assert logged >= 1_000_000
    assert tracker.tick().runs(area) == [], "a tick without writes"


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("kind", ["anon", "shared", "memfd", "private-memfd", "private-file", "thp"])
def test_each_kind_of_memory(
    kind: str, threads: int, writer: Writer, tracked: Callable[[int], Tracked]
) -> None:
    area = writer.map("area", kind, 4096)
    area.fill()
    tracker = tracked(writer.pid)
    tracker.tick()
    for turn, pattern in enumerate(PATTERNS * 4):
        log = area.write(pattern, 300, threads, seed=turn * 37)
        assert tracker.tick().runs(area) == log, f"turn {turn}: {pattern}"
        area.do("read")
        assert tracker.tick().runs(area) == [], "reads do not count"


def test_hugetlb_pages_are_reported_whole(
    writer: Writer, tracked: Callable[[int], Tracked], hugetlb_pages: int
) -> None:
    area = writer.map("area", "hugetlb", hugetlb_pages * 512)
    area.fill()
    tracker = tracked(writer.pid)
    tracker.tick()
    for first in (0, 511, 512 * 3 + 7):
        area.poke(first)
        seen = tracker.tick()
        assert seen.runs(area) == [(area.start + first // 512 * 512 * PAGE, 512)]
        assert seen.exactness(area) == {"huge-page"}


def test_the_first_write_to_a_huge_page_is_one_page(
    writer: Writer, tracked: Callable[[int], Tracked]
) -> None:
    area = writer.map("area", "thp", 512 * 8)
    area.fill()
    tracker = tracked(writer.pid)
    before = tracker.tick()
    if not before.row(area).huge:
        pytest.skip("no transparent huge pages here")
    log = merged([*area.poke(5), *area.poke(512 * 3 + 1, 2), *area.poke(512 * 5 - 1, 2)])
    seen = tracker.tick()
    assert seen.runs(area) == log
    assert seen.row(area).huge == before.row(area).huge - 4 * 512 * PAGE, "four huge pages were split"


def test_reads_of_untouched_memory_are_not_writes(writer: Writer, tracked: Callable[[int], Tracked]) -> None:
    area = writer.map("area", "anon", 600)
    log = area.poke(100, 3)
    tracker = tracked(writer.pid)
    tracker.tick()
    area.do("read")
    assert tracker.tick().runs(area) == []
    log = area.poke(50, 120)  # over zero pages and pages of its own
    assert tracker.tick().runs(area) == log


def test_what_the_kernel_writes_for_the_target_counts(
    writer: Writer, tracked: Callable[[int], Tracked]
) -> None:
    area = writer.map("area", "anon", 500)
    area.poke(0, 250)
    tracker = tracked(writer.pid)
    tracker.tick()
    log = area.by_kernel(200, 100)
    assert tracker.tick().runs(area) == log


@pytest.mark.parametrize("kind", ["anon", "shared", "private-file", "thp"])
def test_first_writes_into_an_armed_mapping(
    kind: str, writer: Writer, tracked: Callable[[int], Tracked]
) -> None:
    area = writer.map("area", kind, 2048)
    tracker = tracked(writer.pid)
    tracker.tick()
    log = area.poke(77)
    seen = tracker.tick()
    if kind != "thp":
        assert seen.runs(area) == log
        return
    # the fault brought a whole huge page into being: all of it changed
    assert clipped(seen.runs(area), log[0][0], log[0][0] + PAGE) == log
    assert seen.row(area).exactness.value == ("huge-page" if seen.row(area).huge else "exact")


@pytest.mark.parametrize("threads", [1, 4])
def test_ticks_while_the_target_writes_lose_nothing(
    threads: int, writer: Writer, tracked: Callable[[int], Tracked]
) -> None:
    area = writer.map("area", "anon", GIB_PAGES // 2)
    area.fill()
    tracker = tracked(writer.pid)
    tracker.tick()
    meanwhile = 0
    while meanwhile < 10:
        found: Runs = []
        ticks = 0
        writer.begin(f"write area once {area.pages} {threads} 0")
        while not writer.answered():
            found += tracker.tick().runs(area)
            ticks += 1
        log = writer.answer_runs()
        found += tracker.tick().runs(area)
        assert merged(found) == log == [(area.start, area.pages)]
        # A scan that comes between a thread's write fault and its write tells the page, protects it again,
        # and the write faults once more: told twice. That is rare.
        assert page_count(found) - area.pages < area.pages / 100
        meanwhile += ticks


def test_consumers_keep_sets_of_their_own(writer: Writer, tracked: Callable[[int], Tracked]) -> None:
    area = writer.map("area", "anon", 10_000)
    area.fill()
    tracker = tracked(writer.pid)
    tracker.tick()
    early, late = tracker.target.fan_out.subscribe(), tracker.target.fan_out.subscribe()
    logs: list[Runs] = []
    for turn in range(6):
        logs.append(area.write("random", 500, 2, seed=turn + 1))
        tracker.tick()
        if turn == 3:
            assert within(early.take(), area) == merged(run for log in logs for run in log)
    assert within(early.take(), area) == merged(logs[4] + logs[5])
    assert within(late.take(), area) == merged(run for log in logs for run in log)
    assert not within(late.take(), area)


def within(runs: object, area: Area) -> Runs:
    return clipped([(run.start, run.pages) for run in runs], area.start, area.end)  # type: ignore[attr-defined]


def test_several_processes_at_once(
    new_writer: Callable[[], Writer], tracked: Callable[[int], Tracked]
) -> None:
    writers = [new_writer() for _ in range(3)]
    areas = [writer.map("area", "anon", 5000) for writer in writers]
    for area in areas:
        area.fill()
    trackers = [tracked(writer.pid) for writer in writers]
    for tracker in trackers:
        tracker.tick()
    for turn in range(10):
        logs = [area.write("random", 400, 2, seed=turn * 3 + i) for i, area in enumerate(areas)]
        for tracker, area, log in zip(trackers, areas, logs, strict=True):
            assert tracker.tick().runs(area) == log


def test_the_stream_says_the_same(writer: Writer) -> None:
    area = writer.map("area", "anon", 20_000)
    area.fill()
    with Batch(writer.pid, "-d", "0.1", "--pages", "--track", "write-protect") as batch:
        first = batch.sample()
        assert (first["written_pages"], written(first)) == (0, [])
        log = area.write("random", 7000, 4, seed=5)
        seen: Runs = []
        while merged(seen) != log:  # a sample may fall into the middle of the round
            sample = batch.sample()
            mapping = mapping_at(sample, area.start)
            runs = clipped(written(sample), area.start, area.end)
            assert page_count(runs) == mapping["written_pages"]
            assert mapping["exactness"] == "exact"
            assert mapping["resident"] == area.pages * PAGE
            rate = mapping["written_pages"] * PAGE / sample["interval"]
            assert mapping["written_bytes_per_s"] == pytest.approx(rate, rel=0.01, abs=1)
            assert merged([*runs, *log]) == log, "nothing that was not written"
            seen += runs
        assert clipped(written(batch.sample()), area.start, area.end) == []
