"""tests/targets/injectee.c as a child process: a program that notices what is done to it."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from struct import Struct

from harness import PATIENCE, descriptors, status, wait_for

from memtop.linux.process import ProcessHandle

STATE = Struct("=QQQ")
LASTING = ("SigBlk", "SigIgn", "SigCgt", "Seccomp", "Threads", "TracerPid", "NoNewPrivs")

INJECTS_INTO_ITS_CHILD = """
import os, subprocess
from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import create_userfaultfd
pipe = subprocess.PIPE
with (
    subprocess.Popen(["cat"], stdin=pipe, stdout=pipe, bufsize=0) as child,
    ProcessHandle.open(child.pid) as process,
):
    child.stdin.write(b"?")
    child.stdout.read(1)  # by now it has its libraries
    os.close(create_userfaultfd(process).fd)
    print(child.pid)
"""
"""Prints the pid of its child, which has its libraries by then."""


class Injectee:
    """Runs one mode until ``finish``, which fails if the program ever saw anything wrong."""

    def __init__(self, program: Path, mode: str, scratch: Path, prefix: Sequence[str] = ()) -> None:
        path = scratch / f"{mode}.state"
        path.write_bytes(bytes(4096))
        with path.open("r+b") as file:
            self._state = mmap.mmap(file.fileno(), 4096)
        self.mode = mode
        self.process = subprocess.Popen(
            [*prefix, program, mode, path], stderr=subprocess.PIPE, start_new_session=True
        )
        self.pid = self.process.pid
        wait_for(lambda: self.rounds > 0 or self.process.poll() is not None, f"a round of {mode}")

    @property
    def rounds(self) -> int:
        """Rounds that went well."""
        return int(STATE.unpack_from(self._state)[0])

    @property
    def count(self) -> int:
        """Signals handled, sequences begun anew: see the mode."""
        return int(STATE.unpack_from(self._state)[2])

    def trace(self) -> tuple[str, dict[str, str], dict[str, str]]:
        """What an injection might leave behind: maps, descriptors, dispositions."""
        maps = Path(f"/proc/{self.pid}/maps").read_text(encoding="utf-8")
        return maps, descriptors(self.pid), {name: status(self.pid, name) for name in LASTING}

    def handle(self) -> ProcessHandle:
        return ProcessHandle.open(self.pid)

    def goes_on(self) -> None:
        """It still makes rounds."""
        before = self.rounds
        wait_for(lambda: self.rounds > before or self.process.poll() is not None, f"{self.mode} goes on")
        assert self.process.poll() is None, self.process.communicate()[1].decode()

    def finish(self) -> None:
        """It ends by itself, and found nothing wrong."""
        if self.process.poll() is None:
            self._state[8] = 1
        _, words = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, f"{self.mode}: {words.decode()}"

    def close(self) -> None:
        """Whatever happened: it is gone."""
        if self._state.closed:
            return
        self._state[8] = 1
        if self.process.poll() is None:
            os.kill(self.pid, 9)
        self.process.communicate()
        self._state.close()
