"""clear_refs: what each command clears, as the kernel's own files show it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import spawned, status, wait_for

from memtop.linux import access
from memtop.linux.clear_refs import clear
from memtop.linux.errors import NotPermitted, ProcessGone
from memtop.model.actions import ClearRefs

CODE = "x = bytearray(64 << 20); del x; y = bytearray(8 << 20); print(flush=True); input()"


@pytest.fixture
def pid() -> Iterator[int]:
    """It has used 64 MiB, and gave them back."""
    with spawned([sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        if not os.access(f"/proc/{process.pid}/clear_refs", os.W_OK):
            pytest.skip("missing capability: clear_refs (not in this kernel or sandbox)")
        yield process.pid


def peak(pid: int) -> int:
    return int(status(pid, "VmHWM").split()[0])


def referenced(pid: int) -> int:
    smaps = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8")
    return sum(map(int, re.findall(r"^Referenced: +(\d+) kB", smaps, re.MULTILINE)))


def test_peak(pid: int) -> None:
    assert peak(pid) > 64 << 10
    clear(pid, ClearRefs.PEAK)
    assert peak(pid) < 64 << 10


@pytest.mark.parametrize("what", [ClearRefs.ALL, ClearRefs.ANON])
def test_accessed_bits(what: ClearRefs, pid: int) -> None:
    before = referenced(pid)
    assert before > 8 << 10
    clear(pid, what)
    assert referenced(pid) < before - (7 << 10)


@pytest.mark.parametrize("what", list(ClearRefs))
def test_every_command_is_one_that_the_kernel_knows(what: ClearRefs, pid: int) -> None:
    clear(pid, what)


def test_readonly(pid: int) -> None:
    access.set_readonly(True)
    try:
        with pytest.raises(NotPermitted, match="--readonly"):
            clear(pid, ClearRefs.PEAK)
    finally:
        access.set_readonly(False)
    assert peak(pid) > 64 << 10


def test_no_such_process(pid: int) -> None:
    os.kill(pid, 9)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    wait_for(lambda: status(pid, "State").startswith("Z"), "a zombie")
    os.waitpid(pid, 0)
    with pytest.raises(ProcessGone):
        clear(pid, ClearRefs.ALL)


def test_another_users_process(needs_root: None, pid: int) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setresuid(65534, 65534, 65534)
            clear(pid, ClearRefs.PEAK)
        except NotPermitted:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
