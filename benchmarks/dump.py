"""How long a process stands still for a dump, and how long the dump takes: memtop and gcore in turn.

The stop is what the process itself sees: the largest gap in a loop that only looks at the clock. Four
tables: whole dumps beside gcore's; increments beside a full snapshot; little memory in much address space;
the copy beside its parts.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import IO
from unittest.mock import patch

from _common import HERE, Helper, Report, busy_note, milliseconds, options, times

from memtop.dump import nameless
from memtop.dump.feed import OwnFeed
from memtop.dump.job import Format, Job, dump
from memtop.linux.directio import open_direct
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.linux.smaps import vm_flags

ROUNDS, PAGES = 5, 524288
HUGE = 2 << 20
ROOT = HERE.parent
MIB = 1 << 20


@contextmanager
def dumpee(pages: int, rate: int) -> Iterator[Helper]:
    """tests/targets/dumpee.c with one writing thread and one that looks at the clock."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the benchmarks need a C compiler")
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "dumpee"
        source = ROOT / "tests/targets/dumpee.c"
        subprocess.run([compiler, "-std=gnu11", "-O2", "-pthread", source, "-o", program], check=True)
        with Helper(program, 1, pages, rate, "watch") as helper:
            helper.answer()
            yield helper


# ---- whole dumps ----------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What the runs of one way gave; seconds and bytes."""

    stops: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    synced: list[float] = field(default_factory=list)
    size: int = 0


Way = Callable[[int, Path], "Path | None"]


def memtop(*words: str) -> Way:
    def make(pid: int, out: Path) -> Path:
        environment = dict(os.environ, PYTHONPATH=str(ROOT))
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed memtop is compiled
        command = [sys.executable, "-m", "memtop", "dump", "-p", str(pid), "-o", str(out), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        return out

    return make


def gcore(pid: int, out: Path) -> Path:
    subprocess.run(["gcore", "-o", out, str(pid)], check=True, capture_output=True)
    return out.with_name(f"{out.name}.{pid}")


def nothing(pid: int, out: Path) -> None:
    """What the clock shows without any dump: the noise of this machine."""
    time.sleep(1)


WAYS: dict[str, Way] = {
    "gcore": gcore,
    "memtop dump": memtop(),
    "memtop dump --format snapshot": memtop("--format", "snapshot"),
    "memtop dump --freeze none": memtop("--freeze", "none"),
    "(no dump)": nothing,
}


def one_run(target: Helper, make: Way, out: Path, seen: Seen) -> None:
    target.ask("gap")
    began = time.monotonic()
    path = make(target.pid, out)
    seen.totals.append(time.monotonic() - began)
    seen.stops.append(int(target.ask("gap")) / 1e6)
    if path is None:
        return
    with open(path, "rb") as file:  # memtop has done so already
        os.fsync(file.fileno())
    seen.synced.append(time.monotonic() - began)
    seen.size = path.stat().st_blocks * 512
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def whole_dumps(chosen: Namespace, directory: Path) -> Report:
    report = Report(
        "dump",
        f"A dump of {chosen.pages * 4096 / (1 << 30):.2g} GiB",
        [
            "", "written pages/s", "stop seen by the process (ms)", "gcore's / this", "total (ms)",
            "of gcore's", "on the disk (ms)", "of gcore's", "file (MiB)",
        ],
        f"Medians of {chosen.rounds} runs each in turn, on warm memory; the stop is the largest gap between "
        "two looks of the process at its own clock, 50 µs apart. memtop's total has the start of Python in "
        "it and the fsync, without which it gives no file its name; gcore's has the start of gdb, 'on the "
        f"disk' an fsync of its file.{busy_note()} `python benchmarks/dump.py`",
    )  # fmt: skip
    for rate in (1, 1000, 10000, 100000):
        seen = {name: Seen() for name in WAYS}
        with dumpee(chosen.pages, rate) as target:
            one_run(target, gcore, directory / "warm", Seen())
            for turn in range(chosen.rounds):
                order = list(WAYS.items())
                first = turn % len(order)  # no way is always the first
                for name, make in order[first:] + order[:first]:
                    one_run(target, make, directory / "dump", seen[name])
        base = seen["gcore"]
        for name, found in seen.items():
            cells = ["–"] * 6
            if found.size:
                cells = [
                    times(median(base.stops) / median(found.stops)),
                    milliseconds(found.totals),
                    f"{median(found.totals) / median(base.totals):.2f}",
                    milliseconds(found.synced),
                    f"{median(found.synced) / median(base.synced):.2f}",
                    f"{found.size / MIB:,.0f}",
                ]
            report.add(name, f"{rate:,}", milliseconds(found.stops), *cells)
    return report


# ---- an increment ---------------------------------------------------------------------------------------


def increments(chosen: Namespace, directory: Path) -> Report:
    """By a program that keeps its tracker."""
    report = Report(
        "dump-increment",
        f"An increment of a process of {chosen.pages * 4096 / (1 << 30):.2g} GiB, tracker kept",
        ["pages written since", "time (ms)", "of the full one", "file (MiB)", "of the full one"],
        "In each of them the pages are walked four times: twice to see what was written ({:.1f} ms each), "
        "once for what is there, and once by the kernel for VmFlags, which alone tell what is not to be "
        f"dumped ({{:.1f}} ms).{busy_note()}",
    )
    took: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    scans: list[float] = []
    flags: list[float] = []
    shares = {"all (a full snapshot)": 0.0, "nothing": 0.0, "0.1 %": 0.001, "1 %": 0.01, "10 %": 0.1}
    with dumpee(chosen.pages, 1) as target, ProcessHandle.open(target.pid) as handle:
        kernel = probe_kernel()
        for _ in range(chosen.rounds):
            feed, parent = OwnFeed(handle, kernel), None
            for name, share in shares.items():
                target.ask(f"touch {int(share * chosen.pages)}")
                path = directory / f"part{len(sizes)}{name[0:3].strip()}"
                began = time.monotonic()
                job = Job(str(path), Format.SNAPSHOT, parent=parent)
                dump(job, handle, kernel, feed=feed, since_parent=parent is not None)
                took.setdefault(name, []).append(time.monotonic() - began)
                sizes[name] = path.stat().st_size
                parent = str(path)
            began = time.monotonic()
            feed.take()
            scans.append(time.monotonic() - began)
            began = time.monotonic()
            vm_flags(target.pid)
            flags.append(time.monotonic() - began)
            feed.close()
            for file in directory.glob("part*"):
                file.unlink()
    report.note = report.note.format(median(scans) * 1000, median(flags) * 1000)
    full = next(iter(shares))
    for name in shares:
        report.add(
            name, milliseconds(took[name]), f"{100 * median(took[name]) / median(took[full]):.1f} %",
            f"{sizes[name] / MIB:,.1f}", f"{100 * sizes[name] / sizes[full]:.1f} %",
        )  # fmt: skip
    return report


# ---- much address space ---------------------------------------------------------------------------------

SPREAD = """
import mmap, sys
size, present, step = map(int, sys.argv[1:])
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)  # MAP_NORESERVE
memory.madvise(mmap.MADV_NOHUGEPAGE)
block = bytes(range(1, 256)) * 8225 + b"x"
block = block[: 2 << 20]
for at in range(0, present // len(block)):
    memory[at * step : at * step + len(block)] = block
print("ready", flush=True)
sys.stdin.read()
"""


def sparse(chosen: Namespace, directory: Path) -> Report:
    present = min(chosen.pages * 2048, 1 << 30) >> 21 << 21
    report = Report(
        "dump-sparse",
        f"A process with {present >> 20:,} MiB in memory, by the size of its address space",
        ["mapped", "format", "ms", "to the small one", "file (MiB)"],
        "In pieces of 2 MiB, evenly spread. Without the start of Python; medians of "
        f"{chosen.rounds} runs in turn.{busy_note()}",
    )
    sizes = {
        f"{present >> 20:,} MiB": (present, 2 << 20),
        "16 TiB": (16 << 40, ((16 << 40) // (present >> 21)) >> 21 << 21),
    }
    took: dict[tuple[str, Format], list[float]] = {}
    files: dict[tuple[str, Format], int] = {}
    kernel = probe_kernel()
    for _ in range(chosen.rounds):
        for name, (size, step) in sizes.items():
            command = [sys.executable, "-c", SPREAD, str(size), str(present), str(step)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                process.stdout.readline()  # type: ignore[union-attr]
                with ProcessHandle.open(process.pid) as handle:
                    for format in (Format.CORE, Format.SNAPSHOT):
                        path = directory / "dump"
                        result = dump(Job(str(path), format), handle, kernel)
                        took.setdefault((name, format), []).append(result.took)
                        files[name, format] = path.stat().st_blocks * 512
                        path.unlink()
                process.stdin.close()  # type: ignore[union-attr]
    first = next(iter(sizes))
    for (name, format), found in took.items():
        report.add(
            name, format.value, milliseconds(found), times(median(found) / median(took[first, format])),
            f"{files[name, format] / MIB:,.0f}",
        )  # fmt: skip
    return report


# ---- the copy and its parts -----------------------------------------------------------------------------


def parts(chosen: Namespace, directory: Path) -> Report:
    """What the copy of a core is made of, each by itself on the same pages."""
    report = Report(
        "dump-copy",
        f"Where the time of a copy of {chosen.pages * 4096 / (1 << 30):.2g} GiB goes",
        ["", "ms", "GiB/s"],
        "The copy: the first round. Its parts: one thread each where no other number is said, a megabyte "
        "at a time. Through the page cache it is written by two threads, while the disk is written to "
        "already. What is left of a dump's total is the start of Python, the tracker, and what the disk "
        f"still has to take.{busy_note()}",
    )
    total = chosen.pages * 4096
    took: dict[str, list[float]] = {}
    libc = ctypes.CDLL(None)
    a, b = ctypes.create_string_buffer(MIB), ctypes.create_string_buffer(total)
    ctypes.memset(b, 1, total)

    def timed(name: str, work: Callable[[], object]) -> None:
        began = time.monotonic()
        work()
        took.setdefault(name, []).append(time.monotonic() - began)

    def read(pid: int, start: int) -> None:
        class Part(ctypes.Structure):
            _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))

        here = Part(ctypes.addressof(a), MIB)
        for at in range(start, start + total, MIB):
            there = Part(at, MIB)
            got = libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
            assert got == MIB

    def write(file: IO[bytes]) -> None:
        for at in range(0, total, MIB):
            os.pwrite(file.fileno(), a, at)

    def write_direct(file: IO[bytes], threads: int) -> None:
        """The disk alone: into room that is there, from memory that is there, as memtop's in huge pages."""
        fd = open_direct(file.fileno())
        memory = mmap.mmap(-1, 2 * HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
        begin = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % HUGE
        chunk = memoryview(memory)[begin : begin + MIB]
        os.posix_fallocate(file.fileno(), 0, total)

        def share(first: int) -> None:
            for at in range(first * MIB, total, threads * MIB):
                os.pwrite(fd, chunk, at)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(share, range(threads)))
        os.close(fd)

    with dumpee(chosen.pages, 1) as target, ProcessHandle.open(target.pid) as handle:
        kernel = probe_kernel()
        start = int(target.ask("where"))
        for _ in range(chosen.rounds):
            timed(
                "memcpy", lambda: [ctypes.memmove(a, ctypes.byref(b, at), MIB) for at in range(0, total, MIB)]
            )
            timed("process_vm_readv", lambda: read(target.pid, start))
            with tempfile.TemporaryFile(dir=directory) as file:
                timed("pwrite into the page cache", partial(write, file))
                timed("fsync after that", partial(os.fsync, file.fileno()))
            for threads in (1, 8):
                with tempfile.TemporaryFile(dir=directory) as file:
                    name = f"pwrite past the page cache, {threads} thread{'s' if threads > 1 else ''}"
                    timed(name, partial(write_direct, file, threads))
            ways = [("core", Format.CORE, True), ("snapshot, hashed", Format.SNAPSHOT, True)]
            ways.append(("core, through the page cache", Format.CORE, False))
            ways.append(("snapshot, hashed, through the page cache", Format.SNAPSHOT, False))
            for name, format, past in ways:
                with patch.object(nameless, "open_direct", open_direct if past else lambda _: -1):
                    began = time.monotonic()
                    result = dump(Job(str(directory / "dump"), format), handle, kernel)
                    whole = time.monotonic() - began
                (directory / "dump").unlink()
                copied = result.image.statement.rounds[0].took
                took.setdefault(f"memtop's copy ({name})", []).append(copied)
                took.setdefault(f"the whole dump ({name}), without the start of Python", []).append(whole)
    for name, found in took.items():
        report.add(name, milliseconds(found), f"{total / median(found) / (1 << 30):.1f}")
    return report


def main() -> None:
    chosen = options(__doc__, rounds=ROUNDS, pages=PAGES)
    if shutil.which("gcore") is None:
        raise SystemExit("the comparison is with gcore, from gdb")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        for table in (whole_dumps, increments, sparse, parts):
            table(chosen, Path(directory)).finish(chosen.write)


if __name__ == "__main__":
    main()
