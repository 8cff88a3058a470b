"""Checks a snapshot and all that it builds on, to the last byte."""

from __future__ import annotations

from dataclasses import dataclass

from memtop.dump.chain import Chain
from memtop.dump.image import PageKind
from memtop.dump.snapshot_format import HEADER_SIZE, TRAILER
from memtop.dump.snapshot_reader import Snapshot

STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked: snapshots in the chain, pages with contents of their own, bytes of the files."""

    snapshots: int
    pages: int
    bytes: int


def verify(path: str) -> Verified:
    """Reads everything.

    Raises:
        Damaged: the first bad offset, and why.
        Failed: a file is missing or is no snapshot.
    """
    pages = size = 0
    with Chain(path) as chain:
        for snapshot in chain.snapshots:
            pages += check(snapshot)
            size += snapshot.size
        for run in chain.newest.stored:
            if run.kind is PageKind.PARENT:
                for _ in chain.locate(run.start, run.end):
                    pass
        return Verified(len(chain.snapshots), pages, size)


def check(snapshot: Snapshot) -> int:
    """One file by itself, by rising offset; returns its pages with contents."""
    pages, at = 0, HEADER_SIZE
    runs = (run for run in snapshot.stored if run.kind is PageKind.DATA)
    for run in sorted(runs, key=lambda run: (run.position, run.skip)):
        _check_zero(snapshot, at, run.position)
        at = max(at, run.position + run.length)
        for start in range(run.start, run.end, STEP):
            snapshot.contents(run, start, min(start + STEP, run.end))
        pages += run.pages
    _check_zero(snapshot, at, snapshot.index_at)
    _check_zero(snapshot, snapshot.notes_at + snapshot.notes_length, snapshot.size - TRAILER.size)
    return pages


def _check_zero(snapshot: Snapshot, start: int, end: int) -> None:
    """What nothing refers to is zeros."""
    for low, high in snapshot.data_ranges(start, end):
        for at in range(low, high, STEP):
            part = snapshot.read(at, min(STEP, high - at))
            if part.count(0) != len(part):
                offset = at + next(i for i, byte in enumerate(part) if byte)
                raise snapshot.bad(offset, "something stands where nothing belongs")
