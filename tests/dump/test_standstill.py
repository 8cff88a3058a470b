"""A stop of all threads: who takes part, who is let go, whatever happens to memtop and its helper."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dumps import Dumpee
from harness import PATIENCE, spawned, status, thread_states, wait_for

from memtop.linux import standstill
from memtop.linux.errors import Failed, ProcessGone
from memtop.linux.process import ProcessHandle
from memtop.linux.standstill import PATIENCE_MS, frozen

pytestmark = pytest.mark.usefixtures("needs_ptrace")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a test waits for a processor, its stop holds."""
    monkeypatch.setattr(standstill, "PATIENCE_MS", 600_000)


def threads(pid: int) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{pid}/task")]


def stopped(pid: int) -> bool:
    """All threads that there are stand in a trace stop."""
    return thread_states(pid) == {"t"}


def helper_of(pid: int) -> int:
    return int(status(pid, "TracerPid"))


def test_all_stand_still_and_run_on(dumpee: Callable[..., Dumpee]) -> None:
    process = dumpee(8, 16, 0)
    with ProcessHandle.open(process.pid) as handle:
        for _ in range(10):
            with frozen(handle) as still:
                assert stopped(process.pid)
                seen = process_words(process)
                assert process_words(process) == seen
                stop = still.release()
            assert stop.complete
            assert sorted(t.tid for t in stop.threads) == sorted(threads(process.pid))
            assert all(len(t.general) == 27 * 8 and t.extended for t in stop.threads)
            assert stop.longest_s <= stop.whole_s
            before = process.ask("written")
            wait_for(lambda b=before: process.ask("written") > b, "it runs on")
    assert status(process.pid, "TracerPid") == "0"


def process_words(process: Dumpee) -> bytes:
    with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as file:
        return os.pread(file.fileno(), 8 * process.threads, process.common)


SPAWNER = """
import threading, time
def spawn():
    while True:
        t = threading.Thread(target=time.sleep, args=(0.001,)); t.start(); t.join()
for _ in range(4): threading.Thread(target=spawn, daemon=True).start()
print("ready", flush=True); time.sleep(1000)
"""


def test_threads_that_are_born_meanwhile_are_caught() -> None:
    with spawned([sys.executable, "-c", SPAWNER], stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # type: ignore[union-attr]
        with ProcessHandle.open(process.pid) as handle:
            for _ in range(30):
                with frozen(handle) as still:
                    assert stopped(process.pid)
                    assert still.release().complete
        assert process.poll() is None


def test_the_helper_is_killed(dumpee: Callable[..., Dumpee]) -> None:
    process = dumpee(4, 16, 0)
    with ProcessHandle.open(process.pid) as handle, frozen(handle) as still:
        os.kill(helper_of(process.pid), signal.SIGKILL)
        wait_for(lambda: not stopped(process.pid), "the kernel lets them go")
        assert not still.release().complete
    before = process.ask("written")
    wait_for(lambda: process.ask("written") > before, "it runs on")


HOLDER = """
import sys, time
from memtop.linux import standstill
from memtop.linux.standstill import frozen
from memtop.linux.process import ProcessHandle
standstill.PATIENCE_MS = int(sys.argv[2])
with ProcessHandle.open(int(sys.argv[1])) as handle, frozen(handle):
    print("frozen", flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_memtop_is_killed_or_stopped(dumpee: Callable[..., Dumpee], number: signal.Signals) -> None:
    """Of one that stands still itself the helper knows only that it shows no sign of life."""
    process, patience = dumpee(4, 16, 0), PATIENCE_MS if number is signal.SIGSTOP else 600_000
    command = [sys.executable, "-c", HOLDER, str(process.pid), str(patience)]
    with spawned(command, stdout=subprocess.PIPE) as memtop:
        assert memtop.stdout is not None
        assert memtop.stdout.readline() == b"frozen\n"
        assert stopped(process.pid)
        memtop.send_signal(number)
        wait_for(lambda: status(process.pid, "TracerPid") == "0", "it is let go")
    before = process.ask("written")
    wait_for(lambda: process.ask("written") > before, "it runs on")


def test_epoll_wait_sees_nothing(build: Callable[[str], Path]) -> None:
    """Neither when it is let go nor when the helper is killed in the stop."""
    with spawned([build("still")], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # type: ignore[union-attr]
        base, program = maps_of(process.pid, build("still"))
        with ProcessHandle.open(process.pid) as handle:
            for i in range(20):
                with frozen(handle):
                    if i % 2:
                        os.kill(helper_of(process.pid), signal.SIGKILL)
                        wait_for(lambda: status(process.pid, "TracerPid") == "0", "let go")
        text = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
        at = base + int(re.search(r"^(\w+) \w epoll_errors$", text, re.M)[1], 16)  # type: ignore[index]
        with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as file:
            assert os.pread(file.fileno(), 4, at) == bytes(4)


def maps_of(pid: int, program: Path) -> tuple[int, Path]:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return int(re.search(rf"^([0-9a-f]+)-.* {re.escape(str(program))}$", maps, re.M)[1], 16), program  # type: ignore[index]


def test_a_thread_in_state_d_costs_little_and_is_named(build: Callable[[str], Path]) -> None:
    """vfork: the parent waits uninterruptibly until its child ends."""
    with spawned([build("vforker")], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_for(children.read_text, "a child")
        wait_for(lambda: status(process.pid, "State").startswith("D"), "it waits for it")
        with ProcessHandle.open(process.pid) as handle:
            with frozen(handle) as still:  # it ends, though the child does not
                stop = still.release()
            assert process.pid in stop.late
            assert len(stop.threads) == 1  # the other one
        process.stdin.close()  # type: ignore[union-attr]
        assert process.wait(PATIENCE) == 0


def test_what_is_traced_already_is_refused(
    dumpee: Callable[..., Dumpee], build: Callable[[str], Path]
) -> None:
    process = dumpee(1, 16, 100)
    with spawned([build("tracer"), str(process.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE):
        wait_for(lambda: status(process.pid, "TracerPid") != "0", "it is traced")
        with (
            ProcessHandle.open(process.pid) as handle,
            pytest.raises(Failed, match="only one may"),
            frozen(handle),
        ):
            pass


def test_a_process_that_has_ended(dumpee: Callable[..., Dumpee]) -> None:
    process = dumpee(1, 16, 100)
    with ProcessHandle.open(process.pid) as handle:
        process.process.kill()
        wait_for(lambda: status(process.pid, "State").startswith("Z"), "a zombie")
        with pytest.raises(ProcessGone), frozen(handle):
            pass
