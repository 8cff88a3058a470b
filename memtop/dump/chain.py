"""A snapshot with its parents: every page of the newest one, wherever its contents are stored."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace

from memtop.dump.files import OpenFiles
from memtop.dump.image import Area, Consistency, Freeze, Image, PageKind, Run, Statement, pack
from memtop.dump.notes import told_by
from memtop.dump.snapshot_index import Stored
from memtop.dump.snapshot_reader import Snapshot
from memtop.dump.source import copy_loaded
from memtop.linux.closing import Closing
from memtop.linux.errors import Failed
from memtop.linux.fates import of_kind
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import boot_id
from memtop.linux.vmread import ZERO, Copied, OutFile, Pieces, hash_pages
from memtop.model.layout import PAGE, RUN
from memtop.model.names import clean_text
from memtop.model.runs import PageRuns

LONGEST = 100_000
"""Snapshots in a chain at most."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the contents of some pages are."""

    start: int
    end: int
    snapshot: Snapshot
    run: Stored

    @property
    def kind(self) -> PageKind:
        """Never PARENT."""
        return self.run.kind


class Chain(Closing):
    """A snapshot and all that it builds on, newest first.

    Attributes:
        path: of the newest.

    Args:
        path: the newest file; its parents are looked for beside it, by the names it gives.

    Raises:
        Failed: a file is missing, or is not the parent it is taken for.
        Damaged: one is.
    """

    whole = False

    def __init__(self, path: str) -> None:
        self.path = path
        self.snapshots: list[Snapshot] = []
        self._files = OpenFiles()
        try:
            self.snapshots.append(Snapshot(path, self._files))
            while any(self.snapshots[-1].parent_id):
                self._add_parent(self.snapshots[-1])
        except BaseException:
            self.close()
            raise

    @property
    def newest(self) -> Snapshot:
        """The snapshot itself."""
        return self.snapshots[0]

    def _add_parent(self, child: Snapshot) -> None:
        name = child.parent_name
        where = os.path.join(os.path.dirname(child.path), name or "")
        what = f"{clean_text(child.path)} builds on {clean_text(name or 'another snapshot')}"
        if name is None or not os.path.exists(where):
            raise Failed(what, "which is not there", "put all files of a chain into one directory")
        parent = Snapshot(where, self._files)
        self.snapshots.append(parent)
        if parent.id != child.parent_id or parent.chain_id != child.chain_id:
            raise Failed(what, "but the file of that name is another snapshot")
        if parent.sequence != child.sequence - 1 or len(self.snapshots) > LONGEST:
            raise Failed(what, "but their numbers do not follow each other")
        if (parent.pid, parent.start_time, parent.boot_id) != (child.pid, child.start_time, child.boot_id):
            raise Failed(what, "but that is of another process")

    def close(self) -> None:
        """Closes all files. Idempotent."""
        self._files.close()

    def require_process(self, handle: ProcessHandle) -> None:
        """Checks that this is of the process.

        Raises:
            Failed: it is of another one, or of another boot.
        """
        what = f"{clean_text(self.path)} can't be the parent"
        newest = self.newest
        if newest.boot_id != boot_id():
            raise Failed(what, "it is of another boot of this machine, or of another machine")
        if (newest.pid, newest.start_time) != (handle.pid, handle.start_time):
            raise Failed(what, f"it is of process {newest.pid} ({newest.origin.comm}), and not of this one")

    # ---- pages --------------------------------------------------------------------------------------------

    def locate(self, start: int, end: int) -> Iterator[Place]:
        """Where the pages of a range are; what no mapping of the snapshot holds is left out.

        Raises:
            Damaged: a page is said to be as in a parent that does not have it.
        """
        todo: list[Place | tuple[int, int, int]] = [(start, end, 0)]  # no recursion: chains may be long
        while todo:
            next_one = todo.pop()
            if isinstance(next_one, Place):
                yield next_one
            else:
                todo += reversed(self._cut(*next_one))

    def _cut(self, start: int, end: int, level: int) -> list[Place | tuple[int, int, int]]:
        """The places in one snapshot, by rising address; start, end, level where the next one has to say."""
        if level == len(self.snapshots):
            raise self._missing(start, level)
        snapshot = self.snapshots[level]
        parts: list[Place | tuple[int, int, int]] = []
        at = start
        for run in snapshot.within(start, end):
            low, high = max(run.start, start), min(run.end, end)
            if level and (low != at or not run.kind.known):
                raise self._missing(at, level)
            is_parent = run.kind is PageKind.PARENT
            parts.append((low, high, level + 1) if is_parent else Place(low, high, snapshot, run))
            at = high
        if level and at != end:
            raise self._missing(at, level)
        return parts

    def _missing(self, at: int, level: int) -> Failed:
        child = self.snapshots[level - 1]
        return child.bad(child.index_at, f"the page {at:#x} is in no parent")

    def hashes(self, runs: PageRuns) -> array[int]:
        """The hash of each page; 0 where it has no contents or is not known."""
        found = array("Q")
        for start, pages, _ in RUN.iter_unpack(runs.packed):
            part = array("Q", bytes(8 * pages))
            for place in self.locate(start, start + pages * PAGE):
                if place.kind is PageKind.DATA:
                    first = place.run.hashes + (place.start - place.run.start) // PAGE
                    to, count = (place.start - start) // PAGE, (place.end - place.start) // PAGE
                    part[to : to + count] = place.snapshot.hashes[first : first + count]
            found += part
        return found

    def known(self) -> PageRuns:
        """All pages whose contents the chain has: stored, zero or hole."""
        runs = PageRuns(b"".join(pack(area.runs).packed for area in self.newest.areas))
        return of_kind(runs, PageKind.DATA, PageKind.PARENT)

    # ---- as a page source -------------------------------------------------------------------------------

    def load(self, runs: PageRuns, *, hashed: bool) -> tuple[memoryview, Copied]:
        """See ``PageSource``."""
        contents = bytearray(runs.pages * PAGE)
        states = bytearray(runs.pages)
        at = 0
        for start, pages, _ in RUN.iter_unpack(runs.packed):
            for place in self.locate(start, start + pages * PAGE):
                first = at + (place.start - start) // PAGE
                count = (place.end - place.start) // PAGE
                if place.kind is PageKind.DATA:
                    data = place.snapshot.contents(place.run, place.start, place.end)
                    contents[first * PAGE : (first + count) * PAGE] = data
                else:
                    states[first : first + count] = bytes([ZERO]) * count
            at += pages
        view = memoryview(contents)
        hashes = hash_pages(view) if hashed else array("Q")
        return view, Copied(states, hashes, len(states), states.count(ZERO))

    def copy(self, pieces: Pieces, out: OutFile, *, hashed: bool, overwrite: bool) -> Copied:
        """See ``PageSource``."""
        return copy_loaded(self, pieces, out, hashed=hashed, overwrite=overwrite)

    # ---- as an image ------------------------------------------------------------------------------------

    def image(self) -> Image:
        """The newest snapshot with the runs of its parents put in."""
        newest = self.newest
        areas = tuple(replace(area, runs=tuple(self._resolved(area))) for area in newest.areas)
        return Image(newest.origin, areas, statement_of(newest), newest.notes)

    def _resolved(self, area: Area) -> Iterator[Run]:
        last: Run | None = None
        for run in area.runs:
            parts: Iterator[Run] = iter((run,))
            if run.kind is PageKind.PARENT:
                places = self.locate(run.start, run.end)
                parts = (Run(p.start, (p.end - p.start) // PAGE, p.kind, p.run.error) for p in places)
            for part in parts:
                if last and last.kind == part.kind and last.error == part.error:
                    last = Run(last.start, last.pages + part.pages, part.kind, part.error)
                    continue
                if last:
                    yield last
                last = part
        if last:
            yield last


def statement_of(snapshot: Snapshot) -> Statement:
    """What it says of how it came about, in its notes, or else in its header, which may be cut down."""
    about = told_by(snapshot.notes) or snapshot.about
    try:
        freeze, consistency = Freeze(about.get("freeze")), Consistency(about.get("consistency"))
    except ValueError:
        freeze, consistency = Freeze.NONE, Consistency.TORN
    doubts, unsettled = about.get("doubts"), about.get("unsettled")
    return Statement(
        freeze,
        consistency,
        str(about.get("tracker", "")),
        str(about.get("exactness", "")),
        unsettled=unsettled if isinstance(unsettled, int) else 0,
        doubts=[clean_text(str(doubt)) for doubt in doubts] if isinstance(doubts, list) else [],
    )
