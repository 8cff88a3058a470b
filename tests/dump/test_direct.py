"""Dumps past the page cache are the same as those through it, and leave nothing of themselves in it."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from dumps import Core
from harness import wait_for

from memtop.dump.chain import Chain
from memtop.dump.image import Freeze
from memtop.dump.job import Format, Job, dump
from memtop.dump.nameless import Nameless
from memtop.dump.verify import verify
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.linux.vmread import MemoryReader, Pieces
from memtop.model.layout import RUN
from memtop.model.runs import PageRuns

PAGE, PAGES = 4096, 6000
ZEROS = range(1500, 2500)
"""Touched, and all zeros; besides, every 31st page from 3000 on."""

TARGET = f"""
import ctypes, mmap, sys
memory = mmap.mmap(-1, {PAGES * PAGE}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for i in range({PAGES}):
    zero = i in range{ZEROS.start, ZEROS.stop} or (i > 3000 and i % 31 == 0)
    memory[i * {PAGE} : (i + 1) * {PAGE}] = bytes({PAGE}) if zero else i.to_bytes(8, "little") * {PAGE // 8}
print(ctypes.addressof(ctypes.c_char.from_buffer(memory)), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def target() -> Iterator[tuple[int, int]]:
    """A process that stands still, and where its pages are."""
    command = [sys.executable, "-c", TARGET]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


def wanted() -> bytes:
    pages = []
    for i in range(PAGES):
        zero = i in ZEROS or (i > 3000 and i % 31 == 0)
        pages.append(bytes(PAGE) if zero else i.to_bytes(8, "little") * (PAGE // 8))
    return b"".join(pages)


def cached(path: Path) -> int:
    """Pages of a file in the page cache, mincore(2)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as view:
        pages = -(-len(view) // PAGE)
        seen = (ctypes.c_ubyte * pages)()
        base = ctypes.addressof(ctypes.c_char.from_buffer(view))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mincore(ctypes.c_void_p(base), ctypes.c_size_t(len(view)), seen) == 0
        return sum(byte & 1 for byte in seen)


def contents(path: Path, format: Format, at: int) -> bytes:
    if format is Format.CORE:
        return Core(path).read(at, PAGES * PAGE)
    with Chain(str(path)) as chain:
        return bytes(chain.load(PageRuns(RUN.pack(at, PAGES, 0)), hashed=False)[0])


def is_direct(directory: Path) -> bool:
    fd = os.open(directory, os.O_RDONLY)
    file = Nameless(fd, "probe")
    try:
        return file.direct >= 0
    finally:
        file.close()
        os.close(fd)


@pytest.fixture(params=["disk", "memory", "refused"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on a disk; one in memory; one on a disk that does not do without the page cache."""
    if request.param == "memory":
        where = Path("/dev/shm") / f"memtop-{os.getpid()}"
        where.mkdir()
        assert not is_direct(where)
        yield where
        where.rmdir()
        return
    if not is_direct(tmp_path):
        pytest.skip("missing capability: O_DIRECT in the directory for temporary files")
    if request.param == "refused":
        monkeypatch.setattr("memtop.dump.nameless.open_direct", lambda _: -1)
    yield tmp_path


@pytest.mark.parametrize("format", [Format.CORE, Format.SNAPSHOT])
def test_the_same_wherever_it_goes(target: tuple[int, int], place: Path, format: Format) -> None:
    pid, at = target
    path = place / "dump"
    with ProcessHandle.open(pid) as handle:
        dump(Job(str(path), format, freeze=Freeze.FULL), handle, probe_kernel())
    try:
        if is_direct(place):  # but for headers, and what is less than 16 pages long
            assert cached(path) < PAGES // 10
        else:
            assert cached(path) > PAGES // 2
        size = path.stat().st_blocks * 512
        assert contents(path, format, at) == wanted()
        zeros = len(ZEROS) * PAGE
        assert size < path.stat().st_size - zeros + (1 << 20)
        if format is Format.SNAPSHOT:
            verify(str(path))
    finally:
        path.unlink()


def test_threads_that_copy_give_way(tmp_path: Path) -> None:
    """They would make the process wait for a processor each time that it wakes."""
    pages = 16384
    memory = mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"x" * len(memory))
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    pieces, reader = Pieces.of_runs(PageRuns(RUN.pack(at, pages, 0))), MemoryReader(os.getpid())
    before, seen = os.getpriority(os.PRIO_PROCESS, 0), set()
    directory = os.open(tmp_path, os.O_RDONLY)
    with closing(Nameless(directory, "copy")) as file, ThreadPoolExecutor(1) as pool:
        for _ in range(100):  # all may be over before they are seen once
            copying = pool.submit(reader.copy, pieces, file.out, hashed=True, overwrite=False)
            while not copying.done():
                seen |= nices() - {before}
            assert copying.result().pages == pages
            if seen:
                break
    os.close(directory)
    assert seen == {min(before + 5, 19)}
    wait_for(lambda: nices() == {before}, "the end of those that are still about to end")


def nices() -> set[int]:
    """Of this process's threads."""
    found = set()
    for tid in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            found.add(os.getpriority(os.PRIO_PROCESS, int(tid)))
    return found
