"""What the tests of dumps share: cores read without memtop, and a target that tells what is true."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct, iter_unpack, unpack, unpack_from
from typing import Any

from memtop.dump.job import Format, Job, dump
from memtop.dump.progress import Result
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle

PAGE = 4096
_PHDR = Struct("<IIQQQQQQ")


@dataclass
class Segment:
    kind: int
    flags: int
    offset: int
    start: int
    filesz: int
    memsz: int

    @property
    def end(self) -> int:
        return self.start + self.memsz


class Core:
    """An ELF core, by elf(5)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        head = self._file.read(64)
        assert head[:6] == b"\x7fELF\x02\x01"
        (self.type, self.machine, _, _, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, _) = unpack(
            "<HHIQQQIHHHHHH", head[16:]
        )
        assert phentsize == _PHDR.size
        if phnum == 0xFFFF:
            assert shnum
            assert shentsize == 64
            phnum = unpack_from("<I", self.at(shoff, 64), 44)[0]
        self.segments = []
        for kind, flags, offset, start, _, filesz, memsz, _ in _PHDR.iter_unpack(
            self.at(phoff, phnum * _PHDR.size)
        ):
            self.segments.append(Segment(kind, flags, offset, start, filesz, memsz))
        self.loads = [s for s in self.segments if s.kind == 1]
        self.notes = list(self._notes())

    def at(self, offset: int, size: int) -> bytes:
        data = os.pread(self._file.fileno(), size, offset)
        assert len(data) == size
        return data

    def _notes(self) -> Iterator[tuple[str, int, bytes]]:
        (segment,) = [s for s in self.segments if s.kind == 4]
        data, at = self.at(segment.offset, segment.filesz), 0
        while at < len(data):
            name, size, kind = unpack_from("<III", data, at)
            at += 12
            words = data[at : at + name].rstrip(b"\0").decode()
            at += -(-name // 4) * 4
            yield words, kind, data[at : at + size]
            at += -(-size // 4) * 4

    def note(self, kind: int) -> list[bytes]:
        return [content for _, k, content in self.notes if k == kind]

    def read(self, start: int, size: int) -> bytes | None:
        """None where the core does not have all of it."""
        parts = []
        for s in self.loads:
            if s.start <= start < s.end:
                take = min(size, s.end - start)
                if start + take > s.start + s.filesz:
                    return None
                parts.append(self.at(s.offset + start - s.start, take))
                start, size = start + take, size - take
                if not size:
                    return b"".join(parts)
        return None

    def close(self) -> None:
        self._file.close()


def take(pid: int, path: Path, format: Format = Format.CORE, **options: Any) -> Result:
    """A dump made in this process."""
    with ProcessHandle.open(pid) as handle:
        return dump(Job(str(path), format, **options), handle, probe_kernel())


# ---- the process that tells what is true ------------------------------------------------------------------


def _word(sequence: int, address: int, i: int) -> int:
    x = (sequence * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) ^ (address + i * 8)
    return (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF


def page_state(page: bytes, address: int) -> tuple[int, bool]:
    """Sequence number of the newest words of a page, and whether it was complete.

    Fails if the page is nothing that was there at any instant.
    """
    words = [w for (w,) in iter_unpack("<Q", page)]
    new, last = words[0], words[-1]
    if new == last:
        wrong = [i for i in range(2, 511) if words[i] != _word(new, address, i)]
        assert words[1] == address
        assert not wrong, f"torn: {len(wrong)} words of {new}, {wrong[:3]}, at {address:#x}"
        return new, True
    assert words[1] == address
    i = 2
    while i < 511 and words[i] == _word(new, address, i):
        i += 1
    wrong = [k for k in range(i, 511) if words[k] != _word(last, address, k)]
    assert not wrong, f"torn: {new} up to {i}, then neither, at {address:#x}"
    return new, False


class Dumpee:
    """tests/targets/dumpee.c as a child process."""

    def __init__(self, program: Path, threads: int, pages: int, rate: int, *watch: str) -> None:
        command = [program, str(threads), str(pages), str(rate), *watch]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.threads, self.pages, self.rate = threads, pages, rate
        assert self.process.stdout is not None
        pid, common, memory = self.process.stdout.readline().split()
        self.pid, self.common, self.memory = int(pid), int(common, 0), int(memory, 0)

    def ask(self, word: str) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def judge(self, read: Any, *, point: bool, torn: int = 0) -> tuple[int, int]:
        """Checks every page that ``read(start, size)`` gives.

        Args:
            point: all are to be of one point in time.
            torn: so many pages may be nothing that was there at any instant.

        Returns:
            The oldest sequence number of any page; the pages written by all threads at that point in time.
        """
        common = [w for (w,) in iter_unpack("<Q", read(self.common, PAGE))]
        oldest = []
        for t in range(self.threads):
            first = self.memory + t * self.pages * PAGE
            memory = read(first, self.pages * PAGE)
            states = []
            for p in range(self.pages):
                try:
                    states.append(page_state(memory[p * PAGE : (p + 1) * PAGE], first + p * PAGE))
                    assert states[-1][0] % self.pages == p
                except AssertionError:
                    torn -= 1
                    if torn < 0:
                        raise
            oldest.append(min((sequence for sequence, _ in states), default=0))
            if not point:
                continue
            newest = max(sequence for sequence, _ in states)
            assert {sequence for sequence, _ in states} == set(range(newest - self.pages + 1, newest + 1))
            assert newest - common[t] in (0, 1)
            partial = [sequence for sequence, complete in states if not complete]
            assert partial in ([], [newest])
            assert not (partial and common[t] == newest)
        return min(oldest), sum(common[t] + 1 - self.pages for t in range(self.threads))

    def __enter__(self) -> Dumpee:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # type: ignore[union-attr]
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]
