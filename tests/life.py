"""Drives tests/targets/life.c: a process that makes any system call it is told to."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import PAGE, Runs, Tracked, clipped

# System calls of x86-64 (asm/unistd_64.h); mman.h and friends for the rest.
READ, OPEN, CLOSE, MMAP, MPROTECT, MUNMAP, BRK, IOCTL = 0, 2, 3, 9, 10, 11, 12, 16
MREMAP, MADVISE, FTRUNCATE, PRCTL, MEMFD, USERFAULTFD = 25, 28, 77, 157, 319, 323
IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER, MEMFD_SECRET = 425, 426, 427, 447
NONE, R, W, X = 0, 1, 2, 4
RW = R | W
SHARED, PRIVATE, FIXED, ANON, NORESERVE, HUGETLB = 1, 2, 0x10, 0x20, 0x4000, 0x40000
DONTNEED, FREE, MERGEABLE, HUGEPAGE, PAGEOUT, POPULATE_WRITE, COLLAPSE, GUARD = 4, 8, 12, 14, 21, 23, 25, 102
MAYMOVE, MOVE_FIXED, DONTUNMAP = 1, 2, 4
HUGE = 2 << 20


@dataclass(frozen=True)
class Span:
    """Pages of a Life, with nothing mapped next to them that could merge."""

    life: Life
    start: int
    pages: int

    @property
    def end(self) -> int:
        return self.start + self.pages * PAGE

    @property
    def bytes(self) -> int:
        return self.pages * PAGE

    def at(self, page: int) -> int:
        """Address of a page."""
        return self.start + page * PAGE

    def part(self, first: int, pages: int) -> Span:
        return Span(self.life, self.at(first), pages)

    def write(self, first: int = 0, pages: int | None = None) -> Runs:
        """Lets each page be written once; the truth."""
        pages = self.pages - first if pages is None else pages
        self.life.ask("write", self.at(first), pages)
        return [(self.at(first), pages)]

    def read(self) -> int:
        return self.life.ask("read", self.start, self.pages)

    def advise(self, advice: int, first: int = 0, pages: int | None = None) -> None:
        """madvise(2)."""
        pages = self.pages - first if pages is None else pages
        self.life.sys(MADVISE, self.at(first), pages * PAGE, advice)

    def protect(self, prot: int, first: int = 0, pages: int | None = None) -> None:
        """mprotect(2)."""
        pages = self.pages - first if pages is None else pages
        self.life.sys(MPROTECT, self.at(first), pages * PAGE, prot)

    def unmap(self, first: int = 0, pages: int | None = None) -> None:
        """munmap(2)."""
        pages = self.pages - first if pages is None else pages
        self.life.sys(MUNMAP, self.at(first), pages * PAGE)


class Life:
    """tests/targets/life.c as a child process; leave its ``with`` and it is gone."""

    def __init__(self, program: Path, words: Sequence[str | Path] = (), **options: Any) -> None:
        self.process = subprocess.Popen(
            [program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
        )
        self.pid = self.answer()

    def __enter__(self) -> Life:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def send(self, *words: object) -> None:
        self.process.stdin.write(" ".join(map(str, words)) + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def answer(self) -> int:
        word, value = self.process.stdout.readline().split()  # type: ignore[union-attr]
        if word == "err":
            raise OSError(int(value), os.strerror(int(value)))
        return int(value)

    def answered(self, seconds: float) -> bool:
        """Whether an answer comes within so long."""
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def ask(self, *words: object) -> int:
        self.send(*words)
        return self.answer()

    def sys(self, number: int, *arguments: int) -> int:
        """A system call of the target; OSError where it fails."""
        return self.ask("sys", number, *arguments)

    def put(self, address: int, data: bytes) -> None:
        """Bytes for a system call's argument."""
        self.ask("put", address, data.hex())

    def reserve(self, pages: int, align: int = PAGE) -> int:
        """An address with room for so many pages and a PROT_NONE page on both sides."""
        flags = PRIVATE | ANON | NORESERVE
        base = self.sys(MMAP, 0, pages * PAGE + 2 * max(align, PAGE), NONE, flags, -1, 0)
        return (base + PAGE + align - 1) // align * align

    def map(
        self, pages: int, flags: int = PRIVATE | ANON, fd: int = -1, prot: int = RW, align: int = PAGE
    ) -> Span:
        """mmap(2) of a place of its own."""
        where = self.reserve(pages, align)
        return Span(self, self.sys(MMAP, where, pages * PAGE, prot, flags | FIXED, fd, 0), pages)

    def text(self, words: str) -> int:
        """Address of a C string."""
        room = self.sys(MMAP, 0, PAGE, RW, PRIVATE | ANON, -1, 0)
        self.put(room, words.encode() + b"\0")
        return room

    def open(self, path: Path | str, flags: int) -> int:
        """open(2)."""
        return self.sys(OPEN, self.text(str(path)), flags | os.O_CLOEXEC)

    def memfd(self, pages: int) -> int:
        """A file that lives in memory."""
        fd = self.sys(MEMFD, self.text("life"), 0)
        self.sys(FTRUNCATE, fd, pages * PAGE)
        return fd


class Watch:
    """A Life under the write-protect tracker, the baseline behind it."""

    def __init__(self, tracked: Callable[[int], Tracked], life: Life) -> None:
        self.life = life
        self.tracker = tracked(life.pid)
        assert self.tracker.tick().baseline

    def told(self, span: Span) -> tuple[Runs, set[str]]:
        """One tick: the pages told written, and how exact that is said to be."""
        seen = self.tracker.tick()
        self.sample = seen.sample
        return seen.runs(span), seen.exactness(span)  # type: ignore[arg-type]

    def coverage(self, span: Span) -> set[str]:
        """Names of the coverage in the last tick."""
        return {
            row.coverage.name
            for row in self.sample.mappings
            if row.mapping.start < span.end and span.start < row.mapping.end
        }

    def exact(self, span: Span) -> None:
        """From here on every page, no other, and said to be so."""
        for first in (0, span.pages // 2):
            log = span.write(first, min(3, span.pages - first))
            assert self.told(span) == (log, {"exact"})
        assert self.told(span) == ([], {"exact"})


def inside(runs: Runs, span: Span) -> Runs:
    return clipped(runs, span.start, span.end)


def peek(life: Life, address: int, size: int) -> bytes:
    """Bytes of the target, read from outside."""
    with open(f"/proc/{life.pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(size)
