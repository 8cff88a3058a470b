"""Going back and forth in a recording: every picture is the one that was, and keys say what they can't do."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_target import FakeTarget
from fake_world import FakeMapping, hot, idle, process, scattered, sweep
from harness import wait_for
from recorded import View, recorded, shown
from textual.pilot import Pilot

from memtop.model.actions import ClearRefs, Method, Notice
from memtop.model.layout import Kind
from memtop.model.sample import Sample
from memtop.sampler.source import Position
from memtop.stream.delta import WHOLE_EVERY, DeltaWriter
from memtop.stream.recording import Recording, open_recording
from memtop.stream.replay import NO_PROCESS, ReplaySource
from memtop.ui import checkpoints
from memtop.ui.state import ProcessView
from memtop.ui.theme import DARK

MOMENTS = 2 * WHOLE_EVERY + 5


def mappings() -> list[FakeMapping]:
    m = FakeMapping
    return [
        m(0x10000, 400, Kind.HEAP, b"[heap]", hot(3, 5)),
        m(0x7F0000000000, 9000, Kind.ANON, b"", sweep(9000, 70)),
        m(0x7F1000000000, 300, Kind.ANON, b"[anon:x]", scattered(300, 3), lambda p: p % 7 > 1),
        m(0x7F2000000000, 10, Kind.FILE, b"/etc/passwd", idle, inode=5),
    ]


def run_of(moments: int) -> list[Sample]:
    """Two processes; mappings come, grow, move and go."""
    targets = [FakeTarget(process(), mappings()), FakeTarget(process(812, "postgres"), mappings()[:3], 2)]
    samples = []
    for n in range(moments):
        for target in targets:
            if n == 1:
                target.method, target.baseline = Method.WRITE_PROTECT, True
            if n % 10 == 5:
                target.mappings[0].pages += 3
                target._maps.clear()
            if n % 20 == 7:
                target.mappings.insert(1, FakeMapping(n << 24, 8, Kind.JIT, b"", hot(0, 8)))
            if n % 20 == 17:
                del target.mappings[1]
            samples.append(target.sample(0.5))
    return samples


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return run_of(MOMENTS)


@pytest.fixture
def path(samples: list[Sample], tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    writer = DeltaWriter(0.5)
    first = "".join(writer.process_line(sample.process) for sample in samples[:2])
    path.write_text(first + "".join(map(writer.lines, samples)), encoding="ascii")
    return path


class Viewer:
    """The screen's side without a screen: views that absorb, and what was said."""

    def __init__(self, recording: Recording, at: int | None = None) -> None:
        self.views = {view.key: view for view in map(ProcessView, recording.processes())}
        for view in self.views.values():
            view.checkpoints = checkpoints.Checkpoints()
        self.notices: list[Notice] = []
        self.source = ReplaySource(recording, at)
        self.source.start(lambda sample: self.views[sample.key].absorb(sample), self.notices.append)

    def rewind(self, time: float) -> float:
        return min(view.rewind(time) for view in self.views.values())

    def step(self, moments: int) -> int:
        self.source.set_frozen(True)
        self.source.step(moments, self.rewind)
        return self.stands()

    def stands(self) -> int:
        wait_for(lambda: self.source.position.stands, "the recording stands")
        return self.source.position.at

    def state(self) -> list[object]:
        out: list[object] = []
        for view in self.views.values():
            view.take()
            out += [rows(view.sample), view.rates, ages_of(view)]
        return out


def ages_of(view: ProcessView) -> object:
    ages = {key: (age.first, age.cell_pages, list(age.times)) for key, age in view.ages._maps.items()}
    past = [(kept.sample.time, kept.since, kept.runs, kept.tracked) for kept in view.past.kept]
    return ages, past, view.sets


def rows(sample: Sample | None) -> object:
    assert sample is not None
    return round(sample.time, 6), sample.life, sample.tracker, sample.coverage, [
        (row.mapping, row.resident, row.written_pages, list(row.written), row.resident_map, row.flags)
        for row in sample.mappings
    ]  # fmt: skip


@pytest.fixture
def viewer(path: Path) -> Iterator[Viewer]:
    viewer = Viewer(open_recording(str(path)), at=1)
    viewer.stands()
    yield viewer
    viewer.source.stop()


def test_what_was_recorded_is_what_is_replayed(samples: list[Sample], viewer: Viewer) -> None:
    assert viewer.step(10_000) == MOMENTS
    fresh = {view.key: view for view in map(ProcessView, [samples[0].process, samples[1].process])}
    for sample in samples:
        fresh[sample.key].absorb(sample)
    for key, view in fresh.items():
        view.take()
        viewer.views[key].take()
        assert rows(viewer.views[key].sample) == rows(view.sample)
        assert viewer.views[key].rates[2:] == pytest.approx(view.rates[2:], rel=1e-4)


def test_a_step_back_shows_what_was_shown_there(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MOST_BYTES", 100_000)  # thinned out on the way
    seen: dict[int, list[object]] = {1: viewer.state()}
    while (at := viewer.step(1)) not in seen:
        seen[at] = viewer.state()
    assert len(seen) == MOMENTS
    rng = random.Random(5)
    for _ in range(60):
        before = viewer.source.position.at
        by = rng.choice([-1, -1, -2, -10, -50, 1, 3, 10])
        at = viewer.step(by)
        assert at == min(max(before + by, 1), MOMENTS)
        assert viewer.state() == seen[at], (before, by)


def test_a_pipe_is_followed_and_its_end_is_told(path: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "wb") as pipe:
        text = path.read_bytes().splitlines(keepends=True)
        pipe.write(b"".join(text[:4]))  # two processes, one moment
        pipe.flush()
        viewer = Viewer(Recording(read, "a pipe"))

        def position() -> tuple[int, int]:
            return viewer.source.position.at, viewer.source.position.moments

        wait_for(lambda: position() == (1, 1), "the first moment")
        assert viewer.source.position.follows
        pipe.write(b"".join(text[4:]))
        pipe.flush()
        wait_for(lambda: position() == (MOMENTS, MOMENTS), "all that arrived, at once")
        assert not viewer.notices
        viewer.source.set_frozen(True)
        assert viewer.step(-20) == MOMENTS - 20
        viewer.source.set_frozen(False)  # back to now
        wait_for(lambda: position() == (MOMENTS, MOMENTS), "now")
    wait_for(lambda: viewer.notices, "word of the end")
    assert viewer.notices[0].text == f"the recording ends here, after {MOMENTS} samples; ← steps back"
    viewer.source.stop()


def test_of_a_pipe_the_oldest_go_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memtop.stream.recording.MOST_KEPT", 40_000)
    read, write = os.pipe()
    text = path.read_bytes()

    def feed() -> None:
        with os.fdopen(write, "wb") as pipe:
            pipe.write(text)

    threading.Thread(target=feed).start()
    viewer = Viewer(Recording(read, "a pipe"))
    assert viewer.stands() == MOMENTS
    recording = viewer.source._recording
    assert recording._kept <= 40_000
    lost = [notice.text for notice in viewer.notices if "missing here" in notice.text]
    viewer.notices.clear()
    oldest = viewer.step(-10_000)
    assert 1 < oldest < MOMENTS
    assert lost or recording.oldest  # whether the reader overtook the player is up to the scheduler
    assert viewer.step(1) == oldest + 1
    assert not [notice for notice in viewer.notices if notice.severity == "error"]
    viewer.source.stop()


def test_the_pace_is_that_of_the_recording(path: Path) -> None:
    viewer = Viewer(open_recording(str(path)))
    wait_for(lambda: viewer.source.position.at >= 1, "the first moment")
    assert viewer.source.interval == 0.5
    viewer.source.change_speed(100)
    assert viewer.source.position.speed == 64
    wait_for(lambda: viewer.source.position.at_end, "its end, 64 times as fast")
    viewer.source.change_speed(-100)
    assert viewer.source.position.speed == 0.125
    viewer.source.stop()


def test_what_needs_a_process_is_refused_in_words(viewer: Viewer) -> None:
    key = next(iter(viewer.views))
    viewer.source.arm(key, Method.AUTO)
    viewer.source.disarm(key)
    viewer.source.clear_refs(key, ClearRefs.ALL)
    assert viewer.notices == [Notice(NO_PROCESS, "warning", key)] * 3


async def test_keys_of_a_recording(tmp_path: Path) -> None:
    async with shown(View("", live=False, at=5), (120, 40), DARK, tmp_path) as app:
        pilot: Pilot[int] = Pilot(app)

        def at() -> Position:
            assert app.source.position is not None
            return app.source.position

        assert "▸ replay 5/9" in app.text
        await pilot.press("ctrl+left")
        wait_for(lambda: at().at == 1, "the first sample")
        await pilot.pause()
        assert "‖ frozen 1/9" in app.text
        await pilot.press("plus")
        assert at().speed == 2
        await pilot.press("c")
        await pilot.pause()
        assert "there is no process to act on" in app.text


async def test_live_has_nothing_to_go_back_to(tmp_path: Path) -> None:
    async with shown(View("", keys=["left"]), (120, 40), DARK, tmp_path) as app:
        assert "earlier samples can be looked at while the picture is frozen" in app.text
        assert not app.live.frozen


def test_a_recording_of_the_past_still_opens(tmp_path: Path) -> None:
    """tests/data was written once; a format that can't read it any more needs a new version."""
    recording = recorded("demo", tmp_path)
    viewer = Viewer(recording, at=9)
    assert viewer.stands() == 9
    viewer.source.stop()
