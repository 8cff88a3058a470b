"""Scans of a real process against what it logged, its smaps, and its pagemap decoded one entry at a time."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import iter_unpack

import pytest
from harness import PAGE, Area, Writer, clipped, merged, status, wait_for

from memtop.linux.errors import KernelCannot, ProcessGone
from memtop.linux.features import probe_kernel
from memtop.linux.pagemap import Scanner, ScanResult
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader
from memtop.linux.ptrace import create_userfaultfd
from memtop.linux.userfaultfd import WriteProtector
from memtop.model.layout import COUNT, CountFlag, Kind, Mode
from memtop.model.mapping import MappingTable

PRESENT, SWAPPED = 1 << 63, 1 << 62


@dataclass
class Count:
    """One ``layout.COUNT`` record."""

    resident: int
    huge: int
    zero: int
    swapped: int
    guard: int
    written: int
    resident_map: int
    written_map: int
    first_run: int
    run_count: int
    flags: int
    reserved: int


def smaps(pid: int) -> dict[int, dict[str, int]]:
    """Per start address, the fields of smaps in pages; fields in other units are left out."""
    fields: dict[int, dict[str, int]] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if head := re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line):
            now = fields.setdefault(int(head[1], 16), {})
        elif field := re.match(r"(\w+): +(\d+) kB", line):
            now[field[1]] = int(field[2]) // 4
    return fields


def entries(pid: int, area: Area) -> list[int]:
    """The 64-bit pagemap entries of an area."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        raw = os.pread(file.fileno(), 8 * area.pages, area.start // PAGE * 8)
    return [entry for (entry,) in iter_unpack("<Q", raw)]


class Looked:
    """A writer, a scanner and the last table."""

    def __init__(self, writer: Writer, *, use_ioctl: bool = True) -> None:
        self.maps = MapsReader(writer.pid)
        self.scanner = Scanner(
            writer.pid, use_ioctl=use_ioctl, guard_bit=bool(probe_kernel().guard_bit.works)
        )
        self.table = MappingTable()
        self.result: ScanResult

    def index(self, area: Area) -> int:
        (index,) = (i for i in range(len(self.table)) if self.table.range_of(i) == (area.start, area.end))
        return index

    def modes(self, mode: Mode, only: list[Area] | None = None) -> bytes:
        self.table = self.maps.read()
        if only is not None:
            chosen = {self.index(area) for area in only}
            return bytes(mode if i in chosen else Mode.SKIP for i in range(len(self.table)))
        special = [self.table.kind_of(i) is Kind.SPECIAL for i in range(len(self.table))]
        return bytes(Mode.SKIP if skip else mode for skip in special)

    def scan(self, modes: bytes, **options: bool) -> None:
        self.result = self.scanner.scan(self.table, modes, **options)

    def count(self, area: Area) -> Count:
        return Count(*COUNT.unpack_from(self.result.counts, self.index(area) * COUNT.size))

    def counts(self) -> list[Count]:
        return [Count(*record) for record in COUNT.iter_unpack(self.result.counts)]

    def runs(self, area: Area) -> list[tuple[int, int]]:
        """The area's own runs, by the index that its count gives."""
        count = self.count(area)
        own = self.result.runs[count.first_run : count.first_run + count.run_count]
        return merged((run.start, run.pages) for run in own)

    def close(self) -> None:
        self.maps.close()
        self.scanner.close()


@pytest.fixture
def looked(writer: Writer, needs_pagemap_scan: None) -> Iterator[Looked]:
    looked = Looked(writer)
    yield looked
    looked.close()


@pytest.fixture
def protect(writer: Writer, needs_write_protect: None) -> Iterator[Callable[[Looked, list[Area]], None]]:
    """Registers areas with a userfaultfd of the writer."""
    handle = ProcessHandle.open(writer.pid)
    protector = WriteProtector(create_userfaultfd(handle, timeout_s=10).fd)

    def register(looked: Looked, areas: list[Area]) -> None:
        looked.table = looked.maps.read()
        assert protector.register(looked.table, [looked.index(area) for area in areas]) == {}

    yield register
    protector.close()
    handle.close()


def try_map(writer: Writer, name: str, kind: str, pages: int) -> Area | None:
    try:
        return writer.map(name, kind, pages)
    except OSError:
        return None


def test_census_of_everything_agrees_with_smaps(writer: Writer, looked: Looked) -> None:
    for kind in ("anon", "shared", "memfd", "private-file", "shared-file", "thp", "none"):
        area = try_map(writer, kind, kind, 3000)
        if area and kind != "none":
            area.write("random", 1000, seed=7)
    modes = looked.modes(Mode.CENSUS)
    looked.scan(modes)
    wanted = smaps(writer.pid)
    for mapping, mode, count in zip(looked.table, modes, looked.counts(), strict=True):
        if mode == Mode.SKIP:
            assert count.flags == 0
            continue
        fields = wanted[mapping.start]
        assert count.resident == fields["Rss"], mapping
        assert count.huge == fields["AnonHugePages"] + fields["ShmemPmdMapped"] + fields["FilePmdMapped"], (
            mapping
        )
        assert count.written == 0
        assert count.flags & ~CountFlag.NO_GUARD == CountFlag.SCANNED | CountFlag.ZERO
    assert looked.result.sum.resident == sum(count.resident for count in looked.counts())


@pytest.mark.parametrize("use_ioctl", [True, False])
def test_census_agrees_with_the_entries(writer: Writer, needs_pagemap_scan: None, use_ioctl: bool) -> None:
    area = writer.map("area", "anon", 5001)
    area.write("random", 1500, seed=3)
    looked = Looked(writer, use_ioctl=use_ioctl)
    looked.scan(looked.modes(Mode.CENSUS))
    count, present = looked.count(area), [bool(e & PRESENT) for e in entries(writer.pid, area)]
    assert count.resident == sum(present)
    cell = -(-area.pages // 64)
    assert count.resident_map == sum(any(present[i * cell : (i + 1) * cell]) << i for i in range(64))
    looked.close()


def test_zero_pages_are_not_resident(writer: Writer, looked: Looked) -> None:
    area = writer.map("area", "anon", 100)
    area.poke(10, 5)
    area.do("read")
    looked.scan(looked.modes(Mode.CENSUS))
    assert (looked.count(area).resident, looked.count(area).zero) == (5, 95)


def test_huge_pages(writer: Writer, looked: Looked) -> None:
    area = writer.map("area", "thp", 2048)
    area.poke(0, 1024)
    looked.scan(looked.modes(Mode.CENSUS))
    huge = smaps(writer.pid)[area.start]["AnonHugePages"]
    if not huge:
        pytest.skip("missing capability: transparent huge pages")
    assert looked.count(area).huge == huge


def test_hugetlb(writer: Writer, looked: Looked, hugetlb_pages: int) -> None:
    area = writer.map("area", "hugetlb", 1024)
    area.poke(512, 1)
    looked.scan(looked.modes(Mode.CENSUS))
    assert looked.table[looked.index(area)].kind is Kind.HUGETLB
    assert looked.count(area).resident == looked.count(area).huge == 512
    assert looked.count(area).resident_map == 0xFFFFFFFF << 32


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("anon", Mode.ARMED),
        ("shared", Mode.ARMED),
        ("memfd", Mode.ARMED),
        ("private-file", Mode.ARMED_FILE),
        ("shared-file", Mode.ARMED),
    ],
)
@pytest.mark.parametrize("pattern", ["random", "sequential", "alternate"])
def test_written_pages_are_those_that_were_written(
    writer: Writer,
    looked: Looked,
    protect: Callable[[Looked, list[Area]], None],
    kind: str,
    mode: Mode,
    pattern: str,
) -> None:
    area = writer.map("area", kind, 9000)
    area.fill()
    protect(looked, [area])
    modes = looked.modes(mode, [area])
    looked.scan(modes)
    assert looked.count(area).written == 9000, "the first scan reports all and arms"
    for seed in range(5):
        written = area.write(pattern, 700, threads=2, seed=seed)
        looked.scan(modes)
        assert looked.runs(area) == merged(written)
        assert looked.count(area).written == looked.result.written == sum(n for _, n in merged(written))
        assert looked.count(area).resident == 9000
    area.do("read")
    looked.scan(modes)
    assert looked.runs(area) == []


@pytest.mark.parametrize("kind", ["anon", "shared", "memfd"])
def test_dense_memory(
    writer: Writer, looked: Looked, protect: Callable[[Looked, list[Area]], None], kind: str
) -> None:
    """Where nearly all is there the scan asks for what is not: the same numbers must come out."""
    area = writer.map("area", kind, 50_000)
    area.fill()
    area.do("discard", 20_000, 333)

    def check(mode: Mode) -> None:
        looked.scan(looked.modes(mode, [area]))
        count, present = looked.count(area), [bool(e & PRESENT) for e in entries(writer.pid, area)]
        assert count.resident == sum(present)
        cell = -(-area.pages // 64)
        assert count.resident_map == sum(any(present[i * cell : (i + 1) * cell]) << i for i in range(64))
        assert count.huge == 0

    check(Mode.CENSUS)
    protect(looked, [area])
    check(Mode.ARMED)
    for seed in range(3):
        area.do("discard", 30_000 + 4000 * seed, 3000)
        written = area.write("random", 2000, threads=2, seed=seed)
        check(Mode.ARMED)
        assert looked.runs(area) == merged(written)
    check(Mode.CENSUS)


def test_pages_that_come_and_go(
    writer: Writer, looked: Looked, protect: Callable[[Looked, list[Area]], None]
) -> None:
    """Discarded pages are gone, new ones written; zero pages are neither."""
    area = writer.map("area", "anon", 400)
    area.poke(0, 100)
    protect(looked, [area])
    modes = looked.modes(Mode.ARMED, [area])
    looked.scan(modes)
    area.do("discard", 0, 50)
    fresh = area.poke(300, 20)
    looked.scan(modes)
    assert looked.runs(area) == merged(fresh)
    assert looked.count(area).resident == 70
    area.do("read")
    looked.scan(modes, count_zero=True)
    assert looked.runs(area) == []
    assert (looked.count(area).zero, looked.count(area).resident) == (330, 70)


@dataclass
class Cells:
    start: int
    cell_pages: int
    cells: int


def test_watched_cells(writer: Writer, looked: Looked, protect: Callable[[Looked, list[Area]], None]) -> None:
    area = writer.map("area", "anon", 3000)
    area.poke(0, 2000)
    protect(looked, [area])
    modes = looked.modes(Mode.ARMED, [area])
    looked.scan(modes)
    written = area.write("random", 500, seed=5)
    resident = [bool(e & PRESENT) for e in entries(writer.pid, area)]
    watch = Cells(area.start + 100 * PAGE, 37, 60)
    result = looked.scanner.scan(looked.table, modes, watch=watch)
    for i, (r, w) in enumerate(
        zip(array("I", result.watched_resident), array("I", result.watched_written), strict=True)
    ):
        first = 100 + 37 * i
        assert r == sum(resident[first : first + 37])
        start = area.start + first * PAGE
        assert w == sum(n for _, n in clipped(written, start, start + 37 * PAGE))


def test_strays(writer: Writer, looked: Looked, protect: Callable[[Looked, list[Area]], None]) -> None:
    """The same line in maps, but mapped anew: only a look at the pages tells."""
    kept, renewed = writer.map("kept", "anon", 50), writer.map("renewed", "anon", 50)
    kept.fill()
    renewed.fill()
    protect(looked, [kept, renewed])
    modes = looked.modes(Mode.ARMED, [kept, renewed])
    assert looked.scanner.strays(looked.table, modes) == []
    renewed.do("again")
    assert looked.maps.read() is looked.table
    assert looked.scanner.strays(looked.table, modes) == [], "no pages, no stray"
    renewed.poke(7)
    assert looked.scanner.strays(looked.table, modes) == [looked.index(renewed)]
    looked.scan(modes)
    assert looked.runs(renewed) == [], "what is not registered is left alone"


def test_without_the_ioctl_nothing_can_be_armed(writer: Writer, needs_pagemap_scan: None) -> None:
    looked = Looked(writer, use_ioctl=False)
    with pytest.raises(KernelCannot):
        looked.scan(looked.modes(Mode.ARMED))
    looked.close()


def test_one_mode_per_mapping(looked: Looked) -> None:
    with pytest.raises(ValueError, match="mode"):
        looked.scanner.scan(looked.maps.read(), b"\1")


@pytest.mark.parametrize("use_ioctl", [True, False])
def test_the_end_of_the_process(writer: Writer, needs_pagemap_scan: None, use_ioctl: bool) -> None:
    looked = Looked(writer, use_ioctl=use_ioctl)
    modes = looked.modes(Mode.CENSUS)
    looked.scan(modes)
    writer.kill()
    with pytest.raises(ProcessGone):
        looked.scan(modes)
    with pytest.raises(ProcessGone, match=str(writer.pid)):
        Scanner(writer.pid, use_ioctl=use_ioctl, guard_bit=False)
    looked.close()


def test_exec_ends_the_address_space(writer: Writer, looked: Looked) -> None:
    modes = looked.modes(Mode.CENSUS)
    writer.ask("exec")
    wait_for(lambda: status(writer.pid, "State"), "the new image")
    with pytest.raises(ProcessGone):
        looked.scan(modes)
