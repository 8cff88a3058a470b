"""Who is not injected into, and why: what tests/linux/test_inject.py and test_states.py leave open."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import life as calls
import pytest
from harness import Tracked, run, spawned, status
from injectee import INJECTS_INTO_ITS_CHILD
from life import Life, Span, Watch

from memtop.linux import ptrace
from memtop.linux.access import Capability
from memtop.linux.errors import KernelCannot, MemtopError, NotPermitted
from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import create_userfaultfd, refused_attach

PR_SET_DUMPABLE, PR_SET_SECCOMP, STRICT = 4, 22, 1


@pytest.mark.usefixtures("needs_write_protect", "needs_root")
def test_seccomp_strict_mode(life: Life, area: Span, tracked: Callable[[int], Tracked]) -> None:
    """It may read, write and return from signals: any other call would be its end. Put aside, or refused."""
    life.sys(calls.PRCTL, PR_SET_SECCOMP, STRICT)
    assert status(life.pid, "Seccomp") == "1"
    try:
        watch = Watch(tracked, life)
    except (KernelCannot, NotPermitted) as error:
        refusal = error.sentence
    else:
        refusal = "no seccomp"
        watch.exact(area)
    assert "seccomp" in refusal
    area.write()
    assert status(life.pid, "Seccomp") == "1"


@pytest.mark.usefixtures("needs_write_protect", "needs_root")
def test_root_tracks_what_may_not_be_dumped(
    life: Life, area: Span, tracked: Callable[[int], Tracked]
) -> None:
    life.sys(calls.PRCTL, PR_SET_DUMPABLE, 0)
    Watch(tracked, life).exact(area)


@pytest.mark.usefixtures("needs_write_protect", "needs_root")
def test_its_owner_may_not(life: Life, area: Span) -> None:
    """Tried by a child of that user, as a thread can't change its mind about capabilities."""
    life.sys(calls.PRCTL, PR_SET_DUMPABLE, 0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            with ProcessHandle.open(life.pid) as process:
                create_userfaultfd(process)
        except MemtopError as error:
            os.write(writer, f"{type(error).__name__}: {error.sentence}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    assert text.startswith("NotPermitted: "), text
    area.write()


@pytest.mark.parametrize(
    ("scope", "capable", "words"),
    [
        (0, False, None),
        (1, False, ["kernel.yama.ptrace_scope is 1", "as root"]),
        (2, False, ["kernel.yama.ptrace_scope is 2", "as root"]),
        (3, False, ["kernel.yama.ptrace_scope is 3", "until a reboot"]),
        (3, True, ["kernel.yama.ptrace_scope is 3", "until a reboot"]),
        (2, True, None),
    ],
)
def test_yama_is_named(
    scope: int, capable: bool, words: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words only: a kernel with Yama refuses in tools/kernels.py's guests."""
    path = tmp_path / "ptrace_scope"
    path.write_text(f"{scope}\n")
    monkeypatch.setattr(ptrace, "_YAMA", str(path))
    monkeypatch.setattr(ptrace, "has_capability", lambda which: capable and which is Capability.SYS_PTRACE)
    error = refused_attach(os.getpid(), "tracking is not possible", errno.EPERM)
    assert isinstance(error, NotPermitted)
    assert error.sentence.startswith("tracking is not possible: ")
    if words is None:
        assert "yama" not in error.sentence
    else:
        assert all(word in error.sentence for word in words), error.sentence


def inject_unprivileged() -> str:
    """Into a child of its own, without CAP_SYS_PTRACE: what it said."""
    drop = ["--inh-caps", "-sys_ptrace", "--bounding-set", "-sys_ptrace"]
    command = ["setpriv", *drop, sys.executable, "-c", INJECTS_INTO_ITS_CHILD]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stderr


@pytest.mark.usefixtures("needs_write_protect", "needs_root")
def test_yama_itself() -> None:
    """Scope 3 is not tried: it stays until a reboot."""
    assert inject_unprivileged() == ""
    if ptrace.yama_scope() is None:
        pytest.skip("missing capability: Yama (not in this kernel)")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    before = scope.read_text()
    if before.strip() == "3":
        pytest.skip("missing capability: changing kernel.yama.ptrace_scope")
    try:
        scope.write_text("1")
        assert inject_unprivileged() == "", "a child may be traced"
        scope.write_text("2")
        assert "kernel.yama.ptrace_scope is 2" in inject_unprivileged()
    finally:
        scope.write_text(before)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("scan", "--match", "written", "--protect", "-n", "1"), 1),
        (("batch", "-n", "1", "--track", "write-protect"), 1),
        (("batch", "-n", "1", "--track", "auto"), 0),
    ],
    ids=["scan", "by name", "auto"],
)
@pytest.mark.usefixtures("needs_write_protect")
def test_what_is_refused_is_not_announced(
    words: tuple[str, ...], code: int, life: Life, build: Callable[[str], Path]
) -> None:
    """What would be done is said when it is about to be done: not, and then that it can't be."""
    command = [build("tracer"), str(life.pid)]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout.readline() == b"ok\n"
        done = run(*words, "-p", str(life.pid))
    assert done.code == code
    done.said(f"it is traced by tracer (pid {tracer.pid})")
    assert "going to write-protect" not in done.err
