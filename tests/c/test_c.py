"""Builds the C tests with warnings as errors under ASan and UBSan, and runs them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parent.parent / "memtop" / "native"
SCAN = ["scan.c", "look.c", "sweep.c", "strays.c", "tally.c", "pagemap.c", "runs.c", "uffd.c"]
SOURCES = {
    "maps_test": ["maps.c"],
    "identity_test": ["identity.c"],
    "runs_test": ["runs.c"],
    "columns_test": ["columns.c"],
    "copy_test": ["copy.c", "hash.c", "listing.c", "room.c", "runs.c"],
    "dump_test": ["extents.c", "fates.c", "index.c", "runs.c"],
    "huge_test": ["huge.c", "runs.c"],
    "match_test": ["match.c", *SCAN],
    "scan_test": SCAN,
    "scan_look_test": SCAN,
    "scan_shape_test": SCAN,
    "space_test": ["space.c"],
}
STRICT = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]
SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
GIGANTIC = Path("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages")

Run = Callable[..., None]


@pytest.fixture(scope="module")
def compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        pytest.skip("missing capability: a C compiler")
    return found


@pytest.fixture(scope="module")
def run(compiler: str, capabilities: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Builds a program once and runs a part of it."""
    scratch = tmp_path_factory.mktemp("c")
    leaks = int(capabilities["ptrace"] == "ok")  # LeakSanitizer traces its own process
    environment = {**os.environ, "ASAN_OPTIONS": f"detect_leaks={leaks}"}

    def build_and_run(name: str, *part: str) -> None:
        program = scratch / name
        if not program.exists():
            sources = [HERE / f"{name}.c", *(NATIVE / source for source in SOURCES[name])]
            options = [*STRICT, *SANITIZED, "-I", NATIVE, "-I", HERE]
            subprocess.run([compiler, *options, *sources, "-o", program], check=True)
        done = subprocess.run(
            [program, *part],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if done.stdout.startswith("skip: "):
            pytest.skip("missing capability: " + done.stdout.removeprefix("skip: ").splitlines()[0])

    return build_and_run


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in ("scan_shape_test", "match_test")])
def test_program(run: Run, name: str) -> None:
    run(name)


@pytest.mark.parametrize("part", ["small", "thp"])
def test_scan_of_shapes(run: Run, part: str) -> None:
    run("scan_shape_test", part)


@pytest.mark.parametrize("part", ["looking", "entries", "protecting"])
def test_match(run: Run, part: str) -> None:
    run("match_test", part)


def test_match_of_hugetlb(run: Run, hugetlb_pages: int) -> None:
    run("match_test", "hugetlb")


def test_scan_of_hugetlb(run: Run, hugetlb_pages: int) -> None:
    run("scan_shape_test", "hugetlb")


@pytest.fixture
def gigantic_page() -> Iterator[None]:
    """One huge page of 1 GiB is free for this test."""
    if not GIGANTIC.exists():
        pytest.skip("missing capability: huge pages of 1 GiB")
    with GIGANTIC.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = lock.read()
        try:
            GIGANTIC.write_text(str(int(before) + 1))
        except OSError as error:
            pytest.skip(f"missing capability: reserving a huge page of 1 GiB ({error.strerror})")
        try:
            if int(GIGANTIC.read_text()) <= int(before):  # the kernel takes what it finds, without an error
                pytest.skip("missing capability: 1 GiB of free memory in one piece")
            yield
        finally:
            GIGANTIC.write_text(before)


def test_scan_of_gigantic_pages(run: Run, gigantic_page: None) -> None:
    run("scan_shape_test", "gigantic")


def test_match_of_gigantic_pages(run: Run, gigantic_page: None) -> None:
    run("match_test", "gigantic")


@pytest.mark.parametrize("source", sorted(p.name for p in NATIVE.glob("*.c") if not p.name.startswith("_")))
def test_compiles_without_a_warning(compiler: str, source: str, tmp_path: Path) -> None:
    """As it ships: optimised, hidden symbols, no sanitizer."""
    options = [*STRICT, "-O2", "-fvisibility=hidden", "-fPIC", "-I", NATIVE]
    subprocess.run([compiler, *options, "-c", NATIVE / source, "-o", tmp_path / "object.o"], check=True)
