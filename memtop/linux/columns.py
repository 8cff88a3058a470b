"""Columns of packed records, without an object for each value (``native/columns.c``)."""

from __future__ import annotations

from array import array

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
    column = ffi.from_buffer("uint64_t[]", packed) + word
    there = lib.mt_nonzero(column, record // 8, count, ffi.from_buffer("uint32_t[]", found))
    return found[:there].tolist()
