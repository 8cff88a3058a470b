"""memtop, its helper and the target end at random instants of a dump: the others are unharmed."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dumps import Core, Dumpee, take
from harness import PATIENCE, spawned, status, wait_for

from memtop.dump.image import Consistency, Freeze
from memtop.dump.job import Format
from memtop.dump.verify import verify
from memtop.linux.errors import MemtopError, ProcessGone
from memtop.linux.process import ProcessHandle
from memtop.linux.standstill import Frozen, frozen

pytestmark = pytest.mark.usefixtures("needs_write_protect", "needs_ptrace")
LONG = "MEMTOP_LONG" in os.environ

SENSITIVE = """
import ctypes, os, select, signal, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
got = [0]
def count(*_): got[0] += 1
signal.signal(signal.SIGUSR1, count)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
interrupted = [0]
def wait():  # epoll_wait is one of the calls that a stop makes return EINTR
    poll, events = select.epoll(), ctypes.create_string_buffer(64)
    while True:
        if libc.epoll_wait(poll.fileno(), events, 1, 60000) < 0:
            interrupted[0] += 1
def work():
    while True:
        memory[0] += 1
memory = [0]
for f in [wait, wait, work]:
    threading.Thread(target=f, daemon=True).start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
os.write(1, b"ready\\n")
while os.read(0, 1):
    os.write(1, b"%d %d\\n" % (got[0], interrupted[0]))
"""

DUMPER = """
import contextlib, itertools, os, sys, time
from memtop.dump import engine
from memtop.dump.job import Format, Job, dump
from memtop.linux.errors import MemtopError
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
@contextlib.contextmanager
def held(*options):
    # Helper and memtop go ahead of others: on one processor a stop would be over before anybody saw it.
    with frozen(*options) as still:
        time.sleep(i % 2 * 0.03)
        yield still
frozen, engine.frozen = engine.frozen, held
with ProcessHandle.open(int(sys.argv[1])) as handle:
    kernel = probe_kernel()
    os.write(1, b"ready\\n")
    for i in itertools.count():
        path = os.path.join(sys.argv[2], "dump%d" % i)
        try:
            doubts = dump(Job(path, Format.SNAPSHOT), handle, kernel).image.statement.doubts
        except MemtopError as error:
            os.write(1, error.sentence.encode() + b"\\n")
        else:
            os.unlink(path)
            for doubt in doubts:
                if "early" in doubt:
                    os.write(1, doubt.encode() + b"\\n")
"""


class Sensitive:
    """A process that notices whatever is not as it should be: calls that say EINTR, signals that are lost."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.pid = process, process.pid
        self.sent = 0

    def answer(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def signal(self) -> None:
        """One more, while whatever happens to it happens."""
        os.kill(self.pid, signal.SIGUSR1)
        self.sent += 1

    def unharmed(self, *, interrupted: bool = False) -> None:
        """It runs, nobody traces it, it has got all signals, and no EINTR, unless that may be."""
        wait_for(lambda: status(self.pid, "TracerPid") == "0", "it is let go")

        def all_came() -> bool:
            assert self.process.stdin is not None
            self.process.stdin.write(b"?")
            got, eintr = map(int, self.answer().split())
            assert interrupted or not eintr
            return got == self.sent

        wait_for(all_came, "all signals came")


@pytest.fixture
def sensitive() -> Iterator[Sensitive]:
    command = [sys.executable, "-c", SENSITIVE]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        target = Sensitive(process)
        assert target.answer() == b"ready\n"
        yield target


@contextlib.contextmanager
def dumper(target: Sensitive, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Dumps it again and again."""
    command = [sys.executable, "-c", DUMPER, str(target.pid), str(directory)]
    with spawned(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process


def await_tracer(pid: int) -> int:
    """Whoever traces it next. While one ends, the kernel may name the parent in its place: that is us."""
    deadline = time.monotonic() + PATIENCE
    while (tracer := int(status(pid, "TracerPid"))) in (0, os.getpid()):
        assert time.monotonic() < deadline, "nobody dumps it"
    return tracer


def test_the_helper_is_killed_at_any_instant(sensitive: Sensitive, tmp_path: Path) -> None:
    rng = random.Random(1)
    with dumper(sensitive, tmp_path) as memtop:
        killed, said, end = 0, b"", time.monotonic() + 2 * PATIENCE
        assert memtop.stdout is not None
        # Where a processor is long in coming, most stops are over before the kill that was meant for them.
        while killed < (300 if LONG else 20) or (b"made again" not in said and time.monotonic() < end):
            helper = await_tracer(sensitive.pid)
            sensitive.signal()
            time.sleep(rng.random() * 0.002)
            with contextlib.suppress(ProcessLookupError):
                os.kill(helper, signal.SIGKILL)
                killed += 1
            # From the interrupt to the mending of a call it takes about 0.1 ms: if the helper (not
            # memtop) is killed just then, epoll_wait says EINTR. docs/dumps.md says so.
            sensitive.unharmed(interrupted=True)
            assert memtop.poll() is None
            while select.select([memtop.stdout], [], [], 0)[0]:
                said += os.read(memtop.stdout.fileno(), 65536)
        words = said.splitlines()
        assert any(b"made again" in line for line in words)
        # One that was killed in the middle of an injection is the one thing that is not tried again.
        assert all(b"early" in line or b"helper process was ended" in line for line in words)


def test_memtop_is_killed_at_any_instant(sensitive: Sensitive, tmp_path: Path) -> None:
    rng = random.Random(2)
    for i in range(200 if LONG else 8):
        with dumper(sensitive, tmp_path) as memtop:
            if i % 2:
                await_tracer(sensitive.pid)
            sensitive.signal()
            time.sleep(rng.random() * (0.002 if i % 2 else 0.06))
            memtop.kill()
            memtop.wait()
        sensitive.unharmed()
        for left in tmp_path.iterdir():  # it had its name already: then it is whole
            verify(str(left))
            left.unlink()


@pytest.mark.parametrize("freeze", list(Freeze))
def test_the_target_is_killed_at_any_instant(
    dumpee: Callable[..., Dumpee], tmp_path: Path, freeze: Freeze
) -> None:
    rng = random.Random(freeze.value)
    gone = 0
    for i in range(60 if LONG else 6):
        process, format = dumpee(4, 128, 0), [Format.CORE, Format.SNAPSHOT][i % 2]
        begun = threading.Event()
        end = threading.Timer(rng.random() * 0.08, lambda p=process.process, b=begun: (b.set(), p.kill()))
        end.start()
        try:
            take(process.pid, tmp_path / "dump", format, freeze=freeze)
        except ProcessGone:
            gone += 1
            assert os.listdir(tmp_path) == []
        except MemtopError:  # it went while it was being attached to
            assert begun.is_set()
            wait_for(lambda p=process.pid: status_or_none(p) in (None, "Z"), "its end")
            assert os.listdir(tmp_path) == []
        else:
            if format is Format.SNAPSHOT:
                verify(str(tmp_path / "dump"))
            (tmp_path / "dump").unlink()
        end.join()
        process.__exit__()
    assert gone or not LONG


@pytest.mark.parametrize("times", [1, 3])
def test_a_stop_that_ends_too_early_is_made_again(
    dumpee: Callable[..., Dumpee], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """What the process wrote when it ran on is in the dump. After the third time it is said, not hidden."""
    process, left = dumpee(3, 256, 5000), times

    @contextlib.contextmanager
    def cut_short(handle: ProcessHandle) -> Iterator[Frozen]:
        nonlocal left
        with frozen(handle) as still:
            if left:
                left -= 1
                os.kill(await_tracer(process.pid), signal.SIGKILL)
                wait_for(lambda: status(process.pid, "TracerPid") == "0", "it is let go")
                before = process.ask("written")
                wait_for(lambda: process.ask("written") > before + 50, "it writes on")
            yield still

    monkeypatch.setattr("memtop.dump.engine.frozen", cut_short)
    statement = take(process.pid, tmp_path / "core").image.statement
    assert any("ended early, and was made again" in doubt for doubt in statement.doubts)
    whole = times < 3
    assert statement.consistency is (Consistency.POINT if whole else Consistency.TORN)
    assert any("the stop ended before all was read" in doubt for doubt in statement.doubts) is not whole
    if whole:
        core = Core(tmp_path / "core")
        process.judge(core.read, point=True)
        core.close()


def status_or_none(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        return status(pid, "State")[:1]
    return None
