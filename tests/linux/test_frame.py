"""The injector is killed with SIGKILL at each of its system calls: the target gives itself back."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import descriptors, status, wait_for
from injectee import Injectee

from harm.strike import Blow, Outcome, strike
from memtop.linux import ptrace
from memtop.linux.errors import Failed, KernelCannot, MemtopError, ProcessGone
from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import create_userfaultfd
from memtop.linux.threads import choose_thread

pytestmark = pytest.mark.usefixtures("needs_write_protect")

USERFAULTFD = "anon_inode:[userfaultfd]"
MODES = ["registers", "alarm", "carved", "traps", "threads", "nanosleep", "poll", "ppoll", "futex", "timerfd"]
MODES += ["pipe", "wait4"]
# A stop makes these say EINTR, which only a living tracer can undo. That takes it until the first SETREGSET.
INTERRUPTED = ["epoll", "semtimedop", "receive", "accept"]

Start = Callable[[str], Injectee]


@pytest.fixture
def start(build: Callable[[str], Path], tmp_path: Path) -> Iterator[Start]:
    started: list[Injectee] = []

    def one(mode: str) -> Injectee:
        started.append(Injectee(build("injectee"), mode, tmp_path))
        return started[-1]

    yield one
    for injectee in started:
        injectee.close()


def hit(target: Injectee, at: int) -> Outcome:
    """Kills the injector at one of its stops, counted from where it begins to harm who does not heal."""
    begin = "after SETREGSET 1" if target.mode in INTERRUPTED else "before SEIZE 1"
    return strike(target.pid, target.pid, Blow("injector", "step", at, begin))


def count_stops(target: Injectee) -> int:
    """How many there are, if nobody disturbs it, and a few more."""
    points = strike(target.pid, target.pid, Blow("nobody", "step", -1)).points
    return len(points) - points.index("before SEIZE 1") + 6


def inject(target: Injectee) -> None:
    with target.handle() as process:
        os.close(create_userfaultfd(process).fd)


@pytest.mark.parametrize("mode", MODES + INTERRUPTED)
def test_killed_at_each_system_call(mode: str, start: Start) -> None:
    target = start(mode)
    stops = count_stops(target)
    inject(target)
    maps, table, lasting = target.trace()
    used = 0
    for at in range(stops):
        outcome = hit(target, at)
        target.goes_on()
        now = [name for name in descriptors(target.pid).values() if name == USERFAULTFD]
        assert len(now) - used <= 1, outcome.point
        used = len(now)
    maps_now, table_now, lasting_now = target.trace()
    assert without_stack(maps_now) == without_stack(maps)
    assert {fd: name for fd, name in table_now.items() if name != USERFAULTFD} == table
    # In its handlers it blocks their signals: only what lasts is wrong.
    wait_for(lambda: target.trace()[2] == lasting, f"as it was, {lasting}, not {lasting_now}")
    target.finish()


def test_no_signal_is_lost_with_a_killed_injector(start: Start) -> None:
    """One that was reported to the injector still reaches its handler."""
    target = start("counted")
    stops = count_stops(target)
    sent, over = 0, threading.Event()

    def send() -> None:
        nonlocal sent
        while not over.is_set():
            os.kill(target.pid, signal.SIGRTMIN)
            sent += 1
            time.sleep(0.0003)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for at in range(stops):
            hit(target, at)
            target.goes_on()
    finally:
        over.set()
        sender.join()
    wait_for(lambda: target.count == sent or target.process.poll() is not None, "every signal")
    target.finish()


@pytest.mark.parametrize("mode", ["nanosleep", "registers"])
def test_thread_that_did_not_come_to_run_since(mode: str, start: Start) -> None:
    """It is on its way back when the next injection comes, and the next; each frame is still needed."""
    target = start(mode)
    stops = count_stops(target)
    for at in range(0, stops, 2):
        os.kill(target.pid, signal.SIGSTOP)
        wait_for(lambda: status(target.pid, "State").startswith("T"), "stopped")
        for _ in range(3):
            hit(target, at)
            wait_for(lambda: status(target.pid, "State").startswith("T"), "stopped again")
        inject(target)
        os.kill(target.pid, signal.SIGCONT)
        target.goes_on()
    target.finish()


def test_stack_that_was_all_in_use(start: Start) -> None:
    """It grows by one page, once."""
    target = start("deep")
    before = stack_of(target.pid)
    inject(target)
    assert stack_of(target.pid) == before + 4096
    for _ in range(20):
        inject(target)
    assert stack_of(target.pid) == before + 4096
    stops = count_stops(target)
    for at in range(stops):
        hit(target, at)
        target.goes_on()
    target.finish()


def without_stack(maps: str) -> list[str]:
    """A frame that a handler may still need is not written over, so that [stack] may grow."""
    return [line for line in maps.splitlines() if not line.endswith("[stack]")]


def stack_of(pid: int) -> int:
    """Bytes of [stack]."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    start, end = next(line for line in maps if line.endswith("[stack]")).split()[0].split("-")
    return int(end, 16) - int(start, 16)


def test_filter_that_only_says_no(needs_root: None, start: Start) -> None:
    """Suspended as long as the injector lives; then the call fails, and the thread goes on all the same."""
    target = start("denied")
    stops = count_stops(target)
    for at in range(stops):
        hit(target, at)
        target.goes_on()
    target.finish()


@pytest.fixture
def start_small(tmp_path: Path) -> Iterator[Start]:
    """Of a small static program, without `leave; ret`: threads are borrowed when they begin a system call."""
    compiler = shutil.which("musl-gcc")
    if compiler is None or shutil.which("objdump") is None:
        pytest.skip("missing capability: musl-gcc, objdump")
    program, source = tmp_path / "injectee", Path(__file__).parent.parent / "targets" / "injectee.c"
    headers = ["-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"]
    options = ["-O2", "-static", "-pthread", *headers]
    if subprocess.run([compiler, *options, source, "-o", program], check=False).returncode:
        pytest.skip("missing capability: the kernel's headers, for musl-gcc")
    code = subprocess.run(["objdump", "-d", program], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"\tleave", code)
    started: list[Injectee] = []

    def one(mode: str) -> Injectee:
        started.append(Injectee(program, mode, tmp_path))
        return started[-1]

    yield one
    for injectee in started:
        injectee.close()


@pytest.mark.parametrize("mode", ["nanosleep", "alarm", "carved", "wait4"])
def test_program_without_leave(mode: str, start_small: Start) -> None:
    target = start_small(mode)
    for at in range(count_stops(target)):
        hit(target, at)
        target.goes_on()
    inject(target)
    target.finish()


def test_program_without_leave_that_only_computes(start_small: Start) -> None:
    target = start_small("registers")
    with target.handle() as process, pytest.raises(Failed, match="it began none"):
        create_userfaultfd(process)
    target.goes_on()
    target.finish()


def test_no_room_in_any_stack(start: Start) -> None:
    target = start("narrow")
    wait_for(lambda: status(target.pid, "State").startswith("Z"), "a zombie leader")
    with target.handle() as process, pytest.raises(KernelCannot, match="untouched page in a stack"):
        create_userfaultfd(process)
    target.goes_on()
    target.finish()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A program that has no code but its own."""
    program, source = tmp_path / "bare", Path(__file__).parent.parent / "targets" / "bare.c"
    compiler = shutil.which("cc") or shutil.which("gcc")
    options = [
        "-O2",
        "-nostdlib",
        "-static",
        "-ffreestanding",
        "-fno-stack-protector",
        "-fcf-protection=none",
    ]
    if (
        compiler is None
        or subprocess.run([compiler, *options, source, "-o", program], check=False).returncode
    ):
        pytest.skip("missing capability: a C compiler for programs without a C library")
    return program


def test_program_without_the_instructions(bare: Path) -> None:
    with subprocess.Popen([bare]) as process:
        try:
            with (
                ProcessHandle.open(process.pid) as handle,
                pytest.raises(KernelCannot, match="its program text lacks"),
            ):
                create_userfaultfd(handle)
            assert process.poll() is None
            assert status(process.pid, "State")[0] in "SR"
        finally:
            process.kill()


def test_exec_meanwhile(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the new program lacks was not looked for in it: it is the exec that is told."""
    command = ["sh", "-c", 'read line; exec "$0"', bare]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:

        def choose_and_wait(pid: int, refuses: Callable[[int], MemtopError | None]) -> object:
            chosen = choose_thread(pid, refuses)
            assert process.stdin is not None
            process.stdin.close()
            wait_for(lambda: os.readlink(f"/proc/{pid}/exe") == str(bare), "the exec")
            return chosen

        monkeypatch.setattr(ptrace, "choose_thread", choose_and_wait)
        try:
            with ProcessHandle.open(process.pid) as handle, pytest.raises(ProcessGone, match="or ran exec"):
                create_userfaultfd(handle)
            assert process.poll() is None
        finally:
            process.kill()
