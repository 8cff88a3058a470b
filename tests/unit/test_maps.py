"""The parser of maps against a parser of three lines, on any text."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtop.model.layout import MAPPING, PAGE, Kind
from memtop.model.mapping import Mapping, MappingTable
from memtop.native import ffi, lib


def parse(text: bytes) -> MappingTable | int:
    """The table, or an errno."""
    maps = ffi.gc(lib.mt_maps_new(), lib.mt_maps_free)
    error = lib.mt_maps_parse(maps, text, len(text))
    if error:
        return int(-error)
    packed = bytes(ffi.buffer(lib.mt_maps_items(maps), lib.mt_maps_count(maps) * MAPPING.size))
    names = bytes(ffi.buffer(lib.mt_maps_names(maps), lib.mt_maps_names_length(maps)))
    return MappingTable(packed, names)


@dataclass(frozen=True)
class Line:
    pages: int
    gap: int
    perms: str
    offset: int
    dev: str
    inode: int
    name: bytes

    def text(self, start: int) -> bytes:
        end = start + self.pages * PAGE
        head = f"{start:08x}-{end:08x} {self.perms} {self.offset:08x} {self.dev} {self.inode} ".encode()
        return head.ljust(73) + self.name if self.name else head


PERMS = st.tuples(*map(st.sampled_from, ("r-", "w-", "x-", "ps"))).map("".join)
# As the kernel prints it: any byte but a newline; never with a space in front.
NAME = st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"\\012").lstrip(b" "))
LINE = st.builds(
    Line,
    pages=st.integers(1, 1 << 32),
    gap=st.integers(0, 1 << 20),
    perms=PERMS,
    offset=st.integers(0, (1 << 64) - 1),
    dev=st.builds("{:02x}:{:02x}".format, st.integers(0, 0xFFF), st.integers(0, 0xFFFFF)),
    inode=st.integers(0, (1 << 64) - 1),
    name=NAME,
)


@given(st.lists(LINE, min_size=1, max_size=20))
def test_reads_back_what_was_printed(lines: list[Line]) -> None:
    text, starts, at = b"", [], 0x10000
    for line in lines:
        at += line.gap * PAGE
        starts.append(at)
        text += line.text(at) + b"\n"
        at += line.pages * PAGE
    table = parse(text)
    assert isinstance(table, MappingTable)
    assert len(table) == len(lines)
    for line, start, record in zip(lines, starts, MAPPING.iter_unpack(table.packed), strict=True):
        first, end, offset, inode, major, minor, name_at, length, _, _ = record
        assert (first, end) == (start, start + line.pages * PAGE)
        assert (offset, inode) == (line.offset, line.inode)
        assert f"{major:02x}:{minor:02x}" == line.dev
        assert table.names[name_at : name_at + length] == line.name


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(text: bytes) -> None:
    assert parse(text) == errno.EINVAL or re.fullmatch(rb"([0-9a-f]+-[0-9a-f]+ [^\n]*(\n|$))*", text)


@given(st.data(), st.lists(LINE, min_size=1, max_size=3))
def test_a_torn_text_is_parsed_or_refused(data: st.DataObject, lines: list[Line]) -> None:
    text = b"".join(line.text(0x100000 << i) + b"\n" for i, line in enumerate(lines))
    cut = data.draw(st.integers(0, len(text)))
    table = parse(text[:cut])
    assert table == errno.EINVAL or (isinstance(table, MappingTable) and len(table) <= len(lines))


def one(line: str) -> Mapping:
    table = parse(line.encode())
    assert isinstance(table, MappingTable)
    (packed,) = MAPPING.iter_unpack(table.packed)
    start, end, offset, inode, _, _, at, length, _, kind = packed
    return Mapping(0, start, end, "", offset, "", inode, table.names[at : at + length].decode(), Kind(kind))


@pytest.mark.parametrize(
    ("perms", "inode", "name", "kind"),
    [
        ("rw-p", 0, "", Kind.ANON),
        ("rwxp", 0, "", Kind.JIT),
        ("---p", 0, "", Kind.GUARD),
        ("rw-p", 0, "[heap]", Kind.HEAP),
        ("rw-p", 0, "[stack]", Kind.STACK),
        ("rw-p", 0, "[anon:GC heap]", Kind.ANON),
        ("rw-s", 3, "[anon_shmem:ring]", Kind.SHARED),
        ("rw-s", 3, "/dev/zero (deleted)", Kind.SHARED),
        ("rw-s", 3, "/memfd:wl_shm (deleted)", Kind.SHARED),
        ("rw-s", 3, "/SYSV0001e240 (deleted)", Kind.SHARED),
        ("rw-s", 3, "/dev/shm/PostgreSQL.1", Kind.SHARED),
        ("rw-p", 3, "/anon_hugepage (deleted)", Kind.HUGETLB),
        ("r-xp", 3, "/usr/lib/libc.so.6", Kind.TEXT),
        ("rw-p", 3, "/usr/lib/libc.so.6", Kind.DATA),
        ("r--p", 3, "/usr/lib/libc.so.6", Kind.FILE),
        ("rw-s", 3, "/var/lib/db", Kind.FILE),
        ("r--p", 0, "[vvar_vclock]", Kind.SPECIAL),
        ("r-xp", 0, "[vdso]", Kind.SPECIAL),
        ("rw-s", 3, "anon_inode:[perf_event]", Kind.SPECIAL),
        ("rw-s", 3, "/dev/nvidia0", Kind.SPECIAL),
    ],
)
def test_kind(perms: str, inode: int, name: str, kind: Kind) -> None:
    mapping = one(f"1000-2000 {perms} 00000000 00:01 {inode}      {name}\n")
    assert mapping.kind is kind
    assert mapping.name == name
