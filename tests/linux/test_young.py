"""A process that has only just begun: its dynamic loader is there, its C library not yet."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import wait_for

from memtop.linux import ptrace
from memtop.linux.errors import KernelCannot
from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import create_userfaultfd

pytestmark = pytest.mark.usefixtures("needs_write_protect")


@pytest.fixture
def loading(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], None]]]:
    """A ``cat`` held in its loader, and what lets it go on.

    ld.so(8) loads LD_PRELOAD before anything else, and from a FIFO it reads until somebody has written.
    """
    fifo = tmp_path / "preload.so"
    os.mkfifo(fifo)
    pipe = subprocess.PIPE
    preload = {**os.environ, "LD_PRELOAD": str(fifo)}
    with subprocess.Popen(["cat"], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=preload) as child:
        writer = os.open(fifo, os.O_WRONLY)  # waits until the loader has opened it

        def go_on() -> None:
            with contextlib.suppress(OSError):
                os.close(writer)

        try:
            yield child, go_on
        finally:
            go_on()


def has_libc(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return any("r-xp" in line and "libc.so" in line for line in lines)


def echoes(child: subprocess.Popen[bytes]) -> bool:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"alive\n")
    child.stdin.close()
    return child.stdout.read() == b"alive\n" and child.wait() == 0


def test_one_that_stays_in_its_loader(
    loading: tuple[subprocess.Popen[bytes], Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    child, go_on = loading
    monkeypatch.setattr(ptrace, "_WHILE_LOADING_S", (0.001,))
    with ProcessHandle.open(child.pid) as process:
        with pytest.raises(KernelCannot, match="only just begun, its libraries may follow: try again"):
            create_userfaultfd(process)
        assert not has_libc(child.pid)
    go_on()
    assert echoes(child)


def test_its_libraries_are_waited_for(
    loading: tuple[subprocess.Popen[bytes], Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    child, go_on = loading
    stages = []

    class Loading:
        """It goes on after the first look."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def mt_inject_uffd(self, *arguments: Any) -> int:
            stages.append(real.mt_inject_uffd(*arguments))
            go_on()
            wait_for(lambda: has_libc(child.pid), "the C library")
            return int(stages[-1])

    real = ptrace.lib
    monkeypatch.setattr(ptrace, "lib", Loading())
    with ProcessHandle.open(child.pid) as process:
        os.close(create_userfaultfd(process).fd)
    assert [stages[0], stages[-1]] == [ptrace.Stage.GADGET, ptrace.Stage.OK]
    assert echoes(child)
