"""Files that claim what no file holds: every reader stays small and quick, and says one sentence."""

from __future__ import annotations

import os
import resource
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from crafted import (
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
from lies import ROOM, Fuzz, limit_memory, readers

from memtop.dump.chain import Chain
from memtop.dump.image import PageKind
from memtop.dump.verify import verify
from memtop.linux.errors import Failed, MemtopError

LIMIT = 10.0
"""Seconds that no reader may take for one of these files."""

A = 0x10000


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    """Memory is limited: what takes a multiple of the file's size fails."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit_memory(ROOM)
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], list[str]]:
    """Has all readers take a file; what each said: nothing, or a sentence."""
    Snapshot([Mapping(A, A + PAGE, [stored(A, HEADER, [page(1)])])], page(1)).write(tmp_path / "good")

    def everything(path: str) -> list[str]:
        said = []
        every = readers(tmp_path / "good", tmp_path)
        for reader in (every[name] for name in ("verify", "core", "snapshot", "criu", "diff")):
            try:
                with in_time(LIMIT):
                    reader(path)
                said.append("")
            except MemtopError as error:
                said.append(error.sentence)
        return said

    return everything


def refused(said: list[str], *words: str) -> None:
    """By all of them, with the same sentence."""
    for sentence in said:
        assert all(word in sentence for word in words), said


def test_what_is_crafted_is_right(read: Callable[[str], list[str]], tmp_path: Path) -> None:
    assert read(str(tmp_path / "good")) == [""] * 5


def test_a_parent_that_is_itself(read: Callable[[str], list[str]], tmp_path: Path) -> None:
    runs = [Run(A, 1, PARENT)]
    me = b"me".ljust(16, b".")
    for sequence in (0, 1, 7, (1 << 32) - 1):
        path = Snapshot(
            [Mapping(A, A + PAGE, runs)], id=me, parent=me, about={"parent": "a"}, sequence=sequence
        ).write(tmp_path / "a")
        refused(read(path), "a", "damaged at byte 8" if not sequence else "do not follow each other")


def test_two_that_are_each_others_parents(read: Callable[[str], list[str]], tmp_path: Path) -> None:
    runs = [Run(A, 1, PARENT)]
    names = [b"first".ljust(16, b"."), b"second".ljust(16, b".")]
    for i in (0, 1):
        Snapshot(
            [Mapping(A, A + PAGE, runs)], id=names[i], parent=names[1 - i], about={"parent": str(1 - i)},
            sequence=2 - i,
        ).write(tmp_path / str(i))  # fmt: skip
    refused(read(str(tmp_path / "0")), "do not follow each other")


@pytest.mark.parametrize("part", ["index", "notes"])
def test_a_hole_in_place_of(part: str, read: Callable[[str], list[str]], tmp_path: Path) -> None:
    """64 GiB that take no room on the disk; their hash is never even computed."""
    path, size = tmp_path / "sparse", 64 << 30
    whole = Snapshot([]).pack()
    end = HEADER + size
    wrong = {"size": end + 160, "index_at": HEADER, "index_length": size, "notes_at": end, "notes_length": 0}
    if part == "notes":
        wrong |= {"index_length": 56, "notes_at": HEADER + 56, "notes_length": size - 56}
    trailer = Snapshot([], wrong=wrong).pack()[-160:]
    with path.open("wb") as file:
        file.write(whole[:HEADER])
        file.seek(end)
        file.write(trailer)
    refused(read(str(path)), f"damaged at byte {HEADER + (56 if part == 'notes' else 0)}")


def test_the_same_page_many_times_over(read: Callable[[str], list[str]], tmp_path: Path) -> None:
    """One page of contents as 80 MiB."""
    many, check = 20_000, xxh64(page(1))
    runs = [Run(A + i * PAGE, 1, DATA, HEADER, PAGE, hashes=[check]) for i in range(many)]
    path = Snapshot([Mapping(A, A + many * PAGE, runs)], page(1)).write(tmp_path / "same")
    refused(read(path), "contents and pages do not fit")


@pytest.mark.parametrize("bomb", ["long", "claims", "window", "frame"])
def test_a_frame_that_is_a_bomb(bomb: str, read: Callable[[str], list[str]], tmp_path: Path) -> None:
    zeros = bytes(PAGE)
    if bomb == "long":  # 256 MiB in 8 KiB
        packer = zstandard.ZstdCompressor(level=1).compressobj(size=1 << 28)
        frame = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1 << 8)) + packer.flush()
    elif bomb == "claims":  # a page, and says that it is 2^60 bytes
        frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 60) + b"\x01\x00\x00"
    elif bomb == "window":  # wants 128 MiB to be unpacked in
        frame = b"\x28\xb5\x2f\xfd\x80\x88" + struct.pack("<I", PAGE) + b"\x03\x80\x00\x00"
    else:  # each run refers to all that the file has
        frame = zstandard.ZstdCompressor().compress(zeros) + bytes(16 << 20)
    many, check = 5000, xxh64(frame)
    runs = [Run(A + i * PAGE, 1, DATA, HEADER, len(frame), check, hashes=[1]) for i in range(many)]
    said = read(Snapshot([Mapping(A, A + many * PAGE, runs)], frame, flags=1).write(tmp_path / "bomb"))
    if bomb == "frame":
        refused(said, "contents and pages do not fit")
        return
    refused(said, "does not match its hash" if bomb == "window" else "the compressed frame is damaged")


def test_empty_address_space_without_end(read: Callable[[str], list[str]], tmp_path: Path) -> None:
    def mapped(end: int, kind: int = HOLE) -> str:
        runs, at, most = [], A, (1 << 32) - 1
        while at < end:
            runs.append(Run(at, min(most, (end - at) // PAGE), kind))
            at += runs[-1].pages * PAGE
        return Snapshot([Mapping(A, end, runs)]).write(tmp_path / "empty")

    refused(read(mapped(1 << 57)), "a mapping lies where none can be")
    for end, kind in ((1 << 56, HOLE), (1 << 47, ZERO)):
        said = read(mapped(end, kind))
        assert said[0] == said[4] == ""
        for sentence in said[1:4]:
            assert sentence == "" or "a file of this size" in sentence
    with Chain(mapped(1 << 56)) as chain:
        assert chain.image().pages_of(PageKind.HOLE) == ((1 << 56) - A) // PAGE


def test_numbers_that_do_not_fit_into_another_file(read: Callable[[str], list[str]], tmp_path: Path) -> None:
    top = (1 << 64) - 1
    mapping = Mapping(
        A, A + PAGE, [stored(A, HEADER, [page(1)])], offset=top, inode=top, major=top >> 32, minor=top >> 32
    )
    path = Snapshot([mapping], page(1), time=top, start_time=top, pid=top >> 32).write(tmp_path / "top")
    assert read(path) == [""] * 5


def test_contents_with_an_errno(read: Callable[[str], list[str]], tmp_path: Path) -> None:
    """They went into another snapshot as data that is at no place: memory beside the hashes was read."""
    run = stored(A, HEADER, [page(1)])
    run.error = 5
    refused(read(Snapshot([Mapping(A, A + PAGE, [run])], page(1)).write(tmp_path / "a")), "this is no run")


def test_an_increment_on_the_last_number(tmp_path: Path) -> None:
    full = Snapshot([Mapping(A, A + PAGE, [Run(A, 1, ZERO)])], sequence=(1 << 32) - 1)
    with pytest.raises(Failed, match="damaged at byte 8"):
        verify(full.write(tmp_path / "full"))


def test_pages_that_no_parent_has(read: Callable[[str], list[str]], tmp_path: Path) -> None:
    full = Snapshot([Mapping(A, A + 4 * PAGE, [Run(A, 4, ZERO)])])
    full.write(tmp_path / "full")
    for start, end in ((A, A + 8 * PAGE), (A - PAGE, A + PAGE), (1 << 55, (1 << 55) + PAGE)):
        child = child_of(full, "full", [Mapping(start, end, [Run(start, (end - start) // PAGE, PARENT)])])
        refused(read(child.write(tmp_path / "child")), "is in no parent")


# ---- ELF cores, which have no hashes -----------------------------------------------------------------------


def differs(path: str, good: str) -> str:
    """What is said of it; empty: nothing."""
    try:
        with in_time(LIMIT):
            for _ in differences(good, path):
                pass
    except Failed as error:
        return error.sentence
    return ""


def test_cores(read: Callable[[str], list[str]], tmp_path: Path) -> None:
    good, bad = str(tmp_path / "good"), tmp_path / "bad"

    def load(at: int, size: int) -> tuple[int, ...]:
        return 1, 6, 1 << 20, at, 0, size, size, PAGE

    assert differs(core(bad, [load(A, 8 << 20)]), good) == ""
    sparse = differs(core(bad, [], count=(1 << 32) - 1, size=300 << 30), good)
    assert "hardly stored" in sparse
    same = [load(A + (i << 23), 8 << 20) for i in range(8000)]  # 64 GiB of the same 8 MiB
    assert "the same contents" in differs(core(bad, same), good)
    notes = [(4, 0, 9 << 20, 0, 0, 1 << 30, 0, 4)] * 2000
    assert "hardly stored" in differs(core(bad, notes, size=2 << 30), good)
    top = [(1, 6, 1 << 20, (1 << 64) - PAGE, 0, PAGE, PAGE, PAGE)]
    assert "whole pages" in differs(core(bad, top), good)
    huge = [(1, 6, 9 << 20, A, 0, 1 << 60, (1 << 60) - A // PAGE * PAGE, PAGE)]
    differs(core(bad, huge, size=1 << 40), good)


def test_lies(tmp_path: Path) -> None:
    """The short form of ``python tests/dump/lies.py``."""
    fuzz = Fuzz(tmp_path, seed=3)
    for _ in range(int(os.environ.get("MEMTOP_LIES", "60"))):
        fuzz.one()
