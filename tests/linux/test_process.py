"""Which process: taken hold of, told apart from others, and put in words."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from harness import spawned, status, wait_for

from memtop.linux import process as module
from memtop.linux.errors import Failed, KernelCannot, ProcessGone
from memtop.linux.process import ProcessHandle
from memtop.model.sample import Life

Child = subprocess.Popen[bytes]


@pytest.fixture
def child() -> Iterator[Child]:
    with spawned(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        wait_for(lambda: arguments(process.pid) == b"cat\0", "cat")
        yield process


def arguments(pid: int) -> bytes:
    """An exec sets the name before them, and they are nearly the last."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.fixture(params=["pidfd", "start-time"])
def hold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], ProcessHandle]:
    """Opens with a pidfd, and as where a sandbox gives none."""
    if request.param == "start-time":
        monkeypatch.setattr(module, "_pidfd", lambda pid: None)
    return ProcessHandle.open


def test_identity(child: Child, hold: Callable[[int], ProcessHandle]) -> None:
    with hold(child.pid) as handle:
        who = handle.describe()
    fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    assert (who.pid, who.start_time) == (child.pid, int(fields[19]))
    assert (who.comm, who.cmdline) == ("cat", "cat")
    assert abs(who.started - psutil.Process(child.pid).create_time()) < 1.5
    assert who.user == psutil.Process(child.pid).username() == pwd.getpwuid(os.getuid()).pw_name
    assert who.host == os.uname().nodename
    assert who.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def test_life(child: Child, hold: Callable[[int], ProcessHandle]) -> None:
    with hold(child.pid) as handle:
        assert handle.life() is Life.RUNNING
        os.kill(child.pid, signal.SIGSTOP)
        assert handle.life() is Life.RUNNING
        child.kill()
        wait_for(lambda: status(child.pid, "State").startswith("Z"), "a zombie")
        assert handle.life() is Life.ENDED
        child.wait()
        assert handle.life() is Life.ENDED
        with pytest.raises(ProcessGone):
            handle.describe()


def test_number_of_another_process(child: Child, hold: Callable[[int], ProcessHandle]) -> None:
    """As if the pid had been given to another one since."""
    with hold(child.pid) as handle:
        handle.start_time -= 1
        with pytest.raises(ProcessGone, match="another"):
            handle.describe()
        if handle.pidfd is None:
            assert handle.life() is Life.ENDED


def test_exec_is_not_an_end() -> None:
    code = "import os; input(); os.execvp('cat', ['cat', '-u'])"
    command = [sys.executable, "-c", code]
    with (
        spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        ProcessHandle.open(process.pid) as handle,
    ):
        before = handle.describe()
        process.stdin.write(b"\n")
        process.stdin.flush()
        wait_for(lambda: arguments(process.pid) == b"cat\0-u\0", "the exec")
        assert handle.life() is Life.RUNNING
        after = handle.describe()
    assert (after.pid, after.start_time) == (before.pid, before.start_time)
    assert (after.comm, after.cmdline) == ("cat", "cat -u")


def test_names_that_could_harm_a_terminal() -> None:
    code = "open('/proc/self/comm', 'wb').write(b'\\x1b[31mx\\n\\xff'); print(flush=True); input()"
    command = [sys.executable, "-c", code, "\x1b]0;title\x07", "[bold]"]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with ProcessHandle.open(process.pid) as handle:
            who = handle.describe()
    assert who.comm.startswith("\\x1b[31mx")
    assert who.comm.isprintable()
    assert who.cmdline.isprintable()
    assert "\\x1b]0;title\\x07" in who.cmdline


def test_leader_has_ended_but_a_thread_runs() -> None:
    code = """
import ctypes, threading
def last():
    print(flush=True)
    input()
threading.Thread(target=last).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    with spawned([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        wait_for(lambda: status(process.pid, "State").startswith("Z"), "a zombie leader")
        with ProcessHandle.open(process.pid) as handle:
            assert handle.life() is Life.RUNNING
            tid = handle.maps_tid()
            assert tid not in (None, process.pid)
            assert Path(f"/proc/{process.pid}/task/{tid}/maps").read_bytes()
            process.kill()
            wait_for(lambda: handle.life() is Life.ENDED, "its end")
            with pytest.raises(ProcessGone):
                handle.maps_tid()


def test_running_process_needs_no_other_thread(child: Child) -> None:
    with ProcessHandle.open(child.pid) as handle:
        assert handle.maps_tid() is None


@pytest.mark.parametrize("pid", [0, -1])
def test_no_process_id(pid: int) -> None:
    with pytest.raises(Failed):
        ProcessHandle.open(pid)


@pytest.mark.parametrize("pid", [4194305, 2**31, 2**70])
def test_number_that_no_process_has(pid: int) -> None:
    with pytest.raises(ProcessGone, match=str(pid)):
        ProcessHandle.open(pid)


def test_zombie(child: Child) -> None:
    child.kill()
    wait_for(lambda: status(child.pid, "State").startswith("Z"), "a zombie")
    with pytest.raises(ProcessGone, match="ended"):
        ProcessHandle.open(child.pid)


def test_thread_id(build: Callable[[str], Path], tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_bytes(bytes(4096))
    with spawned([build("injectee"), "threads", state]) as process:
        tasks = Path(f"/proc/{process.pid}/task")
        wait_for(lambda: len(list(tasks.iterdir())) > 1, "a thread")
        tid = next(int(t.name) for t in tasks.iterdir() if int(t.name) != process.pid)
        with pytest.raises(Failed, match=f"-p {process.pid}"):
            ProcessHandle.open(tid)


def test_kernel_thread() -> None:
    if not Path("/proc/2/status").exists() or status(2, "Kthread") != "1":
        pytest.skip("missing capability: seeing kernel threads (another pid namespace)")
    with pytest.raises(KernelCannot, match="kernel thread"):
        ProcessHandle.open(2)


def test_closing_twice(child: Child) -> None:
    handle = ProcessHandle.open(child.pid)
    handle.close()
    handle.close()
