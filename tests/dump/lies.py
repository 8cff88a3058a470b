"""Snapshots and cores with numbers changed by what they mean, and all hashes made right again.

``python tests/dump/lies.py 20000`` is the long form of test_hostile_files.py: it prints what it did.
"""

from __future__ import annotations

import argparse
import copy
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard
from crafted import (
    ABSENT,
    DATA,
    HEADER,
    HOLE,
    PAGE,
    PARENT,
    ZERO,
    Mapping,
    Run,
    Snapshot,
    child_of,
    core,
    page,
    stored,
    xxh64,
)
from damages import differences, in_time

from memtop.dump.chain import Chain
from memtop.dump.convert import convert
from memtop.dump.image import PageKind
from memtop.dump.job import Format, make_sink, open_output
from memtop.dump.notes import NT_FILE, note
from memtop.dump.verify import verify
from memtop.linux.errors import MemtopError
from memtop.linux.runsets import chop

SLOW = 10.0
"""Seconds that no reader may take."""

ROOM = 256 << 20
"""Bytes that a reader may take."""

A = 0x10000
NUMBERS = [
    0, 1, 2, 7, 8, 55, 56, 63, 64, 65, 255, 256, 1023, 1024, 1025, *(4096 + i for i in (-1, 0, 1)),
    HEADER - 1, HEADER, HEADER + PAGE, A, *((1 << n) + i for n in (31, 32, 40, 47, 55, 56, 57, 60, 63, 64)
    for i in (-PAGE, -1, 0, 1, PAGE)),
]  # fmt: skip
WIDTH = {
    "start": 64, "end": 64, "position": 64, "length": 64, "check": 64, "offset": 64, "inode": 64, "time": 64,
    "start_time": 64, "pages": 32, "skip": 32, "tag": 32, "major": 32, "minor": 32, "pid": 32, "flags": 32,
    "sequence": 32, "kind": 8, "error": 8, "perms": 8, "wanted": 8,
}  # fmt: skip
WRONG = (
    "version", "header", "page", "text", "size", "index_at", "index_length", "index_hash", "notes_at",
    "notes_length", "notes_hash", "mappings", "runs", *(f"total{i}" for i in range(8)),
)  # fmt: skip
TEXTS: list[Any] = [
    None,
    0,
    -1,
    1e308,
    "",
    ".",
    "..",
    "/",
    "a/b",
    "\0",
    "\ud800",
    "x" * 7000,
    [],
    [[[]]],
    {},
    True,
]


def base(compress: bool) -> tuple[Snapshot, Snapshot]:
    """A full snapshot and an increment on it."""
    pages = [page(i + 1) for i in range(8)]
    notes = note(b"CORE", NT_FILE, bytes(8)) + note(b"memtop", 0x4D544F50, b'{"layout": {}}')
    about = {"comm": "x", "machine": 62, "freeze": "final", "consistency": "point"}
    if compress:
        frames = [zstandard.ZstdCompressor(level=1).compress(b"".join(pages[i : i + 4])) for i in (0, 4)]
        contents, runs, at = b"".join(frames), [], 0
        for i, frame in enumerate(frames):
            hashes = [xxh64(p) for p in pages[4 * i : 4 * i + 4]]
            runs.append(Run(A + 4 * i * PAGE, 4, DATA, HEADER + at, len(frame), xxh64(frame), hashes=hashes))
            at += len(frame)
    else:
        contents = b"".join(pages)
        runs = [stored(A + 4 * i * PAGE, HEADER + 4 * i * PAGE, pages[4 * i : 4 * i + 4]) for i in (0, 1)]
    more = Mapping(
        1 << 32, (1 << 32) + 8 * PAGE, [Run(1 << 32, 3, HOLE), Run((1 << 32) + 3 * PAGE, 5, ABSENT)],
        name=b"/lib/x", inode=5,
    )  # fmt: skip
    left = Mapping(1 << 40, (1 << 40) + PAGE, [], wanted=0, why=b"left out")
    first = Mapping(A, A + 10 * PAGE, [*runs, Run(A + 8 * PAGE, 2, ZERO)], name=b"[heap]", kind=1)
    full = Snapshot([first, more, left], contents, notes, about, flags=int(compress))
    next_runs = [Run(A, 5, PARENT), Run(A + 5 * PAGE, 1, ZERO), Run(A + 6 * PAGE, 4, PARENT)]
    child = child_of(full, "full", [Mapping(A, A + 10 * PAGE, next_runs), more], notes=notes)
    return full, child


class Liar:
    """Makes one snapshot after another that is not what it says."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.counts: Counter[str] = Counter()

    def number(self, old: int, width: int) -> int:
        rng = self.rng
        choice = rng.randrange(4)
        if choice == 0:
            return (old + rng.choice([-PAGE, -1, 1, PAGE, 8, 1 << 32])) % (1 << width)
        if choice == 1:
            return (old * rng.choice([2, 3, 1000])) % (1 << width)
        return (rng.choice(NUMBERS) if choice == 2 else rng.getrandbits(rng.randrange(1, 65))) % (1 << width)

    def lie(self, snapshot: Snapshot) -> Snapshot:
        """A changed copy."""
        told = copy.deepcopy(snapshot)
        for _ in range(self.rng.choice([1, 1, 1, 2, 3, 6])):
            way = self.rng.choice(
                [self._field, self._field, self._field, self._runs, self._mappings, self._wrong, self._text,
                 self._notes, self._contents, self._hashes]
            )  # fmt: skip
            way(told)
            self.counts[way.__name__.strip("_")] += 1
        if self.rng.random() < 0.6:
            self._settle(told)
        return told

    def _field(self, s: Snapshot) -> None:
        runs = [run for mapping in s.mappings for run in mapping.runs]
        thing = self.rng.choice([s, *s.mappings, *s.mappings, *runs, *runs, *runs])
        name = self.rng.choice([n for n in vars(thing) if n in WIDTH])
        setattr(thing, name, self.number(getattr(thing, name), WIDTH[name]))

    def _runs(self, s: Snapshot) -> None:
        if not s.mappings:
            return
        rng, runs = self.rng, self.rng.choice(s.mappings).runs
        if runs and rng.random() < 0.3:
            del runs[rng.randrange(len(runs))]
        elif runs and rng.random() < 0.5:
            runs += copy.deepcopy(rng.choices(runs, k=rng.choice([1, 2, 1500])))
        else:
            pages = self.number(1, 32)
            runs.insert(rng.randrange(len(runs) + 1), Run(A, pages, rng.randrange(2, 9)))
        rng.shuffle(runs) if rng.random() < 0.2 else None

    def _mappings(self, s: Snapshot) -> None:
        rng = self.rng
        if s.mappings and rng.random() < 0.4:
            del s.mappings[rng.randrange(len(s.mappings))]
        elif s.mappings:
            s.mappings.insert(rng.randrange(len(s.mappings)), copy.deepcopy(rng.choice(s.mappings)))
        for mapping in s.mappings:
            if rng.random() < 0.1:
                mapping.name = rng.choice(
                    [b"", b"\xff\n\x1b[m", b"/" + b"x" * 70000, b"[vdso]", b"[vsyscall]"]
                )

    def _wrong(self, s: Snapshot) -> None:
        s.wrong[self.rng.choice(WRONG)] = self.number(len(s.contents), 32)

    def _text(self, s: Snapshot) -> None:
        names = ["parent", "comm", "machine", "kernel", "host", "freeze", "consistency", "tracker", "rounds"]
        s.about[self.rng.choice(names)] = self.rng.choice(TEXTS)

    def _notes(self, s: Snapshot) -> None:
        data = bytearray(s.notes or bytes(64))
        for _ in range(self.rng.randrange(1, 5)):
            at = self.rng.randrange(len(data))
            data[at : at + 4] = self.number(0, 32).to_bytes(4, "little")
        s.notes = bytes(data)

    def _contents(self, s: Snapshot) -> None:
        rng, data = self.rng, bytearray(s.contents)
        where = rng.randrange(len(data) + 1)
        if rng.random() < 0.3:
            data[where:where] = bytes(rng.choice([1, 8, PAGE, 1 << 20]))
        elif rng.random() < 0.5:
            del data[where : where + rng.choice([1, 8, PAGE])]
        elif data:
            data[where % len(data)] ^= 1 << rng.randrange(8)
        s.contents = bytes(data)
        for run in (run for mapping in s.mappings for run in mapping.runs if run.kind == DATA):
            here = s.contents[max(run.position - HEADER, 0) :][: min(run.length, 1 << 24)]
            if s.flags & 1:
                run.check = xxh64(here)
            elif run.length < 1 << 24:
                run.hashes = [xxh64(here[at : at + PAGE]) for at in range(0, len(here), PAGE)]

    def _hashes(self, s: Snapshot) -> None:
        runs = [run for mapping in s.mappings for run in mapping.runs if run.hashes]
        if runs:
            hashes = self.rng.choice(runs).hashes
            hashes[self.rng.randrange(len(hashes)) :] = [self.number(0, 64)] * self.rng.choice([0, 1, 5000])

    @staticmethod
    def _settle(s: Snapshot) -> None:
        """Makes it fit together again: mappings and runs follow each other, as many hashes as pages."""
        top = 0
        for mapping in s.mappings:
            at = mapping.start = max(mapping.start, top) // PAGE * PAGE % (1 << 64)
            for run in mapping.runs:
                run.start = at % (1 << 64)
                at += run.pages * PAGE
                if run.kind == DATA and run.pages < 5000:
                    run.hashes = (run.hashes + [7] * run.pages)[: run.pages]
                elif run.kind != DATA:
                    run.hashes = []
            if mapping.runs:
                mapping.end = at % (1 << 64)
            top = mapping.end

    def core(self, path: Path) -> str:
        """An ELF core with some numbers changed."""
        headers = [[4, 0, 1 << 20, 0, 0, 4096, 0, 4]]
        headers += [[1, 6, (1 << 20) + i * PAGE, A + i * PAGE, 0, PAGE, PAGE, PAGE] for i in range(4)]
        for _ in range(self.rng.choice([1, 1, 2, 4])):
            at = self.rng.randrange(8)
            header = self.rng.choice(headers)
            header[at] = self.number(header[at], 32 if at < 2 else 64)
        if self.rng.random() < 0.2:
            headers += headers * self.rng.choice([1, 500])
        count = self.number(len(headers), 32) if self.rng.random() < 0.2 else None
        return core(
            path, [tuple(h) for h in headers], count=count, size=self.rng.choice([0, 0, 1 << 40]), mib=1
        )


def readers(good: Path, scratch: Path) -> dict[str, Callable[[str], object]]:
    """Everything that reads a snapshot or a core; the latter end in a sentence at once with most."""

    def to(format: Format, compress: bool = False) -> Callable[[str], object]:
        def write(path: str) -> None:
            out = scratch / "out"
            try:
                convert(path, str(out), format, compress=compress)
            finally:
                shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)

        return write

    def differ(path: str) -> None:
        for _ in differences(str(good), path):
            pass

    def parent(path: str) -> None:
        """An increment of the good one on top of it."""
        out = scratch / "increment"
        try:
            with (
                Chain(path) as below,
                Chain(str(good)) as source,
                open_output(str(out), Format.SNAPSHOT) as to,
            ):
                below.known()
                sink = make_sink(Format.SNAPSHOT, to, below, compare=True)
                image = source.image()
                for part in chop(image.runs_of(PageKind.DATA), 256):
                    sink.store(part, source, again=False)
                sink.finish(image)
        finally:
            out.unlink(missing_ok=True)

    return {
        "verify": verify, "core": to(Format.CORE), "snapshot": to(Format.SNAPSHOT),
        "zstd": to(Format.SNAPSHOT, compress=True), "criu": to(Format.CRIU), "diff": differ, "parent": parent,
    }  # fmt: skip


class Fuzz:
    """One file after another for all readers.

    Attributes:
        longest: seconds of one reader, at most.
        number: of the file; with the seed it says which.
    """

    def __init__(self, scratch: Path, seed: int) -> None:
        self.liar, self.rng, self.scratch = Liar(seed), random.Random(seed + 1), scratch
        self.counts: Counter[str] = Counter()
        self.longest, self.number = 0.0, 0
        self._bases = [base(False), base(True)]
        good = scratch / "good"
        self._bases[0][0].write(good)
        self._readers = readers(good, scratch)

    def one(self) -> None:
        """Makes a file, alone, as a child or as a parent, and has everything read it."""
        self.number += 1
        full, child = self.rng.choice(self._bases)
        what = self.rng.choice(["full", "full", "child", "parent", "core"])
        only = None
        if what == "core":
            path = self.liar.core(self.scratch / "a-core")
            only = ["diff", "verify"]
        elif what == "full":
            path = self.liar.lie(full).write(self.scratch / "full")
        else:
            (full if what == "child" else self.liar.lie(full)).write(self.scratch / "full")
            path = (self.liar.lie(child) if what == "child" else child).write(self.scratch / "child")
        for name in only or self._readers:
            began = time.monotonic()
            try:
                with in_time(SLOW):
                    self._readers[name](path)
                self.counts[f"{what}, {name}: read"] += 1
            except MemtopError:
                self.counts[f"{what}, {name}: said so"] += 1
            except BaseException:
                print(f"file {self.number}: {what}, {name}", file=sys.stderr)
                raise
            self.longest = max(self.longest, time.monotonic() - began)


def limit_memory(more: int) -> None:
    """What takes so many bytes more than now fails."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        fuzz = Fuzz(Path(place), options.seed)
        limit_memory(ROOM)
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(options.count):
            fuzz.one()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{options.count} files in {time.monotonic() - began:.0f} s; seed {options.seed}")
    print(f"longest for one reader {fuzz.longest:.2f} s; memory grew by {grown // 1024} MiB at most")
    for name, count in sorted(fuzz.counts.items()):
        print(f"  {name}: {count}")


if __name__ == "__main__":
    main()
