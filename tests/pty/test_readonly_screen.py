"""The screen with ``--readonly``, and what capabilities its threads have."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from audit import Audit, capabilities_of
from harness import Writer, child_named, memtop, status, wait_for
from terminal import Terminal

from memtop.linux.access import ACTING


@pytest.fixture
def audit(build: Callable[[str], Path], tmp_path: Path) -> Audit:
    return Audit(build("audit"), tmp_path / "log")


def press(terminal: Terminal, key: str) -> bool:
    """Presses a key; whether the screen says that it may not act. What comes too early is lost, so w and
    c are pressed again until it does."""
    for _ in range(120 if key in "wc" else 1):
        terminal.send(key)
        terminal.watch(0.5)
        if "started with --readonly" in terminal.screen.text:
            return True
    return False


@pytest.mark.usefixtures("needs_ptrace", "needs_pagemap")
def test_no_key_of_the_screen_does_more(audit: Audit, writer: Writer) -> None:
    command = audit.command("-p", str(writer.pid), "-d", "0.2", "--readonly")
    with Terminal(command) as terminal:
        terminal.wait_for_text("writer")
        for keys in ("w", "\r", "4", "1", "c", "4", "\r", "1"):
            refused = press(terminal, keys)
            assert refused or keys not in "wc"
        terminal.send("q")
        assert terminal.end() == 0
    audit.assert_only_looked(writer.pid)


@pytest.mark.usefixtures("needs_root")
def test_every_thread_of_the_screen_has_dropped_them(writer: Writer) -> None:
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2")) as terminal:
        terminal.wait_for_text("writer")
        threads = [int(path.name) for path in Path(f"/proc/{terminal.process.pid}/task").iterdir()]
        assert len(threads) > 1
        for tid in threads:
            with suppress(FileNotFoundError, ProcessLookupError):  # it may end meanwhile
                assert capabilities_of(tid, "CapEff") <= set(ACTING)
        terminal.send("q")
        assert terminal.end() == 0


@pytest.mark.usefixtures("needs_root", "needs_write_protect")
def test_the_demos_workload_keeps_its_own() -> None:
    with Terminal(memtop("demo", "-d", "0.2")) as terminal:
        terminal.wait_for_text("memtop-demo")
        pid = terminal.process.pid
        child = wait_for(lambda: child_named(pid, lambda comm: comm == b"memtop-demo\n"), "the workload")
        own = Path("/proc/self/status").read_text()
        mine = next(line.split()[1] for line in own.splitlines() if line.startswith("CapEff"))
        assert status(child, "CapEff") == mine
        terminal.send("q")
        assert terminal.end() == 0
