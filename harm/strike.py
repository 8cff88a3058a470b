"""One injection by a memtop of its own, which or whose injector is killed with SIGKILL on the way."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import memtop.linux.ptrace as injection
from harm import trace
from memtop.linux.errors import MemtopError
from memtop.linux.process import ProcessHandle

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Blow:
    """Whom to kill, and when.

    Attributes:
        who: ``nobody``, ``injector`` (the helper process), ``memtop``, ``both``; ``late``: the injector is
            held up there until memtop has called it off, or has done without its end.
        when: ``step``: the injector is stopped at each system call, and the blow falls at one of these
            stops; ``window``: some time after it asked for the target; ``life``: some time after its start.
        at: which stop (from 0), or the time in seconds.
        begin: the name of the stop to count from.
    """

    who: str
    when: str
    at: float
    begin: str = ""


@dataclass
class Outcome:
    """What came of it for memtop; what it meant for the target is for the target to say.

    Attributes:
        point: where the blow fell, or empty.
        fell: whether it fell before all was over.
        words: memtop's refusal, or empty.
        stop_s: for how long the target stood still; None if nobody was left to say.
        life_s: for how long the injector lived, where it ran at its own speed.
        left: the injector did not end by itself.
        points: names of all stops that it made.
        kept: what a late one had open when memtop had ended.
    """

    point: str = ""
    fell: bool = False
    words: str = ""
    stop_s: float | None = None
    life_s: float | None = None
    left: bool = False
    points: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def strike(pid: int, tid: int, blow: Blow) -> Outcome:
    """Injects once into a process, by its thread ``tid`` or, if that has no room for it, another."""
    go, report = os.pipe(), os.pipe()
    memtop = os.fork()
    if memtop == 0:
        os.close(go[1])
        _be_memtop(pid, tid, go[0], report[1])
    os.close(go[0])
    os.close(report[1])
    outcome = Outcome()
    with _alarm():
        try:
            trace.seize(memtop)
            os.write(go[1], b"g")
            injector = trace.next_fork(memtop)
            if injector is not None:
                trace.detach(memtop)
                trace.forget_forks(injector)
                _follow(injector, memtop, blow, outcome)
                killed = os.WIFSIGNALED(os.waitpid(memtop, 0)[1])
                outcome.fell = outcome.fell or killed
                with contextlib.suppress(ChildProcessError):  # an orphan is ours to reap
                    os.waitpid(injector, trace.ALL_CHILDREN | os.WNOHANG)
        finally:
            os.close(go[1])
            said = _read_all(report[0])
    if said:
        answer = json.loads(said)
        outcome.words, outcome.stop_s = answer["words"], answer["stop_s"]
    return outcome


def _be_memtop(pid: int, tid: int, go: int, report: int) -> None:
    """In the child: never returns."""
    try:
        signal.alarm(0)
        os.read(go, 1)
        injection.choose_thread = lambda pid, refuses: (tid, refuses(tid))
        try:
            with ProcessHandle.open(pid) as process:
                answer = {"words": "", "stop_s": injection.create_userfaultfd(process).stop_s}
        except MemtopError as error:
            answer = {"words": str(error), "stop_s": None}
        os.write(report, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _follow(injector: int, memtop: int, blow: Blow, outcome: Outcome) -> None:
    """Until the blow has fallen, or the injector has ended."""
    if blow.when == "life":
        _run_free(injector, memtop, blow, outcome)
        return
    namer, step = trace.Namer(), 0 if not blow.begin else -1
    trace.resume(injector, to_syscall=True)
    while os.WIFSTOPPED(status := trace.wait(injector)):
        if trace.at_syscall(status):
            point = namer.name(injector)
            outcome.points.append(point)
            if blow.when == "window" and point.startswith(f"before {trace.SEIZES} "):
                _run_free(injector, memtop, blow, outcome)
                return
            if step < 0 and point == blow.begin:
                step = 0
            if blow.when == "step" and step == blow.at:
                outcome.point, outcome.fell = point, True
                _hit(injector, memtop, blow, outcome)
                if blow.who == "memtop":
                    trace.resume(injector)
                _see_off(injector, outcome)
                return
            step += step >= 0
        trace.resume(injector, to_syscall=True, signal_number=trace.signal_at(status))


def _hit(injector: int, memtop: int, blow: Blow, outcome: Outcome) -> None:
    """Neither has been reaped, so these numbers are their own."""
    if blow.who in ("memtop", "both"):
        os.kill(memtop, signal.SIGKILL)
    if blow.who == "late":
        with contextlib.ExitStack() as stack:
            ends = [os.pidfd_open(pid) for pid in (injector, memtop)]
            for fd in ends:
                stack.callback(os.close, fd)
            select.select(ends, [], [], PATIENCE_S)
        outcome.kept = _open_in(injector)
    if blow.who in ("injector", "both", "late"):
        os.kill(injector, signal.SIGKILL)


def _open_in(pid: int) -> list[str]:
    found = []
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        found = [os.readlink(entry.path) for entry in entries]
    return found


def _run_free(injector: int, memtop: int, blow: Blow, outcome: Outcome) -> None:
    """The injector runs at its own speed; the clock is watched without sleep, which would be too long."""
    outcome.point = f"random in {blow.when}"
    trace.resume(injector)
    begin = time.monotonic()
    if blow.who != "nobody":
        if blow.at > 0.002:
            time.sleep(blow.at - 0.001)
        while time.monotonic() - begin < blow.at:
            pass
        _hit(injector, memtop, blow, outcome)
    outcome.fell = _see_off(injector, outcome) and blow.who in ("injector", "both")
    outcome.life_s = time.monotonic() - begin


def _see_off(injector: int, outcome: Outcome) -> bool:
    """Waits for its end, as no injector may outlive its task; whether it was killed."""
    pidfd = os.pidfd_open(injector)
    try:
        if not select.select([pidfd], [], [], PATIENCE_S / 2)[0]:
            outcome.left = True
            os.kill(injector, signal.SIGKILL)
    finally:
        os.close(pidfd)
    return os.WIFSIGNALED(trace.wait(injector))


def _read_all(fd: int) -> bytes:
    """Until all who could write have ended."""
    with open(fd, "rb") as file:
        return file.read()


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """A harness that hangs says where."""

    def late(*_: object) -> None:
        raise TimeoutError("the harness waited too long for the injector")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 3 * PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
