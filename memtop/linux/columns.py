"""Columns of packed records, without an object for each value (``native/columns.c``)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from memtop.native import ffi, lib


def nonzero(packed: bytes | array[int], word: int = 0, record: int = 8) -> list[int]:
    """The rows of a column in which something is.

    Args:
        packed: records.
        word: which 64 bits of each.
        record: bytes of each.
    """
    count = memoryview(packed).nbytes // record
    found = array("I", bytes(4 * count))
    there = lib.mt_nonzero(_column(packed, word), record // 8, count, ffi.from_buffer("uint32_t[]", found))
    return found[:there].tolist()


def ordered(
    rows: Sequence[int], down: bool, packed: bytes | array[int], word: int = 0, record: int = 8
) -> list[int]:
    """These rows in the order of a column, the largest first if ``down``; equal ones stay as they are."""
    order, spare = array("I", rows), array("I", bytes(4 * len(rows)))
    lib.mt_order(
        _column(packed, word),
        record // 8,
        down,
        ffi.from_buffer("uint32_t[]", order),
        ffi.from_buffer("uint32_t[]", spare),
        len(rows),
    )
    return order.tolist()


def _column(packed: bytes | array[int], word: int) -> object:
    return ffi.from_buffer("uint64_t[]", packed) + word if len(packed) else ffi.NULL
