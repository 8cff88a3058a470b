"""Dumps beside a screen: two threads, one tracker; what they take is foretold and comes true."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from desk import Desk
from dumps import PAGE, Core, Dumpee
from harness import PATIENCE, Writer, memtop, snapshot_memory, wait_for

from memtop.dump.background import default_path, open_command
from memtop.dump.feed import SharedFeed
from memtop.dump.image import Freeze, PageKind
from memtop.dump.job import Format, Job
from memtop.dump.plan import Range
from memtop.dump.verify import verify
from memtop.linux.errors import Failed
from memtop.linux.features import probe_kernel
from memtop.linux.runs import runs_union
from memtop.model.actions import Method
from memtop.model.runs import PageRuns
from memtop.model.sample import Life
from memtop.sampler.target import open_target


def reader(path: Path) -> Callable[[int, int], bytes]:
    """Reads a snapshot."""
    return partial(snapshot_memory, path)


@pytest.mark.usefixtures("needs_write_protect")
def test_a_screen_that_ticks_meanwhile_takes_nothing_from_a_dump(
    dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path
) -> None:
    """What a tick of the screen reads and clears is in the dump all the same, each of one point in time."""
    process = dumpee(2, 512, 3000)
    at = desk(process.pid, 0.1)
    for _ in range(12):
        outcome = at.make(tmp_path / "core")
        assert outcome.result is not None, outcome.error
        core = Core(tmp_path / "core")
        process.judge(core.read, point=True)
        core.close()
        os.unlink(tmp_path / "core")
    assert not at.notices


@pytest.mark.usefixtures("needs_write_protect")
def test_the_samples_miss_nothing_that_a_dump_has_read(
    dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path
) -> None:
    process = dumpee(1, 4096, 2000)
    at = desk(process.pid, 0.2)
    wait_for(lambda: len(at.samples) > 2, "samples")
    first, before = len(at.samples), process.ask("written")
    for i in range(3):
        assert at.make(tmp_path / str(i)).result is not None
    after = process.ask("written")
    ticks = len(at.samples)
    wait_for(lambda: len(at.samples) > ticks + 1, "one more sample")
    samples = at.samples[first:]
    assert [s.time for s in samples] == sorted(s.time for s in samples)
    seen = PageRuns()
    for sample in samples:
        seen = runs_union(seen, sample.runs)
    mine = [a for a in seen.addresses() if process.memory <= a < process.memory + 4096 * PAGE]
    assert len(mine) >= min(after - before, 4096)
    assert all(s.tracker.name == "write-protect" and not s.baseline for s in samples)


@pytest.mark.usefixtures("needs_write_protect")
def test_a_page_that_only_a_look_of_the_dump_saw_is_on_the_screen(
    writer: Writer, desk: Callable[..., Desk], tmp_path: Path
) -> None:
    """Even where the screen takes no samples meanwhile: those of the dump wait for it."""
    area = writer.map("area", "anon", 100)
    area.fill()
    at = desk(writer.pid)
    wait_for(lambda: len(at.samples) > 2, "samples")
    at.sampler.set_frozen(True)
    stood = at.samples[-1]
    area.poke(11)
    assert at.make(tmp_path / "core").result is not None
    assert at.samples[-1] is stood  # the picture stands
    at.sampler.set_frozen(False)
    wait_for(lambda: at.samples[-1] is not stood, "a sample")
    after = at.samples[at.samples.index(stood) + 1 :]
    seen = [a for s in after for a in s.runs.addresses() if area.start <= a < area.end]
    assert seen == [area.start + 11 * PAGE]  # and no more than once


@pytest.mark.usefixtures("needs_write_protect")
def test_nobody_else_looks_during_the_stop(writer: Writer) -> None:
    """A tick of the screen would take pages away from the dump, or make the stop longer."""
    target = open_target(writer.pid, probe_kernel())
    try:
        target.arm(Method.WRITE_PROTECT)
        feed = SharedFeed(target)
        before = sys.getswitchinterval()
        ticked = threading.Event()
        other = threading.Thread(target=lambda: (target.tick(), ticked.set()))
        with feed.alone():
            other.start()
            assert not ticked.wait(0.3)
            assert sys.getswitchinterval() < before
            feed.take(stopped=True)
        assert ticked.wait(PATIENCE)
        other.join()
        assert sys.getswitchinterval() == before
        feed.close()
    finally:
        target.close()


@pytest.mark.usefixtures("needs_write_protect")
def test_a_range_on_the_command_line(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    process = dumpee(1, 256, 500)
    first, last = process.memory + 3 * PAGE, process.memory + 9 * PAGE
    path = tmp_path / "core"
    command = memtop("dump", "-p", str(process.pid), "-o", str(path), "--range")
    subprocess.run([*command, f"{first:x}-{last:x}"], check=True, capture_output=True)
    core = Core(path)
    assert core.read(first, last - first) is not None
    assert core.read(first - PAGE, PAGE) is None
    assert core.read(last, PAGE) is None
    core.close()
    path.unlink()
    for text, said, code in (("0-1000", "nothing is mapped there", 1), ("9-8", "is empty", 2)):
        ran = subprocess.run([*command, text], capture_output=True, text=True)
        assert ran.returncode == code, ran.stderr
        assert said in ran.stderr
        assert not path.exists()


@pytest.mark.usefixtures("needs_write_protect")
def test_an_increment_reads_only_what_was_written_since(
    dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path
) -> None:
    process = dumpee(1, 2048, 50)
    at = desk(process.pid)
    snapshot = {"format": Format.SNAPSHOT}
    since = process.ask("written")
    assert at.make(tmp_path / "0", **snapshot).result is not None
    for i in range(1, 4):
        parent = str(tmp_path / str(i - 1))
        assert at.dumps.continues(at.key, parent)
        before = since
        since = process.ask("written")
        outcome = at.make(tmp_path / str(i), parent=parent, **snapshot)
        assert outcome.result is not None, outcome.error
        written = process.ask("written") - before
        assert outcome.result.image.statement.rounds[0].pages <= written + 100, "and its stacks and the like"
    assert not at.dumps.continues(at.key, str(tmp_path / "0"))  # of that, what was written since is not known
    for i in range(4):
        verify(str(tmp_path / str(i)))
        process.judge(reader(tmp_path / str(i)), point=True)


@pytest.mark.usefixtures("needs_write_protect")
def test_tracking_that_was_interrupted_makes_an_increment_read_all(
    dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path
) -> None:
    process = dumpee(1, 512, 500)
    at = desk(process.pid)
    assert at.make(tmp_path / "0", format=Format.SNAPSHOT).result is not None
    at.sampler.disarm(at.key)
    wait_for(lambda: at.samples[-1].tracker.name == "off", "the end of tracking")
    at.sampler.arm(at.key, Method.WRITE_PROTECT)
    wait_for(lambda: at.samples[-1].tracker.name != "off", "tracking")
    assert not at.dumps.continues(at.key, str(tmp_path / "0"))
    outcome = at.make(tmp_path / "1", format=Format.SNAPSHOT, parent=str(tmp_path / "0"))
    assert outcome.result is not None, outcome.error
    assert outcome.result.image.statement.rounds[0].pages >= 512
    process.judge(reader(tmp_path / "1"), point=True)


@pytest.mark.usefixtures("needs_write_protect")
def test_an_untracked_process_is_tracked_for_the_dump_alone(
    dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path
) -> None:
    process = dumpee(1, 256, 500)
    at = desk(process.pid, method=Method.OFF)
    outcome = at.make(tmp_path / "core")
    assert outcome.result is not None, outcome.error
    assert outcome.result.image.statement.tracker == "write-protect"
    core = Core(tmp_path / "core")
    process.judge(core.read, point=True)
    core.close()
    assert at.samples[-1].tracker.name == "off"
    assert "uw" not in Path(f"/proc/{process.pid}/smaps").read_text().split()


@pytest.mark.usefixtures("needs_write_protect")
def test_one_at_a_time_and_nobody_changes_the_tracker_meanwhile(
    dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path
) -> None:
    process = dumpee(1, 256, 500)
    at = desk(process.pid)
    here, on = threading.Event(), threading.Event()

    def hold() -> None:
        here.set()
        on.wait(PATIENCE)

    first = at.start(tmp_path / "a", on_move=hold)
    assert here.wait(PATIENCE)
    with pytest.raises(Failed, match="under way"):
        at.make(tmp_path / "b")
    at.sampler.disarm(at.key)
    wait_for(lambda: at.notices, "a refusal")
    assert "a dump follows what is written" in at.notices[0].text
    on.set()
    assert first.outcome().result is not None
    assert sorted(os.listdir(tmp_path)) == ["a"]


@pytest.mark.parametrize("freeze", list(Freeze))
@pytest.mark.usefixtures("needs_write_protect")
def test_a_cancelled_one_leaves_nothing(
    dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path, freeze: Freeze
) -> None:
    process = dumpee(1, 20000, 500)
    at = desk(process.pid)
    outcome = at.start(tmp_path / "a", on_move=lambda: at.dumps.cancel(), freeze=freeze).outcome()
    assert outcome.cancelled
    assert outcome.result is None
    assert os.listdir(tmp_path) == []
    before = process.ask("written")
    wait_for(lambda: process.ask("written") > before, "it to run on")


@pytest.mark.usefixtures("needs_write_protect")
def test_a_process_that_ends_in_the_middle(
    dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path
) -> None:
    process = dumpee(1, 20000, 500)
    at = desk(process.pid)

    def end() -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.process.wait()

    outcome = at.start(tmp_path / "a", on_move=end).outcome()
    assert outcome.error == f"the dump of process {process.pid} can't be finished: it ended"
    assert os.listdir(tmp_path) == []
    wait_for(lambda: at.samples[-1].life is Life.ENDED, "the screen to know")


@pytest.mark.usefixtures("needs_write_protect")
def test_a_process_that_runs_exec_in_the_middle(desk: Callable[..., Desk], tmp_path: Path) -> None:
    code = (
        "import os, sys; x = bytearray(b'x') * (64 << 20); print(flush=True); sys.stdin.readline();"
        "then = 'import sys; print(flush=True); sys.stdin.readline()';"
        "os.execv(sys.executable, [sys.executable, '-c', then])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        at = desk(child.pid)
        gone = []

        def run_exec() -> None:
            if not gone:
                gone.append(True)
                child.stdin.write(b"\n")
                child.stdin.flush()
                child.stdout.readline()

        outcome = at.start(tmp_path / "a", on_move=run_exec).outcome()
        assert "it ran exec, so the memory that was to be dumped is no more" in outcome.error
        assert os.listdir(tmp_path) == []
        wait_for(lambda: at.samples[-1].tracker.name == "off", "the screen to know")
        child.stdin.close()


@pytest.mark.usefixtures("needs_write_protect")
def test_a_range_alone(dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path) -> None:
    process = dumpee(1, 256, 500)
    at = desk(process.pid)
    start = process.memory
    outcome = at.make(tmp_path / "a", only=(Range(start + 16 * PAGE, start + 48 * PAGE),))
    assert outcome.result is not None, outcome.error
    assert outcome.result.image.pages_of(PageKind.DATA) == 32
    core = Core(tmp_path / "a")
    assert core.read(start + 16 * PAGE, 32 * PAGE) is not None
    assert core.read(start + 15 * PAGE, PAGE) is None
    assert core.read(start + 48 * PAGE, PAGE) is None
    core.close()
    free = 0x10000
    outcome = at.make(tmp_path / "b", only=(Range(free, free + PAGE),))
    assert outcome.error == "there is nothing to dump in 10000-11000: nothing is mapped there"
    assert not (tmp_path / "b").exists()


def test_names_and_commands_are_made_of_harmless_characters(tmp_path: Path) -> None:
    path = default_path("../x y\x1b[2J`id`", 42, 0.0, "core", str(tmp_path))
    assert path == f"{tmp_path}/x_y_2J_id-42-19700101T000000Z.core"
    Path(path).touch()
    assert default_path("../x y\x1b[2J`id`", 42, 0.0, "core", str(tmp_path)).endswith("Z-2.core")
    assert default_path("...", 1, 0.0, "core").startswith("process-1-")
    job = Job("/tmp/a b;reboot", Format.CORE)
    assert open_command(job, "/opt/$(x)") == "gdb '/opt/$(x)' '/tmp/a b;reboot'"


@pytest.mark.usefixtures("needs_write_protect")
def test_criu_images_beside_a_screen(
    dumpee: Callable[..., Dumpee], desk: Callable[..., Desk], tmp_path: Path
) -> None:
    process = dumpee(1, 256, 500)
    at = desk(process.pid)
    outcome = at.make(tmp_path / "images", format=Format.CRIU)
    assert outcome.result is not None, outcome.error
    assert outcome.open_with == f"crit x {tmp_path / 'images'} mems"
    assert sorted(os.listdir(tmp_path)) == ["images"]
