"""The file of a dump is whole, its owner's alone, and under its final name; or there is none."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from dumps import Core, Dumpee, take
from harness import Outcome, memtop, run, spawned, status, wait_for

from memtop.dump import account
from memtop.dump.feed import OwnFeed
from memtop.dump.image import Freeze
from memtop.dump.job import Format, Job, dump
from memtop.dump.output import Output
from memtop.dump.progress import Cancelled, Progress
from memtop.dump.verify import verify
from memtop.linux.errors import Failed, NotPermitted, ProcessGone
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle

pytestmark = pytest.mark.usefixtures("needs_write_protect")
FORMATS = [word for format in Format for word in [format.value]]


def untouched(process: Dumpee) -> None:
    """It runs on, and nobody traces it. What a helper process has left to do is its own end, and no hurry."""
    before = process.ask("written")
    wait_for(lambda: process.ask("written") > before, "it runs on")
    wait_for(lambda: status(process.pid, "TracerPid") == "0", "it is let go")


def await_round(child: subprocess.Popen[str], number: int) -> None:
    """Until a dump with ``FOREVER`` has begun this round."""
    assert child.stdout is not None
    seen = []
    for line in child.stdout:
        seen.append(line)
        if line.split()[:2] == ["round", str(number)]:
            return
    raise AssertionError(f"it ended: {seen}, {child.stderr.read() if child.stderr else ''}")


@pytest.mark.parametrize("format", FORMATS)
def test_mode_and_nothing_else_left(dumpee: Callable[..., Dumpee], tmp_path: Path, format: str) -> None:
    process = dumpee()
    done = run("dump", "-p", str(process.pid), "-o", str(tmp_path / "dump"), "--format", format)
    assert done.code == 0, done.err
    assert "one point in time" in done.out
    assert os.listdir(tmp_path) == ["dump"]
    mode = 0o700 if format == "criu" else 0o600
    assert stat.S_IMODE((tmp_path / "dump").stat().st_mode) == mode
    untouched(process)


def test_nothing_is_written_over(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    process = dumpee()
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "aim")
    for name, word in (("old", "exists already"), ("link", "is a symbolic link")):
        done = run("dump", "-p", str(process.pid), "-o", str(tmp_path / name))
        assert done.code == 1
        done.said(name, word)
    assert (tmp_path / "old").read_text() == "old"
    assert not (tmp_path / "aim").exists()


def test_a_name_that_comes_up_meanwhile(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    process = dumpee()

    def squat(_: Progress) -> None:
        (tmp_path / "dump").write_text("mine")

    with ProcessHandle.open(process.pid) as handle, pytest.raises(Failed, match="came up meanwhile"):
        dump(Job(str(tmp_path / "dump")), handle, probe_kernel(), watch=squat)
    assert (tmp_path / "dump").read_text() == "mine"
    assert os.listdir(tmp_path) == ["dump"]


def test_cancelled(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    process = dumpee()

    def cancel(progress: Progress) -> None:
        if progress.frozen:
            raise Cancelled

    with ProcessHandle.open(process.pid) as handle, pytest.raises(Cancelled):
        dump(Job(str(tmp_path / "dump")), handle, probe_kernel(), watch=cancel)
    assert os.listdir(tmp_path) == []
    untouched(process)


@pytest.mark.parametrize("format", ["core", "snapshot"])
def test_to_a_pipe(dumpee: Callable[..., Dumpee], tmp_path: Path, format: str) -> None:
    process = dumpee()
    path = tmp_path / "piped"
    with path.open("wb") as file:
        command = memtop("dump", "-p", str(process.pid), "-o", "-", "--format", format)
        cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
        done = subprocess.run(command, stdout=cat.stdin, stderr=subprocess.PIPE, text=True, check=False)
        cat.communicate()
    assert done.returncode == 0, done.stderr
    assert "one point in time" in done.stderr
    if format == "core":
        core = Core(path)
        process.judge(core.read, point=True)
        core.close()
    else:
        assert run("verify", str(path)).code == 0


def test_appended_to_a_file_and_to_a_full_device(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    """sendfile(2) takes neither."""
    command = memtop("dump", "-p", str(dumpee().pid), "-o", "-", "--format", "snapshot")
    path = tmp_path / "dump"
    with path.open("ab") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verify(str(path))
    with open("/dev/full", "wb") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "writing standard output failed: the disk is full" in done.stderr


def test_a_reader_that_leaves(dumpee: Callable[..., Dumpee]) -> None:
    process = dumpee(2, 2048)
    true = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    true.wait()
    command = memtop("dump", "-p", str(process.pid), "-o", "-")
    done = subprocess.run(command, stdout=true.stdin, stderr=subprocess.PIPE, text=True, check=False)
    true.communicate()
    assert "Traceback" not in done.stderr
    untouched(process)


@pytest.mark.parametrize("verb", ["dump", "core"])
def test_a_standard_output_that_is_closed(dumpee: Callable[..., Dumpee], tmp_path: Path, verb: str) -> None:
    process = dumpee(1, 16)
    words = ["dump", "-p", str(process.pid)]
    if verb == "core":
        take(process.pid, tmp_path / "snapshot", Format.SNAPSHOT)
        words = ["core", str(tmp_path / "snapshot")]
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *memtop(*words, "-o", "-")]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "memtop: writing standard output failed: it is closed\n"


@pytest.fixture
def small_disk(tmp_path: Path, needs_root: None) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=72m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("missing capability: mounting a tmpfs")
    yield place
    # A helper process that is about to end may be in it still.
    wait_for(lambda: subprocess.run(["umount", place], check=False).returncode == 0, "nobody uses it")


def test_others_may_use_up_the_room_meanwhile(small_disk: Path) -> None:
    with Output(str(small_disk / "dump")) as output:
        output.require(0)
        (small_disk / "another").write_bytes(bytes(16 << 20))
        with pytest.raises(Failed, match="less than 64M left, for others"):
            output.require(0)


@pytest.mark.parametrize("format", FORMATS)
def test_no_room(dumpee: Callable[..., Dumpee], small_disk: Path, format: str) -> None:
    process = dumpee(2, 4096)  # 32 MiB; 8 are left, as memtop leaves 64 to others
    done = run("dump", "-p", str(process.pid), "-o", str(small_disk / "dump"), "--format", format)
    assert done.code == 1
    done.said("has", "to spare", "free some space")
    assert os.listdir(small_disk) == []
    untouched(process)


@pytest.mark.parametrize("when", ["round", "stop"])
@pytest.mark.parametrize("nameless", [True, False], ids=["nameless", "hidden"])
@pytest.mark.parametrize("format", FORMATS)
def test_the_disk_gets_full_meanwhile(
    dumpee: Callable[..., Dumpee], small_disk: Path, monkeypatch: pytest.MonkeyPatch, format: str,
    nameless: bool, when: str,
) -> None:  # fmt: skip
    if not nameless:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_CREAT)  # refused with EINVAL
    process = dumpee(2, 512)

    def fill(progress: Progress) -> None:
        if progress.frozen if when == "stop" else progress.round:
            with suppress(OSError), (small_disk / "other").open("wb") as other:
                while other.write(bytes(1 << 12)):
                    other.flush()

    job = Job(str(small_disk / "dump"), Format(format))
    with (
        ProcessHandle.open(process.pid) as handle,
        pytest.raises(Failed, match=r"the disk is full|left, for others"),
    ):
        dump(job, handle, probe_kernel(), watch=fill)
    assert os.listdir(small_disk) == ["other"]
    untouched(process)


@pytest.mark.parametrize(
    ("format", "call"),
    [("core", "fallocate"), ("core", "pwrite64"), ("snapshot", "fsync"), ("criu", "pwrite64")],
)
def test_a_quota_that_is_used_up(
    dumpee: Callable[..., Dumpee], build: Callable[[str], Path], tmp_path: Path, format: str, call: str
) -> None:
    """Where it shows depends on the file system; tests/vm/test_quota.py has a real one."""
    process = dumpee(2, 2048)
    command = memtop("dump", "-p", str(process.pid), "-o", str(tmp_path / "dump"), "--format", format)
    done = subprocess.run(
        [str(build("sandbox")), f"{call}=EDQUOT", "--", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("your disk quota is used up (free some space, or choose another place)\n")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []
    untouched(process)


@pytest.mark.parametrize("room", [1 << 18, 16], ids=["little", "much"])
def test_what_another_tracker_has(
    dumpee: Callable[..., Dumpee], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """It is read in the stop, which says so; where that would be as long as a copy, there is none."""
    monkeypatch.setattr(account, "WORTH_A_WORD", 1)
    monkeypatch.setattr(account, "MOST", room)
    process = dumpee(2, 512)
    with ProcessHandle.open(process.pid) as handle, closing(OwnFeed(handle, probe_kernel())) as other:
        other.take()
        if room == 16:
            with pytest.raises(Failed, match=r"short stop is not possible.*can't be followed.*--freeze full"):
                take(process.pid, tmp_path / "dump")
            assert os.listdir(tmp_path) == []
        else:
            statement = take(process.pid, tmp_path / "dump").image.statement
            assert statement.final_pages >= 1024
            assert "could not be followed" in statement.sentence
        untouched(process)
        assert other.take().runs.pages > 0, "the other one goes on"
    statement = take(process.pid, tmp_path / "free").image.statement
    assert "followed" not in statement.sentence


def limited(limit: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("freeze", [f.value for f in Freeze])
@pytest.mark.parametrize("form", [["core"], ["snapshot"], ["snapshot", "--zstd"]], ids=" ".join)
def test_a_file_size_limit(
    dumpee: Callable[..., Dumpee], tmp_path: Path, freeze: str, form: list[str]
) -> None:
    process = dumpee(2, 2048)
    words = ["-p", str(process.pid), "-o", str(tmp_path / "dump"), "--freeze", freeze, "--format", *form]
    command = memtop("dump", *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited(1 << 20))
    assert done.returncode == 1
    Outcome(done.returncode, done.stdout, done.stderr, 0).said(
        "file of this size is not allowed", "ulimit -f"
    )
    assert os.listdir(tmp_path) == []
    untouched(process)


FOREVER = """
import sys, time
from memtop.dump import engine, job
real = job.Engine.__init__
def slow(self, *a, watch=None, **k):
    def wait(progress):
        print("round", progress.round, "frozen" if progress.frozen else "running", flush=True)
        time.sleep(1000 if progress.round >= int(sys.argv[1]) else 0)
    real(self, *a, watch=wait, **k)
job.Engine.__init__ = slow
from memtop.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("format", FORMATS)
def test_a_signal_in_the_middle(
    dumpee: Callable[..., Dumpee], tmp_path: Path, number: signal.Signals, format: str
) -> None:
    process = dumpee()
    words = ["dump", "-p", str(process.pid), "-o", str(tmp_path / "dump"), "--format", format]
    with spawned(
        [sys.executable, "-c", FOREVER, "1", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        await_round(child, 1)
        child.send_signal(number)
        _, said = child.communicate(timeout=60)
        assert child.returncode == (-9 if number is signal.SIGKILL else 128 + number)
        assert "Traceback" not in said
    assert os.listdir(tmp_path) == []
    untouched(process)


@pytest.mark.parametrize("format", list(Format))
@pytest.mark.parametrize("when", ["at first", "in a round"])
def test_the_target_ends_meanwhile(
    dumpee: Callable[..., Dumpee], tmp_path: Path, format: Format, when: str
) -> None:
    process = dumpee()

    def end(progress: Progress) -> None:
        if when == "at first" or progress.round > 1 or progress.frozen:
            process.process.kill()
            process.process.wait()

    with ProcessHandle.open(process.pid) as handle, pytest.raises(ProcessGone):
        dump(Job(str(tmp_path / "dump"), format), handle, probe_kernel(), watch=end)
    assert os.listdir(tmp_path) == []


def test_the_target_runs_exec_meanwhile(tmp_path: Path) -> None:
    script = (
        "import os, sys; print('x', flush=True); sys.stdin.readline();"
        "os.execv('/bin/sleep', ['sleep', '600'])"
    )
    with spawned([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # type: ignore[union-attr]

        def execute(_: Progress) -> None:
            if not process.stdin.closed:  # type: ignore[union-attr]
                process.stdin.close()  # type: ignore[union-attr]
                wait_for(lambda: status(process.pid, "Name") == "sleep", "exec")

        with ProcessHandle.open(process.pid) as handle, pytest.raises(ProcessGone, match="exec"):
            dump(Job(str(tmp_path / "dump")), handle, probe_kernel(), watch=execute)
        assert process.poll() is None
    assert os.listdir(tmp_path) == []


def test_readonly_makes_it_impossible(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    process = dumpee()
    done = run("dump", "-p", str(process.pid), "-o", str(tmp_path / "dump"), "--readonly")
    assert done.code == 4
    done.said("--readonly")
    assert os.listdir(tmp_path) == []


def test_where_one_may_not_write(dumpee: Callable[..., Dumpee]) -> None:
    process = dumpee()
    with pytest.raises((NotPermitted, Failed)):
        take(process.pid, Path("/proc/dump"))
    for place in ("/proc", "/sys"):
        done = run("dump", "-p", str(process.pid), "-o", f"{place}/dump")
        assert done.code in (1, 4)
        done.said(f"writing {place}/dump")
        assert "partial" not in done.err
        assert "no such directory" not in done.err
    with pytest.raises(Failed, match="no such directory"):
        take(process.pid, Path("/nowhere/dump"))
