"""Whole columns straight from the packed records: 30 000 values without 30 000 objects.

Which word of a record a field is follows from ``model.layout``; a test compares them with the views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import sub
from struct import Struct
from typing import TypeVar

from memtop.linux.columns import nonzero
from memtop.model.layout import COUNT, MAPPING
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRuns
from memtop.model.sample import Sample

_NAME = Struct("<II")
_WORD = Struct("<Q")
_Column = TypeVar("_Column")
_FEW = 256
"""Mappings that are sooner looked at than remembered: of those that are gone, each has a table of its own."""


def of_table(column: Callable[[MappingTable], _Column]) -> Callable[[MappingTable], _Column]:
    """Remembers what depends on the mappings alone: they stay as they are over most samples."""
    known = lru_cache(maxsize=4)(column)
    return lambda table: known(table) if len(table) > _FEW else column(table)


def _wide(packed: bytes, word: int, record: int) -> list[int]:
    """The 64-bit field at this word of every record."""
    return memoryview(packed).cast("Q")[word :: record // 8].tolist()


def _narrow(packed: bytes, word: int, record: int) -> list[int]:
    """The 32-bit field at this word of every record."""
    return memoryview(packed).cast("I")[word :: record // 4].tolist()


def resident(sample: Sample) -> list[int]:
    """Resident pages of every mapping."""
    return _wide(sample.counts, 0, COUNT.size)


def huge(sample: Sample) -> list[int]:
    """Pages mapped by huge pages."""
    return _wide(sample.counts, 1, COUNT.size)


def zero(sample: Sample) -> list[int]:
    """Pages that are the shared zero page."""
    return _wide(sample.counts, 2, COUNT.size)


def swapped(sample: Sample) -> list[int]:
    """Swapped pages, as the pagemap has them."""
    return _wide(sample.counts, 3, COUNT.size)


def guard(sample: Sample) -> list[int]:
    """Guard pages."""
    return _wide(sample.counts, 4, COUNT.size)


def written(sample: Sample) -> list[int]:
    """Written pages; 0 where they are not tracked."""
    return _wide(sample.counts, 5, COUNT.size)


def written_where(sample: Sample) -> list[tuple[int, int]]:
    """Indices of the mappings of which something is known to be written, and how many pages."""
    words = memoryview(sample.counts).cast("Q")[5 :: COUNT.size // 8]
    return [(index, words[index]) for index in nonzero(sample.counts, 5, COUNT.size)]


def flags(sample: Sample) -> list[int]:
    """``CountFlag`` bits of every mapping."""
    return _narrow(sample.counts, 18, COUNT.size)


def sizes(sample: Sample) -> Sequence[int]:
    """Bytes of address space."""
    return _sizes(sample.table)


@of_table
def _sizes(table: MappingTable) -> Sequence[int]:
    starts, ends = _wide(table.packed, 0, MAPPING.size), _wide(table.packed, 1, MAPPING.size)
    return list(map(sub, ends, starts))


def starts(sample: Sample) -> Sequence[int]:
    """First byte address of every mapping."""
    return _starts(sample.table)


@of_table
def _starts(table: MappingTable) -> Sequence[int]:
    return _wide(table.packed, 0, MAPPING.size)


def perms(sample: Sample) -> Sequence[int]:
    """``Perm`` bits of every mapping."""
    return sample.table.packed[48 :: MAPPING.size]


def kinds(sample: Sample) -> Sequence[int]:
    """``Kind`` of every mapping."""
    return sample.table.packed[49 :: MAPPING.size]


def names(sample: Sample) -> Sequence[bytes]:
    """Raw names, to sort by and never to print."""
    return _names(sample.table)


@of_table
def _names(table: MappingTable) -> Sequence[bytes]:
    packed, text = table.packed, table.names
    at, length = _narrow(packed, 10, MAPPING.size), _narrow(packed, 11, MAPPING.size)
    return [text[a : a + n] for a, n in zip(at, length, strict=True)]


@of_table
def traits(table: MappingTable) -> Sequence[tuple[bytes, int, int, bool]]:
    """Raw name, permissions, kind of every mapping, and whether there is a file."""
    packed = table.packed
    files = map(bool, _wide(packed, 3, MAPPING.size))
    return list(
        zip(_names(table), packed[48 :: MAPPING.size], packed[49 :: MAPPING.size], files, strict=True)
    )


def resident_maps(sample: Sample) -> list[int]:
    """The 64 cells of every mapping that hold something resident."""
    return _wide(sample.counts, 6, COUNT.size)


def resident_map(sample: Sample, index: int) -> int:
    """The 64 cells of one mapping that hold something resident."""
    word: int = _WORD.unpack_from(sample.counts, index * COUNT.size + 48)[0]
    return word


def only(sample: Sample, index: int) -> Sample:
    """The sample with one of its mappings and no other: what it said of it, to keep."""
    table = sample.table
    return replace(
        sample,
        table=MappingTable(
            table.packed[index * MAPPING.size : (index + 1) * MAPPING.size],
            table.names,
            table.ids[index : index + 1],
        ),
        counts=sample.counts[index * COUNT.size : (index + 1) * COUNT.size],
        coverage=sample.coverage[index : index + 1],
        runs=PageRuns(),
        watched=None,
    )


def row(sample: Sample, index: int) -> tuple[object, ...]:
    """All that one row says, to compare: equal tuples draw the same row."""
    count = sample.counts[index * COUNT.size : (index + 1) * COUNT.size]
    mapping = sample.table.packed[index * MAPPING.size : (index + 1) * MAPPING.size]
    at, length = _NAME.unpack_from(mapping, 40)
    written = _WORD.unpack_from(count, 40)[0]
    return (
        mapping,
        sample.table.names[at : at + length],
        count[:56],
        sample.coverage[index],
        count[72:76],
        sample.interval if written else sample.interval > 0,  # a rate depends on it, no rate does not
        None if sample.swapped is None else sample.swapped.get(sample.table.ids[index]),
    )
