"""Snapshots with one byte changed, or cut short, and all that reads them.

``python tests/dump/damages.py 10000`` is the long form of test_damages.py: it prints what it did.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import xxhash
from dumps import PAGE, take
from harness import Area, Writer

from memtop.dump.chain import Chain
from memtop.dump.convert import convert
from memtop.dump.diff import Change, MappingDiff, Reader, compare, open_memory
from memtop.dump.image import PageKind
from memtop.dump.job import Format, make_sink, open_output
from memtop.dump.snapshot_format import Damaged
from memtop.dump.verify import verify
from memtop.linux.errors import Failed, MemtopError
from memtop.linux.runsets import chop

HEADER, TRAILER = 8192, 160
SLOW = 20.0
"""Seconds that no reader may take for one of these files."""

MOST_READ = 64 << 20
"""Bytes of a run of pages: enough to see that it can be read."""

LENGTH = 3
"""Files of a chain."""


def xxh64(data: bytes) -> int:
    return xxhash.xxh64_intdigest(data)


@dataclass(frozen=True)
class Part:
    """What verify can tell apart: a byte changed in it is reported at its beginning."""

    start: int
    end: int
    name: str


def parts_of(path: Path) -> list[Part]:
    """By docs/snapshot-format.md, without memtop."""
    data = path.read_bytes()
    flags = struct.unpack_from("<I", data, 20)[0]
    index, length = struct.unpack_from("<QQ", data, len(data) - TRAILER + 24)
    notes, notes_length = struct.unpack_from("<QQ", data, len(data) - TRAILER + 48)
    parts = {
        Part(0, HEADER, "header"),
        Part(index, index + length, "index"),
        Part(notes, notes + notes_length, "notes"),
        Part(len(data) - TRAILER, len(data), "trailer"),
    }
    at = index
    while data[at] == 1:
        name, why = struct.unpack_from("<II", data, at + 48)
        at += 56 + -(-(name + why) // 8) * 8
        while True:
            runs, hashes = struct.unpack_from("<II", data, at)
            at += 8
            if not runs:
                break
            for i in range(runs):
                _, place, size, _, pages, _, kind, _ = struct.unpack_from("<QQQQIIBB", data, at + 48 * i)
                if kind == 1 and flags & 1:
                    parts.add(Part(place, place + size, "frame"))
                elif kind == 1:
                    parts |= {Part(place + p * PAGE, place + (p + 1) * PAGE, "page") for p in range(pages)}
            at += 48 * runs + 8 * hashes
    found = sorted(parts, key=lambda part: part.start)
    gaps = [Part(a.end, b.start, "nothing") for a, b in pairwise(found) if a.end < b.start]
    return sorted(found + gaps, key=lambda part: part.start)


def make_chain(writer: Writer, area: Area, directory: Path, compress: bool) -> None:
    """A full snapshot and two increments."""
    directory.mkdir()
    for i in range(LENGTH):
        area.poke(3 + 5 * i, 9)
        parent = str(directory / str(i - 1)) if i else None
        take(writer.pid, directory / str(i), Format.SNAPSHOT, parent=parent, compress=compress)


@contextmanager
def in_time(limit: float = SLOW) -> Iterator[None]:
    """Fails where something hangs: in seconds of the processor, which others may keep busy."""

    def slow(*_: object) -> None:
        raise AssertionError(f"a reader took more than {limit:.0f} s")

    before = signal.signal(signal.SIGPROF, slow)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def differences(good: str, path: str) -> Iterator[MappingDiff]:
    """As ``memtop diff --hex`` takes them: what has changed is read, too."""
    with closing(open_memory(good)) as a, closing(open_memory(path)) as b:
        for found in compare(a, b):
            yield found
            for start, end in found.runs[Change.CHANGED]:
                for _ in Reader(a, b, found).pages(start, min(end, start + MOST_READ)):
                    pass


# ---- everything that reads a snapshot: nothing but an error with a sentence, or the truth ------------------


class Readers:
    """All of them on a file.

    Args:
        good: the newest file of a chain that is whole.
        scratch: a directory for what they write.
        exact: fail where a reader finds anything but what is in the good file.
    """

    def __init__(self, good: Path, scratch: Path, *, exact: bool = True) -> None:
        self.good, self.scratch, self.exact = str(good), scratch, exact
        self.core = self._core(self.good)
        self.pages = self._pages(self.good)

    def all(self) -> dict[str, Callable[[str], None]]:
        return {"core": self.as_core, "diff": self.diff, "parent": self.as_parent, "pages": self.as_pages}

    def _core(self, path: str) -> int:
        out = self.scratch / "core"
        try:
            convert(path, str(out))
            return xxh64(out.read_bytes())
        finally:
            out.unlink(missing_ok=True)

    def as_core(self, path: str) -> None:
        assert self._core(path) == self.core or not self.exact

    def as_criu(self, path: str) -> None:
        """Whatever comes out."""
        out = self.scratch / "images"
        try:
            convert(path, str(out), Format.CRIU)
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def _pages(self, path: str) -> int:
        """The chain as a page source."""
        hasher = xxhash.xxh64()
        with Chain(path) as chain:
            image = chain.image()
            for part in chop(image.runs_of(PageKind.DATA), 256):
                contents, copied = chain.load(part, hashed=True)
                hasher.update(contents)
                assert copied.hashes == chain.hashes(part) or not self.exact
            hasher.update(repr([(a.start, a.runs) for a in image.areas]).encode())
        return hasher.intdigest()

    def as_pages(self, path: str) -> None:
        assert self._pages(path) == self.pages or not self.exact

    def diff(self, path: str) -> None:
        for found in differences(self.good, path):
            assert not found.differs or not self.exact

    def as_parent(self, path: str) -> None:
        """An increment of the good one on top of the damaged one: nothing has changed."""
        out = self.scratch / "increment"
        try:
            with (
                Chain(path) as parent,
                Chain(self.good) as source,
                open_output(str(out), Format.SNAPSHOT) as output,
            ):
                parent.known()
                sink = make_sink(Format.SNAPSHOT, output, parent, compare=True)
                image = source.image()
                for part in chop(image.runs_of(PageKind.DATA), 256):
                    states = sink.store(part, source, again=False).states
                    assert set(states) <= {254} or not self.exact  # as in the parent
                sink.finish(image)
        finally:
            out.unlink(missing_ok=True)


class Damager:
    """Damages one file after another, and puts it right again.

    Args:
        chains: directories with whole chains.
        scratch: where the damaged ones live.
    """

    def __init__(self, chains: list[Path], scratch: Path, seed: int) -> None:
        self.rng, self.scratch = random.Random(seed), scratch
        self.chains = chains
        self.counts: Counter[str] = Counter()
        self._parts = {chain / str(i): parts_of(chain / str(i)) for chain in chains for i in range(LENGTH)}
        self._readers = {}
        for chain in chains:
            verify(str(chain / str(LENGTH - 1)))
            shutil.copytree(chain, scratch / chain.name)
            for i in (0, LENGTH - 1):
                self._readers[chain / str(i)] = Readers(chain / str(i), scratch)

    def one(self) -> None:
        """Damages a file, and has everything read it."""
        chain = self.rng.choice(self.chains)
        victim = chain / str(self.rng.randrange(LENGTH))
        top = victim if victim.name == "0" and self.rng.random() < 0.5 else chain / str(LENGTH - 1)
        bad = self.scratch / chain.name / victim.name
        path = str(self.scratch / chain.name / top.name)
        what, at, part = self._damage(victim, bad)
        try:
            self._verify(path, bad, what, at, part)
            for name, reader in self._readers[top].all().items():
                try:
                    with in_time():
                        reader(path)
                    self.counts[f"{name}: not affected"] += 1
                except MemtopError:
                    self.counts[f"{name}: said so"] += 1
        except BaseException:
            print(f"{victim}: {what} at {at}, in {part}", file=sys.stderr)
            raise
        finally:
            shutil.copyfile(victim, bad)

    def _damage(self, victim: Path, bad: Path) -> tuple[str, int, Part]:
        parts = self._parts[victim]
        if self.rng.random() < 0.5:
            at = self.rng.randrange(parts[-1].end)
        else:  # contents are most of it: half of the damages are as often in what is around them
            name = self.rng.choice(sorted({part.name for part in parts}))
            part = self.rng.choice([part for part in parts if part.name == name])
            at = self.rng.randrange(part.start, part.end)
        part = next(p for p in parts if p.start <= at < p.end)
        if self.rng.random() < 0.2:
            os.truncate(bad, at)
            self.counts["cut short"] += 1
            return "cut", at, part
        with bad.open("r+b") as file:
            file.seek(at)
            old = file.read(1)[0]
            file.seek(at)
            file.write(bytes([old ^ self.rng.randrange(1, 256)]))
        self.counts[f"changed in {part.name}"] += 1
        return "changed", at, part

    def _verify(self, path: str, bad: Path, what: str, at: int, part: Part) -> None:
        """It is found, in the right file and at the right offset."""
        with pytest.raises(Failed) as caught, in_time():
            verify(path)
        error = caught.value
        if not isinstance(error, Damaged):  # so short that it is no snapshot
            assert (what, at < 8) == ("cut", True)
            assert bad.name in error.what
            return
        assert Path(error.path) == bad
        assert error.offset == (at if what == "cut" or part.name == "nothing" else part.start)


def chains(writer: Writer, directory: Path) -> list[Path]:
    """One of plain contents, one of zstd frames."""
    area = writer.map("a", "private", 64)
    found = []
    for name, compress in (("plain", False), ("zstd", True)):
        make_chain(writer, area, directory / name, compress)
        found.append(directory / name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    program = Path(__file__).parent.parent / "targets" / "writer.c"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        scratch = Path(place)
        command = ["gcc", "-O2", "-pthread", "-o", scratch / "writer", program]
        subprocess.run(command, check=True)
        with Writer(scratch / "writer", scratch) as writer:
            made = chains(writer, scratch)
        (scratch / "bad").mkdir()
        damager = Damager(made, scratch / "bad", options.seed)
        for path in made:
            sizes = ", ".join(str((path / str(i)).stat().st_size) for i in range(LENGTH))
            print(f"{path.name}: {sizes} bytes")
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        longest = 0.0
        for _ in range(options.count):
            start = time.monotonic()
            damager.one()
            longest = max(longest, time.monotonic() - start)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"{options.count} damages, all found, in {time.monotonic() - began:.0f} s; seed {options.seed}")
        print(f"longest for one file and five readers {longest:.2f} s; memory grew by {grown // 1024} MiB")
        for name, count in sorted(damager.counts.items()):
            print(f"  {name}: {count}")
        assert grown < 100 << 10


if __name__ == "__main__":
    main()
