"""docs/snapshot-format.md: a reader written from it alone, and what becomes of files that are not whole."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xxhash
import zstandard
from dumps import PAGE, Dumpee, take
from harness import Writer, memory_of, run

from memtop.dump.job import Format
from memtop.dump.verify import verify
from memtop.linux.errors import Failed

pytestmark = pytest.mark.usefixtures("needs_write_protect")


def xxh64(data: bytes) -> int:
    return xxhash.xxh64(data, seed=0).intdigest()


class Reader:
    """By the document."""

    def __init__(self, path: Path) -> None:
        self.data = data = path.read_bytes()
        assert data[:8] == b"MEMTOPSN"
        self.version, size, page, self.flags = struct.unpack_from("<4I", data, 8)
        assert (self.version, size, page) == (1, 8192, 4096)
        assert struct.unpack_from("<Q", data, 8184) == (xxh64(data[:8184]),)
        self.chain, self.id, self.parent = data[24:40], data[40:56], data[56:72]
        self.sequence, self.pid, self.start = struct.unpack_from("<IIQ", data, 72)
        end = data[-160:]
        assert end[:8] == b"MEMTOPEN"
        assert struct.unpack_from("<Q", end, 152) == (xxh64(end[:152]),)
        _, _, length, at, size, index, notes_at, notes_size, notes, self.mappings, self.runs = (
            struct.unpack_from("<IIQQQQQQQQQ", end, 8)
        )
        assert length == len(data)
        assert xxh64(data[at : at + size]) == index
        assert xxh64(data[notes_at : notes_at + notes_size]) == notes
        self.totals = struct.unpack_from("<8Q", end, 88)
        self.pages: dict[int, bytes | int] = {}
        self.areas = list(self.walk(at))
        assert len(self.areas) == self.mappings

    def walk(self, at: int) -> Iterator[tuple[int, int, bytes]]:
        data, seen, counts = self.data, 0, [0] * 9
        while True:
            tag, _perms, _kind, wanted, _, start, end, _, _, _, _, name, why = struct.unpack_from(
                "<IBBBBQQQQIIII", data, at
            )
            if tag == 0:
                break
            at += 56
            yield start, end, data[at : at + name]
            at += -(-(name + why) // 8) * 8
            position = start
            while True:
                runs, hashes = struct.unpack_from("<II", data, at)
                at += 8
                if runs == 0:
                    break
                first = at + 48 * runs
                for i in range(runs):
                    address, place, length, check, pages, skip, kind, _ = struct.unpack_from(
                        "<QQQQIIBB", data, at + 48 * i
                    )
                    assert address == position
                    position += pages * PAGE
                    counts[kind] += pages
                    seen += 1
                    contents = data[place : place + length]
                    if kind == 1 and self.flags & 1:
                        assert xxh64(contents) == check
                        frame = zstandard.ZstdDecompressor().decompress(contents)
                        contents = frame[skip * PAGE : (skip + pages) * PAGE]
                    for page in range(pages):
                        here = contents[page * PAGE : (page + 1) * PAGE]
                        if kind == 1:
                            assert struct.unpack_from("<Q", data, first) == (xxh64(here),)
                            first += 8
                        if kind in (1, 4) or pages < 1000:
                            self.pages[address + page * PAGE] = here if kind == 1 else kind
                at += 48 * runs + 8 * hashes
                assert first == at
            assert position == (end if wanted else start)
        assert seen == self.runs
        assert tuple(counts[1:]) == self.totals


def page_of(readers: list[Reader], address: int) -> bytes | None:
    """The newest reader is the first."""
    found = readers[0].pages.get(address)
    if isinstance(found, bytes):
        return found
    if found == 4:
        return page_of(readers[1:], address)
    return bytes(PAGE) if found in (2, 3) else None


@pytest.mark.parametrize("compress", [False, True])
def test_the_document_says_it_all(writer: Writer, tmp_path: Path, compress: bool) -> None:
    area = writer.map("a", "private", 300)
    area.poke(10, 100)
    other = writer.map("b", "shared", 64)
    other.fill()
    take(writer.pid, tmp_path / "0", Format.SNAPSHOT, compress=compress)
    zero = [memory_of(writer.pid, a.start, a.pages * PAGE) for a in (area, other)]
    area.poke(20, 5)
    take(writer.pid, tmp_path / "1", Format.SNAPSHOT, compress=compress, parent=str(tmp_path / "0"))
    one = [memory_of(writer.pid, a.start, a.pages * PAGE) for a in (area, other)]
    first, second = Reader(tmp_path / "0"), Reader(tmp_path / "1")
    assert (second.parent, second.chain, second.sequence) == (first.id, first.id, 1)
    assert (first.parent, first.chain, first.sequence) == (bytes(16), first.id, 0)
    assert first.pid == second.pid == writer.pid
    for readers, truth in (([first], zero), ([second, first], one)):
        for mapping, contents in zip((area, other), truth, strict=True):
            for page in range(mapping.pages):
                assert page_of(readers, mapping.start + page * PAGE) == contents[page * PAGE :][:PAGE], page
    assert (tmp_path / "1").stat().st_size < (tmp_path / "0").stat().st_size


def test_what_is_no_parent(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    one, two = dumpee(1, 16, 10), dumpee(1, 16, 10)
    take(one.pid, tmp_path / "0", Format.SNAPSHOT)
    take(two.pid, tmp_path / "other", Format.SNAPSHOT)
    take(one.pid, tmp_path / "1", Format.SNAPSHOT, parent=str(tmp_path / "0"))
    with pytest.raises(Failed, match="not of this one"):
        take(one.pid, tmp_path / "2", Format.SNAPSHOT, parent=str(tmp_path / "other"))
    assert not (tmp_path / "2").exists()
    header = bytearray((tmp_path / "0").read_bytes())
    header[104] ^= 1
    header[8184:8192] = struct.pack("<Q", xxh64(bytes(header[:8184])))
    (tmp_path / "boot").write_bytes(header)
    with pytest.raises(Failed, match="another boot"):
        take(one.pid, tmp_path / "2", Format.SNAPSHOT, parent=str(tmp_path / "boot"))
    shutil.copyfile(tmp_path / "other", tmp_path / "0")
    with pytest.raises(Failed, match="is another snapshot"):
        verify(str(tmp_path / "1"))
    (tmp_path / "0").unlink()
    with pytest.raises(Failed, match="is not there"):
        verify(str(tmp_path / "1"))


def test_verify_says_it(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    process = dumpee(1, 16, 10)
    take(process.pid, tmp_path / "0", Format.SNAPSHOT)
    done = run("verify", str(tmp_path / "0"))
    assert done.code == 0
    assert "whole: one file" in done.out
    with (tmp_path / "0").open("r+b") as file:
        file.seek(8192 + 5)
        file.write(b"\xee")
    done = run("verify", str(tmp_path / "0"))
    assert done.code == 1
    done.said("damaged at byte 8192", "does not match its hash")
    (tmp_path / "text").write_text("hello")
    done = run("verify", str(tmp_path / "text"))
    assert done.code == 1
    done.said("no snapshot")
