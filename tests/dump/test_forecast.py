"""What a dump will take, as the dialog foretells it, comes true."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from desk import Desk
from dumps import PAGE, Dumpee
from harness import Runs, Writer, wait_for

from memtop.dump.estimate import Writes, forecast, pages_of, writes_of
from memtop.dump.image import Freeze
from memtop.dump.job import Job, dump
from memtop.dump.plan import Range
from memtop.dump.progress import Progress
from memtop.dump.rounds import Verdict
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.sampler.target import open_target

QUIET = "MEMTOP_LONG" in os.environ
"""Time and rounds are foretold of a machine with nothing else to do: at load 30 it was five, not three."""


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize("rate", [0, 300, 3000])
def test_what_is_foretold_comes_true(
    dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path, rate: int
) -> None:
    """Of a writer whose rate is known; with the speed that a dump before has told."""
    threads, pages = 2, 12000
    process = dumpee(threads, pages, rate or 1)
    at = desk(process.pid, 1.0)
    wait_for(lambda: len(at.samples) > 2 and at.samples[-1].interval > 0.5, "samples")
    assert at.make(tmp_path / "warm").result is not None
    ticks = len(at.samples)
    wait_for(lambda: len(at.samples) > ticks + 1 and at.samples[-1].interval > 0.5, "a whole second")
    sample = at.samples[-1]
    writes = writes_of(sample)
    assert writes is not None
    if QUIET:
        assert writes.least(1.0) == pytest.approx(threads * (rate or 1), rel=0.5, abs=50)
    told = forecast(
        pages_of(sample, at.dumps.core_filter(process.pid)),
        writes,
        resident=sample.totals.resident // PAGE,
        speed=at.dumps.speed,
        overhead=at.dumps.overhead,
    )
    outcome = at.make(tmp_path / "it")
    assert outcome.result is not None, outcome.error
    said, result = outcome.result.image.statement, outcome.result
    assert told.size == pytest.approx(result.stored, rel=0.1)
    assert told.took is not None
    assert told.rounds is not None
    assert told.left is not None
    if not QUIET:
        return
    assert told.took[0] / 10 < result.took < told.took[1] * 10 + 0.5  # the machine may be busy
    assert told.rounds[0] - 1 <= len(said.rounds) <= told.rounds[1] + 1
    slower = max(result.took / told.took[1], 1.0)
    assert said.final_pages <= (told.left[1] + 200) * 2 * slower


@pytest.mark.usefixtures("needs_write_protect")
def test_what_is_copied_twice_counts_once(writer: Writer, tmp_path: Path) -> None:
    area = writer.map("a", "anon", 4000)
    area.fill()
    once_more: list[Runs] = []

    def watch(progress: Progress) -> None:
        if not once_more and progress.round:
            once_more.append(area.fill())

    with ProcessHandle.open(writer.pid) as handle:
        result = dump(Job(str(tmp_path / "core")), handle, probe_kernel(), watch=watch)
    said = result.image.statement
    assert sum(round.pages for round in said.rounds) + said.final_pages > 1.9 * area.pages
    on_disk = (tmp_path / "core").stat().st_blocks * 512
    assert area.pages * PAGE <= result.stored <= on_disk < 2 * area.pages * PAGE


def test_a_forecast_goes_through_the_rounds() -> None:
    calm = forecast(1 << 18, Writes(((1.0, 10.0),)), resident=1 << 18)
    assert calm.rounds == (1, 1)
    assert calm.took is not None
    assert calm.took[0] == pytest.approx(1.0, rel=0.1)  # at the speed that is assumed
    assert calm.why is Verdict.SMALL
    wild = forecast(1 << 18, Writes(((1.0, 250000.0),)), resident=1 << 18)
    assert wild.why is Verdict.STUCK
    assert wild.stop is not None
    assert wild.stop[1] > 0.3
    full = forecast(1 << 18, None, resident=1 << 18, freeze=Freeze.FULL)
    assert full.stop is not None
    assert full.stop[0] > 1.0
    unknown = forecast(1 << 18, None, resident=1 << 18)
    assert unknown.rounds is None
    assert unknown.stop is None
    assert unknown.size == 1 << 30


def test_working_sets_of_the_same_span_are_one_point() -> None:
    sample = SimpleNamespace(totals=SimpleNamespace(written_pages=5), baseline=False, interval=0.2)
    assert writes_of(sample, [(0.2, 9 * PAGE), (3.0, 20 * PAGE), (3.0, 20 * PAGE)]) == Writes(
        ((0.2, 5.0), (3.0, 20.0))
    )


def test_pages_written_within_a_span_lie_between_two_guesses() -> None:
    writes = Writes(((1.0, 100.0), (10.0, 400.0), (60.0, 400.0)))
    assert writes.least(0.1) == pytest.approx(10)
    assert writes.most(0.1) == 100  # the same hundred, again and again
    assert writes.least(5.5) == pytest.approx(250)
    assert writes.least(600) == 400  # nothing new was written in the last fifty seconds


def test_what_the_filter_leaves_out_is_not_foretold(writer: Writer) -> None:
    """Of shared memory another bit decides where it has a file that is still there."""
    file, anon = writer.map("file", "shared-file", 300), writer.map("anon", "shared", 200)
    file.fill()
    anon.fill()
    target = open_target(writer.pid, probe_kernel())
    try:
        sample = target.tick()
    finally:
        target.close()
    spans = [(area, Range(area.start, area.end)) for area in (file, anon)]
    for core_filter, taken in ((0x02, (0, 200)), (0x08, (300, 0)), (0x0A, (300, 200)), (0x01, (0, 0))):
        assert tuple(pages_of(sample, core_filter, span) for _, span in spans) == taken
