"""Mappings keep their identity: cases a person would name, and rules for any two tables."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from memtop.model.layout import MAPPING, PAGE
from memtop.native import ffi, lib

NAMES = b"[heap][anon:a]"


@dataclass(frozen=True)
class Vma:
    start: int
    end: int
    inode: int = 0
    shared: bool = False

    @property
    def backing(self) -> tuple[int, bool]:
        return self.inode, self.shared

    def packed(self) -> bytes:
        perms = 3 | 8 * self.shared
        return MAPPING.pack(self.start * PAGE, self.end * PAGE, 0, self.inode, 0, 0, 0, 0, perms, 0)


def identify(before: list[Vma], ids: list[int], now: list[Vma], next_id: int = 1000) -> list[int]:
    """The ids of now; checks what the function says about how many are new."""
    out, counter = array("Q", bytes(8 * len(now))), ffi.new("uint64_t *", next_id)
    made = lib.mt_identify(
        ffi.from_buffer("mt_mapping[]", b"".join(v.packed() for v in before)),
        ffi.from_buffer(NAMES),
        ffi.from_buffer("uint64_t[]", array("Q", ids)),
        len(before),
        ffi.from_buffer("mt_mapping[]", b"".join(v.packed() for v in now)),
        ffi.from_buffer(NAMES),
        ffi.from_buffer("uint64_t[]", out),
        len(now),
        counter,
    )
    assert made == counter[0] - next_id == sum(i >= next_id for i in out)
    return list(out)


@st.composite
def tables(draw: st.DrawFn) -> list[Vma]:
    out, at = [], 0
    for gap, pages, inode, shared in draw(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(0, 2), st.booleans()), max_size=25
        )
    ):
        out.append(Vma(at + gap, at + gap + pages, inode, shared))
        at += gap + pages
    return out


@given(tables(), tables())
def test_rules(before: list[Vma], now: list[Vma]) -> None:
    ids = list(range(1, len(before) + 1))
    out = identify(before, ids, now)
    assert len(set(out)) == len(out), "no id twice"
    for vma, identity in zip(now, out, strict=True):
        if identity < 1000:
            assert before[identity - 1].backing == vma.backing
        if vma in before:
            assert identity == ids[before.index(vma)], "what stands unchanged keeps its id"
        rivals = [old for old in before if old.start < vma.end and vma.start < old.end]
        if len(rivals) == 1 and rivals[0].backing == vma.backing:
            other = [v for v in now if v is not vma and v.start < rivals[0].end and rivals[0].start < v.end]
            if not other:
                assert identity == ids[before.index(rivals[0])], "grown or shrunk, and nobody else's"


@given(tables())
def test_the_same_table_again(table: list[Vma]) -> None:
    ids = [7 * i + 3 for i in range(len(table))]
    assert identify(table, ids, table, next_id=10_000) == ids


def test_growth_split_merge() -> None:
    assert identify([Vma(0, 4)], [1], [Vma(0, 9)]) == [1]
    assert identify([Vma(0, 10)], [1], [Vma(0, 3), Vma(3, 10)]) == [1000, 1]
    assert identify([Vma(0, 3), Vma(3, 10)], [1, 2], [Vma(0, 10)]) == [2]


def test_move() -> None:
    """mremap to another place, while something else of that size appears: only one of them is it."""
    assert identify([Vma(0, 4), Vma(10, 14, inode=5)], [1, 2], [Vma(20, 24, inode=5)]) == [2]
    assert sorted(identify([Vma(0, 4)], [1], [Vma(20, 24), Vma(30, 34)])) == [1, 1000]


def test_other_backing_is_another_mapping() -> None:
    assert identify([Vma(0, 4, inode=5)], [1], [Vma(0, 4, inode=6)]) == [1000]
    assert identify([Vma(0, 4)], [1], [Vma(0, 4, shared=True)]) == [1000]
