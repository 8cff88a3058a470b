"""What a dump says of each page, for many pages at once; the loops are in C (``native/fates.c``).

Runs carry what their pages are as flags: a kind in the lowest byte, an errno in the next one.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from struct import Struct

from memtop.linux.runs import native_runs, packed_runs
from memtop.linux.vmread import Pieces, native_pieces
from memtop.model.layout import PAGE, RUN
from memtop.model.runs import PageRuns
from memtop.native import ffi, lib

KIND = 0xFF
"""The part of the flags that is the kind."""

PART = Struct("<QQQQIIIIQ")
"""start, take, stop, end (byte addresses), rest, beside, doubted (flags), 0, runs (``mt_part``)."""

RECORD = 48
"""Bytes of a record in the index of a snapshot (``mt_record``)."""

_HUGE = (1 << 32) * PAGE


def tag(runs: PageRuns, flags: int) -> PageRuns:
    """The same pages with these flags."""
    out = ffi.new("mt_run[]", len(runs))
    lib.mt_runs_tag(native_runs(runs), len(runs), flags, out)
    return PageRuns(packed_runs(out, len(runs)))


def of_kind(runs: PageRuns, least: int, most: int) -> PageRuns:
    """Those of these kinds, without flags."""
    out = ffi.new("mt_run[]", len(runs))
    return PageRuns(
        packed_runs(out, lib.mt_runs_tagged(native_runs(runs), len(runs), KIND, least, most, out))
    )


def fill(known: PageRuns, parts: Sequence[tuple[int, int, int, int, int, int, int]]) -> list[PageRuns]:
    """All pages of each part: what is known of them, and the rest.

    Args:
        known: by rising address.
        parts: start, first and last byte address of what is dumped, end; the flags of pages of which
            nothing is known, there and outside of it; flags in whose place those stand. By rising address.
    """
    packed = bytearray(b"".join(PART.pack(*part, 0, 0) for part in parts))
    splits = sum((part[3] - part[0]) // _HUGE for part in parts)
    out = ffi.new("mt_run[]", 2 * len(known) + 5 * len(parts) + splits)
    lib.mt_fates(native_runs(known), len(known), ffi.from_buffer("mt_part[]", packed), len(parts), out)
    made, at = ffi.buffer(out), 0
    filled = []
    for *_, runs in PART.iter_unpack(packed):
        filled.append(PageRuns(made[at : at + runs * RUN.size]))
        at += runs * RUN.size
    return filled


def records(runs: PageRuns, data: int, pieces: Pieces) -> bytes:
    """Records of the index for these runs; of kind ``data``, the pieces."""
    out = ffi.new("mt_record[]", len(runs) + len(pieces))
    made = lib.mt_records(native_runs(runs), len(runs), data, native_pieces(pieces), len(pieces), out)
    return bytes(ffi.buffer(out, made * RECORD)) if made else b""


def keep_hashes(pieces: Pieces, hashes: array[int], base: int, slots: array[int]) -> None:
    """Puts the hash of each page into the slot of its place in the file; slot 0 is at offset ``base``."""
    lib.mt_keep_hashes(
        native_pieces(pieces),
        len(pieces),
        ffi.from_buffer("uint64_t[]", hashes),
        base,
        ffi.from_buffer("uint64_t[]", slots),
    )


def record_hashes(packed: bytes, data: int, base: int, slots: array[int]) -> bytearray:
    """The hashes of all pages with contents of these records, from their slots."""
    native, count = ffi.from_buffer("mt_record[]", packed), len(packed) // RECORD
    pages = lib.mt_record_hashes(native, count, data, ffi.NULL, base, ffi.NULL)
    out = bytearray(8 * pages)
    kept, hashes = ffi.from_buffer("uint64_t[]", slots), ffi.from_buffer("uint64_t[]", out)
    lib.mt_record_hashes(native, count, data, kept, base, hashes)
    return out


def count_kinds(packed: bytes) -> list[int]:
    """Pages of each kind, from kind 0 on."""
    pages = ffi.new("uint64_t[256]")
    lib.mt_record_kinds(ffi.from_buffer("mt_record[]", packed), len(packed) // RECORD, pages)
    return list(pages)


def columns(packed: bytes, data: int) -> tuple[array[int], array[int]]:
    """Of records: the address of each, and how many pages with contents there are before it."""
    count = len(packed) // RECORD
    starts, hashes = array("Q", bytes(8 * count)), array("Q", bytes(8 * count))
    native = ffi.from_buffer("mt_record[]", packed)
    lib.mt_index_columns(
        native, count, data, ffi.from_buffer("uint64_t[]", starts), ffi.from_buffer("uint64_t[]", hashes)
    )
    return starts, hashes


def record_runs(packed: bytes) -> PageRuns:
    """Records as runs with flags."""
    count = len(packed) // RECORD
    out = ffi.new("mt_run[]", count)
    lib.mt_index_runs(ffi.from_buffer("mt_record[]", packed), count, out)
    return PageRuns(packed_runs(out, count))
