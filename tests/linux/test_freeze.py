"""A stop of all threads: it holds, it ends with whoever made it, and the process notices only the time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from harness import spawned, status, thread_states, wait_for

from harm import trace
from memtop.linux import access, standstill
from memtop.linux.errors import Failed, NotPermitted, ProcessGone
from memtop.linux.pagemap import Scanner
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader
from memtop.linux.standstill import PATIENCE_MS, frozen
from memtop.linux.threads import choose_thread
from memtop.tracking import soft_dirty

pytestmark = pytest.mark.usefixtures("needs_ptrace")

TARGET = """
import ctypes, os, select, signal, threading, time
libc = ctypes.CDLL(None, use_errno=True)
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
def wait():  # epoll_wait is one of the calls that a stop makes return EINTR
    poll, events = select.epoll(), ctypes.create_string_buffer(64)
    while libc.epoll_wait(poll.fileno(), events, 1, 60000) == 0:
        pass
    os.write(1, b"epoll_wait: %d\\n" % ctypes.get_errno())
def count():
    while True:
        counter[0] += 1
counter = [0]
for work in [wait] * 3 + [count]:
    threading.Thread(target=work, daemon=True).start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
print("ready", flush=True)
while line := os.read(0, 9):
    print(len(got), flush=True)
"""

HOLDER = """
import sys, time
from memtop.linux import standstill
from memtop.linux.standstill import frozen
from memtop.linux.process import ProcessHandle
standstill.PATIENCE_MS = int(sys.argv[2])
with ProcessHandle.open(int(sys.argv[1])) as process, frozen(process):
    print("frozen", flush=True)
    time.sleep(600)
"""

Target = subprocess.Popen[bytes]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a test waits for a processor, its stop holds."""
    monkeypatch.setattr(standstill, "PATIENCE_MS", 600_000)


@pytest.fixture
def target() -> Iterator[Target]:
    """Five threads: one computes, three wait in epoll_wait, one answers how many signals it got."""
    command = [sys.executable, "-c", TARGET]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process


@pytest.fixture
def handle(target: Target) -> Iterator[ProcessHandle]:
    with ProcessHandle.open(target.pid) as handle:
        yield handle


def signals_seen(target: Target) -> int:
    """What it answers, which it can only if it runs; fails on a word from epoll_wait."""
    assert target.stdin is not None
    assert target.stdout is not None
    target.stdin.write(b"?")
    return int(target.stdout.readline())


def test_all_threads_stand_still_and_go_on(target: Target, handle: ProcessHandle) -> None:
    for _ in range(20):
        with frozen(handle, registers=False) as still:
            assert thread_states(target.pid) == {"t"}
            stop = still.release()
        assert stop.complete
        assert len(stop.threads) == 5
        assert stop.whole_s > 0
    assert "t" not in thread_states(target.pid)
    assert status(target.pid, "TracerPid") == "0"
    assert signals_seen(target) == 0, "and no epoll_wait was interrupted"


def test_a_signal_that_comes_meanwhile_is_delivered(target: Target, handle: ProcessHandle) -> None:
    with frozen(handle):
        os.kill(target.pid, signal.SIGUSR1)
    wait_for(lambda: signals_seen(target) == 1, "the signal")


def test_a_stopped_process_stays_stopped(target: Target, handle: ProcessHandle) -> None:
    os.kill(target.pid, signal.SIGSTOP)
    wait_for(lambda: thread_states(target.pid) == {"T"}, "a stop")
    with frozen(handle) as still:
        assert thread_states(target.pid) == {"t"}
        assert still.release().complete
    wait_for(lambda: thread_states(target.pid) == {"T"}, "still stopped")
    os.kill(target.pid, signal.SIGCONT)
    assert signals_seen(target) == 0


@pytest.fixture(params=[600_000])
def holder(target: Target, request: pytest.FixtureRequest) -> Iterator[Target]:
    """Another memtop that has the target frozen right now; its helper has ten minutes of patience."""
    command = [sys.executable, "-c", HOLDER, str(target.pid), str(request.param)]
    with spawned(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"frozen\n"
        yield holder


def helper_of(target: Target) -> int:
    """The process that traces it."""
    return int(status(target.pid, "TracerPid"))


@pytest.mark.parametrize("who", ["memtop", "its helper"])
def test_a_kill_ends_it(who: str, target: Target, holder: Target) -> None:
    assert thread_states(target.pid) == {"t"}
    os.kill(holder.pid if who == "memtop" else helper_of(target), signal.SIGKILL)
    wait_for(lambda: status(target.pid, "TracerPid") == "0", "let go")
    assert signals_seen(target) == 0


def test_a_signal_outlives_a_killed_helper(target: Target, holder: Target) -> None:
    os.kill(target.pid, signal.SIGUSR1)
    os.kill(helper_of(target), signal.SIGKILL)
    wait_for(lambda: signals_seen(target) == 1, "the signal")


@pytest.mark.parametrize("holder", [PATIENCE_MS], indirect=True)
def test_memtop_that_stands_still_itself_can_not_hold_it(target: Target, holder: Target) -> None:
    os.kill(holder.pid, signal.SIGSTOP)
    wait_for(lambda: status(target.pid, "TracerPid") == "0", "let go after two seconds")
    assert signals_seen(target) == 0


def test_a_sample_that_takes_longer_than_a_stop_may_last(
    target: Target, handle: ProcessHandle, needs_pagemap: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by reading: whatever ended a stop early, it was said that somebody had killed the helper."""

    def slow(*_: object) -> None:
        wait_for(lambda: status(target.pid, "TracerPid") == "0", "let go")

    monkeypatch.setattr(standstill, "PATIENCE_MS", 1)
    monkeypatch.setattr(soft_dirty, "clear", slow)
    with MapsReader(target.pid) as maps, Scanner(target.pid, use_ioctl=False, guard_bit=False) as scanner:
        tracker = soft_dirty.SoftDirtyTracker(handle, scanner, freeze=True)
        tracker.prepare(maps.read())
        tracker.tick(maps.read())
    assert "ended early" in tracker.info.note
    assert "lasted" in tracker.info.note
    assert signals_seen(target) == 0


def test_a_helper_that_is_killed_before_it_stopped_anybody(target: Target, handle: ProcessHandle) -> None:
    """Nothing has been done to the process: another helper does it."""
    go, report = os.pipe(), os.pipe()
    memtop = os.fork()
    if memtop == 0:
        try:
            os.read(go[0], 1)
            with frozen(handle, registers=False) as still:
                os.write(report[1], b"%d" % len(still.release().threads))
        finally:
            os._exit(0)
    os.close(report[1])
    trace.seize(memtop)
    os.write(go[1], b"g")
    helper = trace.next_fork(memtop)
    assert helper is not None
    trace.detach(memtop)
    os.kill(helper, signal.SIGKILL)
    assert os.WIFSIGNALED(trace.wait(helper))
    with open(report[0], "rb") as said:
        assert said.read() == b"5"
    os.waitpid(memtop, 0)
    for fd in go:
        os.close(fd)
    assert signals_seen(target) == 0


def test_one_that_is_traced_already(target: Target, holder: Target, handle: ProcessHandle) -> None:
    with pytest.raises(Failed, match=f"traced by .*{helper_of(target)}"), frozen(handle):
        pass


CHURN = """
import threading
print(flush=True)
while True:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
"""


def test_threads_that_come_and_go() -> None:
    with spawned([sys.executable, "-c", CHURN], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with ProcessHandle.open(process.pid) as handle:
            for _ in range(50):
                with frozen(handle) as still:
                    assert thread_states(process.pid) == {"t"}
                    assert still.release().complete


def test_a_thread_that_ended_is_not_the_process() -> None:
    """Found under emulation: of a process whose threads come and go it was said that it is gone."""
    told: list[int] = []

    def refuses(tid: int) -> ProcessGone | None:
        told.append(tid)
        if len(told) == 1:
            raise ProcessGone(f"there is no process {tid}")
        return ProcessGone(f"thread {tid}", "it has ended") if len(told) == 2 else None

    assert choose_thread(os.getpid(), refuses) == (told[2], None)
    with spawned(["true"]) as process:
        process.wait()
        with pytest.raises(ProcessGone, match="has ended"):
            choose_thread(process.pid, lambda tid: None)


def test_readonly_and_gone(target: Target, handle: ProcessHandle) -> None:
    access.set_readonly(True)
    try:
        with pytest.raises(NotPermitted, match="--readonly"), frozen(handle):
            pass
    finally:
        access.set_readonly(False)
    target.kill()
    target.wait()
    with pytest.raises(ProcessGone), frozen(handle):
        pass
