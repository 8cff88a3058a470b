"""Injection: the target gets its userfaultfd made, and can't tell."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import PATIENCE, descriptors, memtops_on, spawned, status, wait_for
from injectee import Injectee

from memtop.linux import access
from memtop.linux.errors import Failed, KernelCannot, MemtopError, ProcessGone
from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import Injection, Stage, create_userfaultfd
from memtop.linux.userfaultfd import WriteProtector
from memtop.native import ffi, lib

pytestmark = pytest.mark.usefixtures("needs_write_protect")

TIMES = 150
WAIT_FOR_CLONES = -0x80000000  # __WCLONE, wait(2), as a signed number
BLOCKED = ["nanosleep", "poll", "ppoll", "epoll", "epoll_pwait", "futex", "timerfd", "pipe", "semtimedop"]
BLOCKED += ["sigtimedwait", "receive", "accept", "wait4"]
COMPUTING = ["registers", "alarm", "rseq", "traps", "threads"]

Start = Callable[..., Injectee]


@pytest.fixture
def start(build: Callable[[str], Path], tmp_path: Path) -> Iterator[Start]:
    """Starts injectees that are gone after the test."""
    program = build("injectee")
    started: list[Injectee] = []

    def one(mode: str, **options: object) -> Injectee:
        scratch = tmp_path / str(len(started))
        scratch.mkdir()
        started.append(Injectee(program, mode, scratch, **options))  # type: ignore[arg-type]
        if started[-1].process.poll() == 77:
            pytest.skip(f"missing capability: {mode} (not in this kernel or C library)")
        return started[-1]

    yield one
    for injectee in started:
        injectee.close()


def inject(target: Injectee, times: int = 1, pause: float = 0.0) -> list[Injection]:
    """Makes and closes so many userfaultfds in it."""
    done = []
    with target.handle() as process:
        for _ in range(times):
            done.append(create_userfaultfd(process))
            os.close(done[-1].fd)
            time.sleep(pause * random.random())
    return done


def refused(target: Injectee) -> MemtopError:
    """The error of an injection that must not happen; the target goes on."""
    with target.handle() as process, pytest.raises(MemtopError) as caught:
        os.close(create_userfaultfd(process).fd)
    assert str(target.pid) in caught.value.sentence
    return caught.value


# ---- the target can't tell --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", BLOCKED + COMPUTING)
def test_target_notices_nothing(mode: str, start: Start, record_property: Callable[..., None]) -> None:
    target = start(mode)
    before = target.trace()
    done = inject(target, TIMES, pause=0.004)
    wait_for(lambda: target.trace() == before, "as it was")  # in its handlers it blocks their signals
    target.goes_on()
    target.finish()
    stops = sorted(injection.stop_s * 1e6 for injection in done)
    record_property("stop_us_median", round(statistics.median(stops)))
    record_property("stop_us_p99", round(stops[len(stops) * 99 // 100]))
    assert stops[0] > 0


def test_interrupted_restartable_sequences_begin_anew(start: Start) -> None:
    """The kernel aborts a sequence that was preempted; it must do so for our stop too."""
    target = start("rseq")
    before = target.count
    inject(target, TIMES)
    assert target.count > before
    target.finish()


def test_every_signal_ends_one_wait(start: Start) -> None:
    """EINTR that we caused is hidden from the program, its own is not."""
    target = start("epoll_pwait")
    with target.handle() as process:
        for sent in range(TIMES):
            os.kill(target.pid, signal.SIGUSR1)
            os.close(create_userfaultfd(process).fd)
            wait_for(lambda n=sent: target.count == n + 1 or target.process.poll() is not None, "the signal")
    target.finish()


def test_the_descriptor_is_a_userfaultfd_of_the_target(start: Start) -> None:
    target = start("nanosleep")
    with target.handle() as process:
        injection = create_userfaultfd(process)
    assert os.readlink(f"/proc/self/fd/{injection.fd}") == "anon_inode:[userfaultfd]"
    assert not os.get_inheritable(injection.fd)
    assert injection.tid == target.pid
    assert "anon_inode:[userfaultfd]" not in descriptors(target.pid).values()
    WriteProtector(injection.fd).close()
    target.finish()


def test_leader_has_ended(start: Start) -> None:
    target = start("leaderless")
    wait_for(lambda: status(target.pid, "State").startswith("Z"), "a zombie leader")
    for injection in inject(target, 20):
        assert injection.tid != target.pid
    target.finish()


def test_stopped_target_stays_stopped_and_its_parent_hears_nothing(start: Start) -> None:
    target = start("poll")
    os.kill(target.pid, signal.SIGSTOP)
    _, news = os.waitpid(target.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(news)
    inject(target, 50)
    wait_for(lambda: status(target.pid, "State").startswith("T"), "stopped again")
    assert os.waitpid(target.pid, os.WUNTRACED | os.WCONTINUED | os.WNOHANG) == (0, 0)
    os.kill(target.pid, signal.SIGCONT)
    target.goes_on()
    target.finish()


def test_stops_and_continues_storm_in(start: Start) -> None:
    target = start("registers")
    with ThreadPoolExecutor(1) as pool:
        injections = pool.submit(inject, target, TIMES)
        while not injections.done():
            os.kill(target.pid, signal.SIGSTOP)
            time.sleep(random.random() / 1000)
            os.kill(target.pid, signal.SIGCONT)
            time.sleep(random.random() / 1000)
        injections.result()
    target.goes_on()
    target.finish()


def test_several_targets_at_a_time(start: Start) -> None:
    targets = [start(mode) for mode in ("epoll", "futex", "registers", "pipe")]
    with ThreadPoolExecutor(len(targets)) as pool:
        list(pool.map(lambda target: inject(target, 50), targets))
    for target in targets:
        target.finish()


def has_helpers() -> bool:
    """Even dead ones count. One that takes long to end is waited for by the next injection."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | WAIT_FOR_CLONES)
    except ChildProcessError:
        return False
    return True


def test_memtop_itself_is_as_before(start: Start) -> None:
    def own() -> tuple[object, ...]:
        return (
            descriptors(os.getpid()),
            signal.pthread_sigmask(signal.SIG_BLOCK, []),
            threading.active_count(),
        )

    target = start("nanosleep")
    children: list[int] = []
    handler = signal.signal(signal.SIGCHLD, lambda *_: children.append(1))
    try:
        before = own()
        inject(target, 10)
        assert own() == before
        assert children == []
        wait_for(lambda: inject(target) and not has_helpers(), "no helper left")
    finally:
        signal.signal(signal.SIGCHLD, handler)
    target.finish()


LOOP = """
import os, sys
from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import create_userfaultfd
process = ProcessHandle.open(int(sys.argv[1]))
print("ready", flush=True)
while True:
    os.close(create_userfaultfd(process).fd)
"""


@pytest.mark.parametrize("mode", ["registers", "epoll"])
def test_memtop_is_killed_while_it_injects(mode: str, start: Start) -> None:
    """The helper is a process of its own: it gives the target back all the same, and ends."""
    target = start(mode)
    before = target.trace()
    for _ in range(15):
        command = [sys.executable, "-c", LOOP, str(target.pid)]
        with spawned(command, stdout=subprocess.PIPE) as memtop:
            assert memtop.stdout.readline() == b"ready\n"
            time.sleep(random.random() / 50)
            memtop.kill()
            memtop.wait()
        wait_for(lambda: not memtops_on(target.pid), "no helper left")
        wait_for(lambda: status(target.pid, "TracerPid") == "0", "no tracer")  # one that ends has no name
    # The thread gives itself back on its own, as soon as it gets a processor.
    wait_for(lambda: target.trace() == before, "the thread as it was")
    target.goes_on()
    target.finish()


# ---- refusals ---------------------------------------------------------------------------------------


def test_readonly(start: Start) -> None:
    target = start("nanosleep")
    access.set_readonly(True)
    try:
        assert "--readonly" in refused(target).sentence
    finally:
        access.set_readonly(False)
    target.finish()


@pytest.mark.parametrize("whose", [os.getpid, os.getppid])
def test_memtop_and_what_it_runs_under(whose: Callable[[], int]) -> None:
    with ProcessHandle.open(whose()) as process, pytest.raises(Failed):
        create_userfaultfd(process)


def test_traced_by_another(start: Start, build: Callable[[str], Path]) -> None:
    target = start("nanosleep")
    with spawned([build("tracer"), str(target.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout.readline() == b"ok\n"
        sentence = refused(target).sentence
        assert f"tracer (pid {tracer.pid})" in sentence
        assert raw(target).stage == Stage.SEIZE  # the C core would find out, too
    inject(target)
    target.finish()


def raw(target: Injectee) -> ffi.CData:
    """Straight to the C core, past the checks before it."""
    out = ffi.new("mt_injection *")
    with target.handle() as process:
        lib.mt_inject_uffd(target.pid, target.pid, process.pidfd, 200, out)
    if out.uffd >= 0:
        os.close(out.uffd)
    return out


def test_vfork_parent_costs_a_moment_and_a_sentence(start: Start) -> None:
    target = start("vfork")
    error = refused(target)  # and returns, while the child lives
    assert isinstance(error, Failed)
    assert "vfork" in error.sentence
    target.goes_on()
    target.finish()


def test_seccomp_filter_that_only_says_no_is_suspended(needs_root: None, start: Start) -> None:
    target = start("denied")
    inject(target, 20)
    assert status(target.pid, "Seccomp") == "2"
    target.goes_on()
    target.finish()


def test_seccomp_filter_that_kills(needs_root: None, start: Start) -> None:
    """Suspended only as long as the injector lives: a kill at the wrong moment would be the target's end."""
    target = start("filtered")
    assert "pain of death" in refused(target).sentence
    target.goes_on()
    target.finish()


ONCE = LOOP.replace("while True:", "for _ in range(1):") + "print('done')\n"


@pytest.mark.parametrize(("lost", "word"), [("sys_admin", "seccomp"), ("sys_ptrace", "CAP_SYS_PTRACE")])
def test_root_without_a_capability(lost: str, word: str, needs_root: None, start: Start) -> None:
    target = start("filtered")
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("missing capability: setpriv (util-linux)")
    command = [setpriv, "--inh-caps", f"-{lost}", "--bounding-set", f"-{lost}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", ONCE, str(target.pid)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "NotPermitted" in done.stderr
    assert word in done.stderr
    target.goes_on()
    target.finish()


def test_target_that_dispatches_its_own_system_calls(start: Start) -> None:
    target = start("dispatched")
    assert isinstance(refused(target), KernelCannot)
    target.goes_on()
    target.finish()


def test_target_out_of_descriptors(start: Start) -> None:
    target = start("nanosleep")
    inject(target)
    used = len(descriptors(target.pid))
    resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (used, used))
    assert "descriptor table is full" in refused(target).sentence
    target.goes_on()
    target.finish()


def test_32_bit_target(tmp_path: Path) -> None:
    program = tmp_path / "compat"
    source = Path(__file__).parent.parent / "targets" / "compat.c"
    options = ["-m32", "-O2", "-nostdlib", "-static", "-ffreestanding"]
    compiler = shutil.which("cc") or shutil.which("gcc")
    if (
        compiler is None
        or subprocess.run([compiler, *options, source, "-o", program], check=False).returncode
    ):
        pytest.skip("missing capability: a compiler for 32-bit programs")
    try:
        process = subprocess.Popen([program])
    except OSError as error:
        pytest.skip(f"missing capability: running 32-bit programs ({error.strerror})")
    try:
        with ProcessHandle.open(process.pid) as handle, pytest.raises(KernelCannot, match="32-bit"):
            create_userfaultfd(handle)
        out = ffi.new("mt_injection *")
        with ProcessHandle.open(process.pid) as handle:
            lib.mt_inject_uffd(process.pid, process.pid, handle.pidfd, 200, out)
        assert Stage(out.stage) in (Stage.COMPAT, Stage.GADGET)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_target_that_has_ended(start: Start) -> None:
    target = start("nanosleep")
    with target.handle() as process:
        os.kill(target.pid, signal.SIGKILL)
        wait_for(lambda: status(target.pid, "State").startswith("Z"), "a zombie")
        with pytest.raises(ProcessGone):
            create_userfaultfd(process)
        target.process.wait()
        with pytest.raises(ProcessGone):
            create_userfaultfd(process)


def test_target_that_is_killed_meanwhile(start: Start) -> None:
    """Every moment of its end is a sentence."""
    for _ in range(20):
        target = start("nanosleep")
        with target.handle() as process, ThreadPoolExecutor(1) as pool:

            def loop(process: ProcessHandle = process) -> None:
                while True:
                    os.close(create_userfaultfd(process).fd)

            end = pool.submit(loop)
            time.sleep(random.random() / 100)
            os.kill(target.pid, signal.SIGKILL)
            with pytest.raises(ProcessGone):
                end.result(PATIENCE)


def test_frozen_target(needs_root: None, start: Start) -> None:
    """A frozen control group: it stops, but would not run the call."""
    bases = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]
    base = next((b for b in bases if (b / "cgroup.procs").exists()), None)
    if base is None:
        pytest.skip("missing capability: a version 2 cgroup file system")
    group = base / f"memtop-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"missing capability: making a control group ({error.strerror})")
    target = start("epoll")
    try:
        (group / "cgroup.procs").write_text(str(target.pid))
        (group / "cgroup.freeze").write_text("1")
        wait_for(lambda: "frozen 1" in (group / "cgroup.events").read_text(), "frozen")
        before = target.trace()
        assert "frozen" in refused(target).sentence
        (group / "cgroup.freeze").write_text("0")
        target.goes_on()
        assert target.trace() == before
        inject(target)
        target.finish()
    finally:
        (group / "cgroup.freeze").write_text("0")
        target.close()
        wait_for(lambda: not (group / "cgroup.procs").read_text(), "an empty group")
        group.rmdir()
