"""A chain of increments over a process whose mappings come, go, move and shrink: each point, exactly."""

from __future__ import annotations

import json
import os
import random
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import xxhash
from dumps import PAGE, Core, Dumpee, take
from harness import Area, Writer, memory_of, run

from memtop.dump import files
from memtop.dump.chain import Chain
from memtop.dump.convert import convert
from memtop.dump.feed import OwnFeed, SharedFeed
from memtop.dump.image import PageKind
from memtop.dump.job import Format, Job, dump
from memtop.dump.progress import Progress
from memtop.dump.verify import check, verify
from memtop.linux.errors import Failed
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.actions import Method
from memtop.model.layout import RUN
from memtop.model.runs import PageRuns
from memtop.sampler.target import open_target

pytestmark = pytest.mark.usefixtures("needs_write_protect")
KINDS = ["anon", "anon", "shared", "thp", "private-memfd"]
WAYS = ["map", "write", "write", "write", "read", "discard", "move", "shrink", "unmap", "protect", "again"]


class Changing:
    """A process that does to its memory what processes do, at random."""

    def __init__(self, writer: Writer, seed: int) -> None:
        self.writer, self.rng = writer, random.Random(seed)
        self.areas: list[Area] = []
        self._made = 0
        self._protected: set[str] = set()

    def change(self) -> None:
        """One thing."""
        way = self.rng.choice(WAYS)
        if way == "map" or not self.areas:
            if len(self.areas) < 40:
                pages = self.rng.choice([1, 7, 64, 513])
                self.areas.append(self.writer.map(f"m{self._made}", self.rng.choice(KINDS), pages))
                self._made += 1
            return
        area = self.rng.choice(self.areas)
        first = self.rng.randrange(area.pages)
        count = self.rng.randrange(1, area.pages - first + 1)
        with suppress(OSError):  # what the kernel refuses changes nothing
            getattr(self, way)(area, first, count)

    def write(self, area: Area, first: int, count: int) -> None:
        if area.name not in self._protected:
            area.poke(first, min(count, 20))

    def read(self, area: Area, first: int, count: int) -> None:
        memory_of(self.writer.pid, area.start + first * PAGE, count * PAGE)

    def discard(self, area: Area, first: int, count: int) -> None:
        area.do("discard", first, count)

    def move(self, area: Area, *_: int) -> None:
        area.do("move")

    def shrink(self, area: Area, first: int, count: int) -> None:
        if first > 0 and first + count == area.pages:
            area.do("unmap", first, count)
            area.pages = first

    def unmap(self, area: Area, *_: int) -> None:
        if self.rng.random() < 0.3:
            area.do("unmap", 0, area.pages)
            self.areas.remove(area)

    def protect(self, area: Area, *_: int) -> None:
        way = self.rng.choice(["r", "rw", "none"])
        area.do("protect", way)
        (self._protected.discard if way == "rw" else self._protected.add)(area.name)

    def again(self, area: Area, *_: int) -> None:
        self.unmap(area)

    def truth(self) -> dict[int, bytes]:
        """All contents, read without memtop."""
        return {a.start: memory_of(self.writer.pid, a.start, a.pages * PAGE) for a in self.areas}


def assert_same(chain: Chain, start: int, contents: bytes, what: str) -> None:
    """What the chain knows is true; what it does not know is shared memory that was not mapped."""
    (area,) = [a for a in chain.newest.areas if a.start <= start < a.end]
    if not area.wanted:  # a private file mapping that it has written nothing in
        assert area.inode, what
        assert "private file mappings" in area.why
        return
    at = start
    for place in chain.locate(start, start + len(contents)):
        assert place.start == at
        at = place.end
        truth = contents[place.start - start : place.end - start]
        if place.kind.known:
            run = PageRuns(RUN.pack(place.start, len(truth) // PAGE, 0))
            assert bytes(chain.load(run, hashed=False)[0]) == truth, f"{what}: {place.start:#x}"
        else:
            # a discarded page of a tracked file mapping leaves a marker that looks like swap
            assert place.kind in (PageKind.ABSENT, PageKind.SWAPPED)
            assert area.inode, what
    assert at == start + len(contents)


@pytest.mark.parametrize("increments", [10, pytest.param(100, marks=pytest.mark.skipif(
    "MEMTOP_LONG" not in os.environ, reason="takes minutes: set MEMTOP_LONG"))])  # fmt: skip
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("tracked", [False, True], ids=["compared", "tracked"])
def test_each_point(
    new_writer: Callable[[], Writer], tmp_path: Path, increments: int, compress: bool, tracked: bool
) -> None:
    process = Changing(new_writer(), increments)
    rng, writer = process.rng, process.writer
    truths: list[dict[int, bytes]] = []
    handle, kernel = ProcessHandle.open(writer.pid), probe_kernel()
    feed = OwnFeed(handle, kernel) if tracked else None
    for i in range(increments + 1):
        for _ in range(rng.randrange(1, 8)):
            process.change()
        parent = str(tmp_path / str(i - 1)) if i else None
        job = Job(str(tmp_path / str(i)), Format.SNAPSHOT, parent=parent, compress=compress and i % 3 > 0)
        dump(job, handle, kernel, feed=feed, since_parent=tracked and i > 0)
        truths.append(process.truth())
    if feed is not None:
        feed.close()
    handle.close()
    verify(str(tmp_path / str(increments)))
    for i, truth in enumerate(truths):
        with Chain(str(tmp_path / str(i))) as chain:
            assert len(chain.snapshots) == i + 1
            for start, contents in truth.items():
                assert_same(chain, start, contents, f"point {i}")
    last = increments
    convert(str(tmp_path / str(last)), str(tmp_path / "core"))
    core = Core(tmp_path / "core")
    for start, contents in truths[last].items():
        for at in range(0, len(contents), PAGE):
            page = core.read(start + at, PAGE)
            assert page in (None, contents[at : at + PAGE]), hex(start + at)
    assert core.note(1)
    core.close()


def test_an_increment_is_as_large_as_what_changed(writer: Writer, tmp_path: Path) -> None:
    area = writer.map("a", "anon", 10000)
    area.fill()
    with ProcessHandle.open(writer.pid) as handle:
        kernel = probe_kernel()
        feed = OwnFeed(handle, kernel)
        dump(Job(str(tmp_path / "0"), Format.SNAPSHOT), handle, kernel, feed=feed)
        area.poke(500, 100)
        job = Job(str(tmp_path / "1"), Format.SNAPSHOT, parent=str(tmp_path / "0"))
        result = dump(job, handle, kernel, feed=feed, since_parent=True)
        feed.close()
    assert 100 <= result.image.pages_of(PageKind.DATA) <= 130  # and some of libc
    assert result.image.statement.rounds[0].pages <= 130  # nothing else was read
    assert (tmp_path / "1").stat().st_size < 0.02 * (tmp_path / "0").stat().st_size
    verify(str(tmp_path / "1"))


def test_the_screen_keeps_its_rates(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    """One tracker, two consumers: what is written during a dump is in the samples, too."""
    process = dumpee(1, 64, 500)
    target = open_target(process.pid, probe_kernel())
    try:
        target.arm(Method.WRITE_PROTECT)
        target.tick()
        screen = target.fan_out.subscribe()
        feed = SharedFeed(target)
        written = process.ask("written")
        with ProcessHandle.open(process.pid) as handle:
            for i in range(3):
                parent = str(tmp_path / str(i - 1)) if i else None
                job = Job(str(tmp_path / str(i)), Format.SNAPSHOT, parent=parent)
                result = dump(job, handle, probe_kernel(), feed=feed, since_parent=i > 0)
                assert result.image.statement.tracker == "write-protect"
        more = process.ask("written") - written
        assert target.tick().tracker.name == "write-protect"  # still armed
        assert screen.take().pages >= min(more, 64)
        feed.close()
    finally:
        target.close()
    for i in range(3):
        with Chain(str(tmp_path / str(i))) as chain:

            def read(start: int, size: int, chain: Chain = chain) -> bytes:
                return bytes(chain.load(PageRuns(RUN.pack(start, size // PAGE, 0)), hashed=False)[0])

            process.judge(read, point=True)


def test_a_chain_of_more_than_python_recurses_or_may_open(writer: Writer, tmp_path: Path) -> None:
    """All as in the parent, 1100 times over: copies of one increment that point at each other."""
    many = 1100
    area = writer.map("a", "private", 64)
    area.poke(3, 9)
    truth = memory_of(writer.pid, area.start, area.pages * PAGE)
    take(writer.pid, tmp_path / "0", Format.SNAPSHOT)
    take(writer.pid, tmp_path / "1", Format.SNAPSHOT, parent=str(tmp_path / "0"))
    one = (tmp_path / "1").read_bytes()
    parent = one[40:56]
    for i in range(2, many):
        header = bytearray(one[:8192])
        header[40:56] = i.to_bytes(16, "little")
        header[56:72] = parent
        header[72:76] = i.to_bytes(4, "little")
        text = json.dumps({"parent": str(i - 1)}).encode()
        header[96:104] = len(text).to_bytes(8, "little")
        header[256:8184] = text.ljust(8184 - 256, b"\0")
        header[8184:] = xxhash.xxh64_intdigest(bytes(header[:8184])).to_bytes(8, "little")
        (tmp_path / str(i)).write_bytes(header + one[8192:])
        parent = bytes(header[40:56])
    last = str(tmp_path / str(many - 1))
    with Chain(last) as chain:
        assert_same(chain, area.start, truth, "the last")
        assert chain.image().pages_of(PageKind.DATA) >= 9

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

    done = run("verify", last, preexec_fn=few)
    assert done.code == 0, done.err
    assert "a chain of 1100 files" in done.out
    (tmp_path / "700").write_bytes(one)
    run("verify", last, preexec_fn=few).said("700", "another snapshot")


def test_not_even_one_more_file_may_be_open(writer: Writer, tmp_path: Path) -> None:
    take(writer.pid, tmp_path / "0", Format.SNAPSHOT)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        with pytest.raises(Failed) as caught:
            verify(str(tmp_path / "0"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "ulimit -n" in caught.value.remedy


def test_a_file_of_the_chain_is_replaced_meanwhile(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_OPEN", 1)
    take(writer.pid, tmp_path / "0", Format.SNAPSHOT)
    take(writer.pid, tmp_path / "1", Format.SNAPSHOT, parent=str(tmp_path / "0"))
    with Chain(str(tmp_path / "1")) as chain:
        (tmp_path / "new").write_bytes((tmp_path / "1").read_bytes())
        (tmp_path / "new").rename(tmp_path / "1")
        with pytest.raises(Failed, match="replaced"):
            check(chain.newest)


def test_the_screen_looks_just_before_the_stop(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    """What was written is protected again by then, so that no look tells; the screen's look has told."""
    process = dumpee(2, 256, 4000)
    target = open_target(process.pid, probe_kernel())
    try:
        target.arm(Method.WRITE_PROTECT)
        target.tick()
        feed = SharedFeed(target)

        def look(progress: Progress) -> None:
            if progress.frozen:
                time.sleep(0.02)
                target.tick()

        with ProcessHandle.open(process.pid) as handle:
            for i in range(5):
                dump(Job(str(tmp_path / str(i))), handle, probe_kernel(), feed=feed, watch=look)
        feed.close()
    finally:
        target.close()
    for i in range(5):
        core = Core(tmp_path / str(i))
        process.judge(core.read, point=True)
        core.close()
