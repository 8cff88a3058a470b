"""Every damage is found and named; nobody who reads a damaged file ends in anything but a sentence."""

from __future__ import annotations

import os
import random
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from damages import HEADER, LENGTH, TRAILER, Damager, Readers, chains, differences, in_time, parts_of, xxh64
from dumps import take
from harness import Writer

from memtop.dump.job import Format
from memtop.dump.snapshot_format import Damaged
from memtop.dump.verify import verify
from memtop.linux.errors import MemtopError

RUNS = int(os.environ.get("MEMTOP_DAMAGES", "120"))
BYTES = [0, 1, 0x7F, 0x80, 0xFF]


@pytest.mark.usefixtures("needs_write_protect")
def test_every_damage_is_found(writer: Writer, tmp_path: Path) -> None:
    """The short form of ``python tests/dump/damages.py``."""
    (tmp_path / "bad").mkdir()
    damager = Damager(chains(writer, tmp_path), tmp_path / "bad", seed=6)
    wanted = {"cut short", "changed in frame", "changed in page", "changed in nothing"}
    for run in range(10 * RUNS):  # where things are in the files is not the same from run to run
        if run >= RUNS and wanted <= damager.counts.keys():
            break
        damager.one()
    assert wanted <= damager.counts.keys()


@pytest.mark.usefixtures("needs_write_protect")
def test_the_first_of_several(writer: Writer, tmp_path: Path) -> None:
    rng = random.Random(9)
    for chain in chains(writer, tmp_path):
        good, bad = chain / "0", chain / "bad"
        parts = [part for part in parts_of(good) if part.name in ("page", "frame", "nothing")]
        for _ in range(RUNS // 6):
            data = bytearray(good.read_bytes())
            hit = [(rng.randrange(part.start, part.end), part) for part in rng.sample(parts, 3)]
            for at, _ in hit:
                data[at] ^= 0x40
            bad.write_bytes(data)
            with pytest.raises(Damaged) as caught:
                verify(str(bad))
            assert caught.value.offset == min(at if p.name == "nothing" else p.start for at, p in hit)


@pytest.mark.usefixtures("needs_write_protect")
def test_garbage_crashes_nobody(writer: Writer, tmp_path: Path) -> None:
    """Parts changed and their hashes made right again: whatever it says then, an answer is a sentence."""
    rng = random.Random(7)
    for chain in chains(writer, tmp_path):
        top = chain / str(LENGTH - 1)
        readers = Readers(top, tmp_path, exact=False)
        good = top.read_bytes()
        index, length = struct.unpack_from("<QQ", good, len(good) - TRAILER + 24)
        notes, size = struct.unpack_from("<QQ", good, len(good) - TRAILER + 48)
        bad = chain / "bad"
        for _ in range(RUNS):
            data = bytearray(good)
            for _ in range(rng.randrange(1, 4)):
                place = [
                    rng.randrange(8, 700),
                    index + rng.randrange(length),
                    notes + rng.randrange(size),
                    len(data) - rng.randrange(9, 153),
                ]
                data[rng.choice(place)] = rng.choice([*BYTES, rng.randrange(256)])
            bad.write_bytes(sealed(data, (index, length), (notes, size)))
            for read in (lambda path: verify(path) and None, *readers.all().values(), readers.as_criu):
                with suppress(MemtopError), in_time():  # and nothing else
                    read(str(bad))


def sealed(data: bytearray, index: tuple[int, int], notes: tuple[int, int]) -> bytearray:
    """With the right hashes of header, index, notes and trailer."""
    data[HEADER - 8 : HEADER] = struct.pack("<Q", xxh64(bytes(data[: HEADER - 8])))
    data[-120:-112] = struct.pack("<Q", xxh64(bytes(data[index[0] : sum(index)])))
    data[-96:-88] = struct.pack("<Q", xxh64(bytes(data[notes[0] : sum(notes)])))
    data[-8:] = struct.pack("<Q", xxh64(bytes(data[-TRAILER:-8])))
    return data


@pytest.mark.usefixtures("needs_write_protect")
def test_text_of_the_header(writer: Writer, tmp_path: Path) -> None:
    take(writer.pid, tmp_path / "good", Format.SNAPSHOT)
    good = (tmp_path / "good").read_bytes()
    index = struct.unpack_from("<QQ", good, len(good) - TRAILER + 24)
    notes = struct.unpack_from("<QQ", good, len(good) - TRAILER + 48)
    for text in (
        b"[" * 7000,
        b'{"parent": "\\u0000", "comm": "\\ud800"}',
        b'{"machine": -1}',
        b"9" * 5000,
        b"{}",
    ):
        data = bytearray(good)
        data[96:104] = struct.pack("<Q", len(text))
        data[256 : HEADER - 8] = text.ljust(HEADER - 8 - 256, b"\0")
        (tmp_path / "bad").write_bytes(sealed(data, index, notes))
        with suppress(MemtopError):
            verify(str(tmp_path / "bad"))


@pytest.mark.usefixtures("needs_write_protect")
def test_a_damaged_core_crashes_nobody(writer: Writer, tmp_path: Path) -> None:
    writer.map("a", "private", 64).poke(3, 9)
    take(writer.pid, tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    headers, count = struct.unpack_from("<Q", good, 32)[0], struct.unpack_from("<H", good, 56)[0]
    notes, size = (
        struct.unpack_from("<Q", good, headers + 8)[0],
        struct.unpack_from("<Q", good, headers + 32)[0],
    )
    rng = random.Random(8)
    (tmp_path / "bad").write_bytes(good)
    for _ in range(RUNS):
        data = bytearray(good[: rng.randrange(len(good))] if rng.random() < 0.2 else good)
        for _ in range(rng.randrange(1, 4)):
            place = [rng.randrange(64), headers + rng.randrange(56 * count), notes + rng.randrange(size)]
            at = rng.choice(place)
            if at < len(data):
                data[at] = rng.choice([*BYTES, rng.randrange(256)])
        (tmp_path / "bad").write_bytes(data)
        with suppress(MemtopError), in_time():
            for _ in differences(str(tmp_path / "good"), str(tmp_path / "bad")):
                pass
