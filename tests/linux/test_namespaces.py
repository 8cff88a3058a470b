"""Containers: a process in namespaces of its own, seen from outside, and memtop inside such."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import life as calls
import pytest
from harness import PATIENCE, Tracked, memtop, run, status, wait_for
from injectee import INJECTS_INTO_ITS_CHILD
from life import PRIVATE, Life, Watch

from memtop.linux.ptrace import create_userfaultfd

pytestmark = pytest.mark.usefixtures("needs_write_protect")

IN_A_TREE_OF_ITS_OWN = 'mount -t tmpfs none "$1" && cp "$2" "$1/program" && exec "$1/program"'


def can_unshare(*namespaces: str) -> None:
    done = subprocess.run(
        ["unshare", *namespaces, "--fork", "true"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"missing capability: {' '.join(namespaces)} ({done.stderr.strip()})")


class Contained(Life):
    """A Life that is process 1 of its pid namespace and runs from a file system that only it sees."""

    def __init__(self, program: Path, tree: Path, *namespaces: str) -> None:
        words = ["--pid", "--mount", "--fork", "--kill-child", "--mount-proc", *namespaces]
        super().__init__(
            Path("unshare"), words=[*words, "sh", "-c", IN_A_TREE_OF_ITS_OWN, "sh", tree, program]
        )
        (outer,) = wait_for(
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text, "a child"
        ).split()
        self.pid = int(outer)


@pytest.fixture(params=[(), ("--user", "--map-root-user")], ids=["root", "user-namespace"])
def contained(
    request: pytest.FixtureRequest, build: Callable[[str], Path], tmp_path: Path, needs_root: None
) -> Iterator[Contained]:
    can_unshare("--pid", "--mount", "--mount-proc", *request.param)
    with Contained(build("life"), tmp_path, *request.param) as life:
        yield life


def test_a_process_in_a_container(
    contained: Contained, tmp_path: Path, tracked: Callable[[int], Tracked]
) -> None:
    """Its number is that of memtop's namespace, its pages are found, its names are those that it sees."""
    assert status(contained.pid, "NSpid").split() == [str(contained.pid), "1"]
    inside = tmp_path / "data"
    fd = contained.open(inside, os.O_RDWR | os.O_CREAT)
    contained.sys(calls.FTRUNCATE, fd, 16 * calls.PAGE)
    area, data = contained.map(64), contained.map(16, PRIVATE, fd)
    for span in (area, data):
        span.write()
    watch = Watch(tracked, contained)
    watch.exact(area)
    watch.exact(data)
    assert watch.sample.process.pid == contained.pid
    (name,) = (m.mapping.name for m in watch.sample.mappings if m.mapping.start == data.start)
    assert name == str(inside)
    assert not inside.exists(), "outside it has no such name"
    assert Path(f"/proc/{contained.pid}/root{name}").exists(), "its root has"
    contained.ask("read", area.start, 64)


def test_the_command_line_says_the_same(contained: Contained) -> None:
    outcome = run("batch", "-p", str(contained.pid), "-n", "1", "--json", "--track", "write-protect")
    assert outcome.code == 0, outcome
    assert outcome.samples[0]["pid"] == contained.pid
    assert outcome.samples[0]["tracker"]["name"] == "write-protect"


def test_memtop_with_a_proc_of_another_namespace(needs_root: None) -> None:
    """There, 2 is memtop's own child in one place and a thread of the kernel in the other."""
    can_unshare("--pid")
    command = ["unshare", "--pid", "--fork", *memtop("batch", "-p", "2", "-n", "1")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert "another pid namespace" in done.stderr
    assert "Traceback" not in done.stderr


def test_memtop_inside_a_container(needs_root: None) -> None:
    assert create_userfaultfd.__module__ in INJECTS_INTO_ITS_CHILD
    can_unshare("--pid", "--mount", "--mount-proc")
    command = [
        "unshare",
        "--pid",
        "--mount",
        "--fork",
        "--mount-proc",
        sys.executable,
        "-c",
        INJECTS_INTO_ITS_CHILD,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 10, "numbers of its own"
