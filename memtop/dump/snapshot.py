"""The snapshot sink: what a process had in memory, in full or only what changed since a parent.

Contents go straight to their place in the file, where a later round writes over what an earlier one wrote.
What is where is written last. docs/snapshot-format.md has the format byte by byte.
"""

from __future__ import annotations

import json
import os
import uuid
from array import array
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice

from memtop.dump.chain import Chain
from memtop.dump.extents import Extents, page_index
from memtop.dump.files import clear_pieces, write_at
from memtop.dump.frames import Frames
from memtop.dump.image import Area, Fates, Image, PageKind, pack, runs_of
from memtop.dump.ledger import PARENT
from memtop.dump.output import Output
from memtop.dump.snapshot_format import (
    ABOUT_AT,
    CHUNK,
    CHUNK_RUNS,
    COMPRESSED,
    END_MAGIC,
    HASH,
    HEADER,
    HEADER_SIZE,
    KINDS,
    MAGIC,
    MAPPING,
    RUN,
    TRAILER,
    VERSION,
    padded,
)  # fmt: skip
from memtop.dump.source import PageSource
from memtop.linux.fates import count_kinds, keep_hashes, record_hashes, records
from memtop.linux.runsets import chop, state_runs
from memtop.linux.vmread import DATA, Copied, Pieces, hash_bytes, mark_same
from memtop.model.layout import PAGE, PIECE
from memtop.model.runs import PageRuns

Buffer = bytes | bytearray

STEP = 2048
"""Pages that pass through memory at once where they are compared or compressed."""


class SnapshotSink:
    """Writes a snapshot.

    Args:
        output: where to.
        parent: what it adds to; None: it stands alone.
        compare: leave out pages that hash as those of the parent. Not needed where it is known what was
            written
            since.
        compress: contents as zstd frames.
    """

    whole_files = False

    def __init__(
        self, output: Output, parent: Chain | None = None, *, compare: bool = True, compress: bool = False
    ) -> None:
        self.id = uuid.uuid4().bytes
        self._output, self._parent = output, parent
        self._compare = compare and parent is not None
        self._frames = Frames(output.fd, HEADER_SIZE) if compress else None
        self._extents = Extents(at=HEADER_SIZE)
        self._hashes = array("Q")

    def prepare(self, runs: PageRuns) -> None:
        """See ``PageSink``; which pages are compared or compressed will be told later."""
        if self._frames is None and not self._compare:
            self._extents.cover(runs)
            self._output.reserve(self._extents.pieces(runs))

    def store(self, runs: PageRuns, source: PageSource, *, again: bool) -> Copied:
        """See ``PageSink``; the state of a page that is as in the parent is ``ledger.PARENT``."""
        if self._frames is None and not self._compare:
            return self._store_raw(runs, source, again)
        total = Copied()
        contents, copied = memoryview(b""), Copied()
        for part in chop(runs, STEP) if not source.whole else [runs]:
            contents, copied = source.load(part, hashed=True)
            if self._compare and self._parent is not None:
                mark_same(copied.hashes, self._parent.hashes(part), copied.states, PARENT)
            written = self._put(part, contents, copied)
            total.states += copied.states
            total.pages += copied.pages
            total.written += written
        return total

    def _store_raw(self, runs: PageRuns, source: PageSource, again: bool) -> Copied:
        self._extents.cover(runs)
        pieces = self._extents.pieces(runs)
        copied = source.copy(pieces, self._output.out, hashed=True, overwrite=again)
        self._remember(pieces, copied.hashes)
        return copied

    def _remember(self, pieces: Pieces, hashes: array[int]) -> None:
        slots = (self._extents.at - HEADER_SIZE) // PAGE
        if slots > len(self._hashes):
            self._hashes.frombytes(bytes(8 * (slots - len(self._hashes))))
        keep_hashes(pieces, hashes, HEADER_SIZE, self._hashes)

    def _put(self, runs: PageRuns, contents: memoryview, copied: Copied) -> int:
        """Writes those of these pages that have contents of their own; returns the bytes."""
        index = Pieces.of_runs(runs)
        data = state_runs(index, copied.states, DATA)
        if self._frames is not None:
            self._frames.forget(runs)
            return self._frames.put(runs, data, contents, copied.hashes)
        clear_pieces(self._output.fd, self._extents.pieces(runs).packed)
        self._extents.cover(data)
        pieces, written = self._extents.pieces(data), 0
        hashes = array("Q")
        for start, offset, pages, _ in PIECE.iter_unpack(pieces.packed):
            first = page_index(index, start)
            write_at(self._output.fd, offset, contents[first * PAGE : (first + pages) * PAGE])
            hashes += copied.hashes[first : first + pages]
            written += pages * PAGE
        self._remember(pieces, hashes)
        return written

    def drop(self, runs: PageRuns) -> None:
        """See ``PageSink``."""
        if self._frames is not None:
            self._frames.forget(runs)
        else:
            clear_pieces(self._output.fd, self._extents.pieces(runs).packed)

    def spare(self, runs: PageRuns) -> None:
        """See ``PageSink``."""
        self._output.unreserve(self._extents.pieces(runs))

    # ---- what is where -------------------------------------------------------------------------------------

    def finish(self, image: Image) -> None:
        """Writes index, notes, trailer and header."""
        fd = self._output.fd
        index_at = padded(self._frames.at if self._frames is not None else self._extents.at)
        parts: list[Buffer] = []
        totals, runs = [0] * (KINDS + 1), 0
        for area in image.areas:
            chunks = list(self._chunks(area))
            parts += _mapping(area, chunks)
            for packed, _ in chunks:
                runs += len(packed) // RUN.size
                totals = [a + b for a, b in zip(totals, count_kinds(packed), strict=False)]
        index = b"".join((*parts, MAPPING.pack(*(0,) * 12)))
        notes_at = index_at + len(index)
        trailer_at = padded(notes_at + len(image.notes))
        trailer = TRAILER.pack(
            END_MAGIC, VERSION, 0, trailer_at + TRAILER.size, index_at, len(index), hash_bytes(index),
            notes_at, len(image.notes), hash_bytes(image.notes), len(image.areas), runs,
            *totals[1:], 0,
        )[: -HASH.size]  # fmt: skip
        write_at(fd, index_at, index)
        write_at(fd, notes_at, image.notes)
        write_at(fd, trailer_at, trailer + HASH.pack(hash_bytes(trailer)))
        write_at(fd, 0, self._header(image))
        os.ftruncate(fd, trailer_at + TRAILER.size)

    def _header(self, image: Image) -> bytes:
        origin, parent = image.origin, self._parent
        about = {
            "kernel": origin.kernel,
            "host": origin.host,
            "comm": origin.comm,
            "machine": origin.machine,
            "parent": os.path.basename(parent.path) if parent else None,
            "says": image.statement.sentence,
            **asdict(image.statement),
        }
        text = json.dumps(about).encode()
        while len(text) > HEADER_SIZE - ABOUT_AT - HASH.size:  # the notes have it all
            about = {name: value for name, value in about.items() if name not in ("rounds", "doubts", "says")}
            text = json.dumps(about).encode()
        fixed = HEADER.pack(
            MAGIC, VERSION, HEADER_SIZE, PAGE, COMPRESSED if self._frames is not None else 0,
            parent.newest.chain_id if parent else self.id, self.id, parent.newest.id if parent else bytes(16),
            parent.newest.sequence + 1 if parent else 0, origin.pid, origin.start_time,
            min(int(origin.time * 1e9), (1 << 64) - 1), len(text), boot_bytes(origin.boot_id),
        )  # fmt: skip
        header = fixed.ljust(ABOUT_AT, b"\0") + text
        header = header.ljust(HEADER_SIZE - HASH.size, b"\0")
        return header + HASH.pack(hash_bytes(header))

    def _chunks(self, area: Area) -> Iterator[tuple[bytes, Buffer]]:
        """Records of runs, so many as a chunk may have, with their hashes."""
        if self._frames is not None:
            yield from _batched(self._framed(Fates(pack(area.runs)), self._frames))
            return
        runs = pack(area.runs)
        packed = records(runs, PageKind.DATA, self._extents.pieces(runs_of(area.runs, PageKind.DATA)))
        for at in range(0, len(packed), CHUNK_RUNS * RUN.size):
            part = packed[at : at + CHUNK_RUNS * RUN.size]
            yield part, record_hashes(part, PageKind.DATA, HEADER_SIZE, self._hashes)

    def _framed(self, runs: Fates, frames: Frames) -> Iterator[tuple[bytes, Buffer]]:
        """Single records with their hashes; a run with contents is one for each frame that it is in."""
        for run in runs:
            if run.kind is PageKind.DATA:
                yield from frames.runs(run.start, run.end)
            else:
                yield RUN.pack(run.start, 0, 0, 0, run.pages, 0, run.kind, run.error), b""


def _batched(parts: Iterator[tuple[bytes, Buffer]]) -> Iterator[tuple[bytes, Buffer]]:
    while batch := list(islice(parts, CHUNK_RUNS)):
        yield b"".join(record for record, _ in batch), b"".join(hashes for _, hashes in batch)


def _mapping(area: Area, chunks: list[tuple[bytes, Buffer]]) -> Iterator[Buffer]:
    """A mapping of the index, with its runs and their hashes."""
    why = area.why.encode()
    words = area.name + why
    yield MAPPING.pack(
        1, area.perms, area.kind, area.wanted, area.start, area.end, area.offset, area.inode, area.major,
        area.minor, len(area.name), len(why),
    )  # fmt: skip
    yield words.ljust(padded(len(words)), b"\0")
    for packed, hashes in chunks:
        yield CHUNK.pack(len(packed) // RUN.size, len(hashes) // 8)
        yield packed
        yield hashes
    yield CHUNK.pack(0, 0)


def boot_bytes(boot_id: str) -> bytes:
    """16 bytes; zeros where it is hidden."""
    try:
        return uuid.UUID(boot_id).bytes
    except ValueError:
        return bytes(16)
