"""Fixtures of all tests: compiled targets, and skips that name the missing capability."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Tracked, Writer
from hypothesis import HealthCheck, settings

# How long an example takes, or is made for, on a loaded machine says nothing about it.
settings.register_profile("memtop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("memtop")

TARGETS = Path(__file__).parent / "targets"
WRITE_PROTECT = (
    "pagemap", "pagemap_scan", "userfaultfd", "wp_async", "ptrace", "process_vm_readv", "pidfd_getfd"
)  # fmt: skip
os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)  # for memtop in children, whatever their cwd
os.environ.pop("PYTHONUNBUFFERED", None)  # which CI sets: users' streams are buffered
RESERVED = Path("/proc/sys/vm/nr_hugepages")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-golden``: what is drawn now becomes what should be drawn (tests/ui/test_golden.py)."""
    parser.addoption("--update-golden", action="store_true", help="write tests/ui/golden anew")


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles tests/targets/NAME.c once per test run, also when several workers ask at the same time.

    A guest (tools/guests.py) has no compiler; it brings them along, in ``$MEMTOP_TARGETS``.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # xdist gives each worker a directory
    compiler = shutil.which("cc") or shutil.which("gcc")
    prebuilt = Path(os.environ["MEMTOP_TARGETS"]) if "MEMTOP_TARGETS" in os.environ else None

    def target(name: str) -> Path:
        if prebuilt and (prebuilt / name).is_file():
            return prebuilt / name
        if compiler is None:
            pytest.skip("no C compiler on this machine")
        program = shared / "targets" / name
        program.parent.mkdir(exist_ok=True)
        with (program.parent / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                new = program.with_suffix(".new")
                options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
                subprocess.run([compiler, *options, TARGETS / f"{name}.c", "-o", new], check=True)
                new.rename(program)
        return program

    return target


@pytest.fixture
def new_writer(build: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[[], Writer]]:
    """Starts writers that end with the test."""
    program = build("writer")
    started: list[Writer] = []

    def start() -> Writer:
        scratch = tmp_path / f"writer{len(started)}"
        scratch.mkdir()
        started.append(Writer(program, scratch))
        return started[-1]

    yield start
    for writer in started:
        writer.__exit__()


@pytest.fixture
def writer(new_writer: Callable[[], Writer]) -> Writer:
    """A fresh writer."""
    return new_writer()


@pytest.fixture(scope="session")
def capabilities(build: Callable[[str], Path]) -> dict[str, str]:
    """What this machine allows, tried without memtop: name to "ok" or why not."""
    text = subprocess.run([build("can")], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in text.splitlines())  # type: ignore[misc]


def _need(capabilities: dict[str, str], *names: str) -> None:
    for name in names:
        if capabilities[name] != "ok":
            pytest.skip(f"missing capability: {name} ({capabilities[name]})")


@pytest.fixture(scope="session")
def needs_pagemap(capabilities: dict[str, str]) -> None:
    """Skips where the pagemap of a child can't be opened."""
    _need(capabilities, "pagemap")


@pytest.fixture(scope="session")
def needs_pagemap_scan(capabilities: dict[str, str]) -> None:
    """Skips where PAGEMAP_SCAN is missing (before Linux 6.7, or no pagemap)."""
    _need(capabilities, "pagemap", "pagemap_scan")


@pytest.fixture(scope="session")
def needs_ptrace(capabilities: dict[str, str]) -> None:
    """Skips where a child can't be traced."""
    _need(capabilities, "ptrace")


@pytest.fixture(scope="session")
def needs_reading(capabilities: dict[str, str]) -> None:
    """Skips where a child's memory can't be read."""
    _need(capabilities, "pagemap", "process_vm_readv")


@pytest.fixture(scope="session")
def needs_write_protect(capabilities: dict[str, str]) -> None:
    """Skips where anything is missing that the write-protect tracker stands on."""
    _need(capabilities, *WRITE_PROTECT)


@pytest.fixture(scope="session")
def needs_root() -> None:
    """Skips for other users: the test becomes another user, or changes a system setting."""
    if os.geteuid():
        pytest.skip("missing capability: root (the test acts as another user)")


@pytest.fixture
def sandbox(build: Callable[[str], Path], capabilities: dict[str, str]) -> Callable[..., list[str]]:
    """Makes a command line run without some capabilities: tests/targets/sandbox.c says which."""
    for name in WRITE_PROTECT:
        if capabilities[name] != "ok":
            pytest.skip(f"missing capability: {name} ({capabilities[name]}): this is such a sandbox itself")
    program = build("sandbox")
    return lambda less, command: [str(program), *less, "--", *command]


@pytest.fixture
def hugetlb_pages() -> Iterator[int]:
    """So many 2 MiB pages are free for this test; the reservation of before comes back afterwards."""
    pages = 4
    if not RESERVED.exists():
        pytest.skip("missing capability: hugetlb (not in this kernel)")
    with RESERVED.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one reservation at a time, whoever else runs these tests
        before = lock.read()
        try:
            RESERVED.write_text(str(int(before) + pages))
        except OSError as error:
            pytest.skip(f"missing capability: reserving hugetlb pages ({error.strerror})")
        try:
            if int(RESERVED.read_text()) < int(before) + pages:
                pytest.skip("missing capability: hugetlb (no free huge pages)")
            yield pages
        finally:
            RESERVED.write_text(before)


@pytest.fixture
def tracked() -> Iterator[Callable[[int], Tracked]]:
    """Opens processes with the write-protect tracker armed; all are given back after the test."""
    opened: list[Tracked] = []

    def track(pid: int) -> Tracked:
        opened.append(Tracked(pid))
        return opened[-1]

    yield track
    for tracker in opened:
        tracker.close()
