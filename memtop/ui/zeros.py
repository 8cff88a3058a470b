"""Zero pages and guards of tracked mappings: counting takes a second look, so only some samples have them.

A picture in between carries what was counted last, marked as such.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

from memtop.model.layout import COUNT, CountFlag
from memtop.model.sample import Sample
from memtop.ui import packed

EARLIER = 1 << 31
"""Beside ``CountFlag``, in pictures alone: zero pages and guards are as an earlier sample counted them."""

_SCANNED, _ZERO = int(CountFlag.SCANNED), int(CountFlag.ZERO)
_FLAGS_AT = 72
_UNCOUNTED = bytes(bool(flags & _SCANNED and not flags & _ZERO) for flags in range(256))


def carrying(sample: Sample, earlier: Sequence[Sample]) -> tuple[Sample, float | None]:
    """The sample with what it has not counted as it was counted last, and when that was (unix seconds).

    What was not there then stays unknown. None: nothing is carried.

    Args:
        earlier: samples of the same process, oldest first; later ones do not count.
    """
    missing = _uncounted(sample)
    if 1 not in missing:
        return sample, None
    for then in reversed(earlier):
        if then.time < sample.time and 1 not in _uncounted(then):
            return _with(sample, missing, then), then.time
    return sample, None


def _uncounted(sample: Sample) -> bytes:
    """1 for each mapping whose zero pages this sample could have counted, and has not."""
    return sample.counts[_FLAGS_AT :: COUNT.size].translate(_UNCOUNTED)


def _with(sample: Sample, missing: bytes, then: Sample) -> Sample:
    at = {mapping: index for index, mapping in enumerate(then.table.ids)}
    carried = [
        at.get(mapping, -1) if lacks else -1 for mapping, lacks in zip(sample.table.ids, missing, strict=True)
    ]
    counts = bytearray(sample.counts)
    wide, narrow = memoryview(counts).cast("Q"), memoryview(counts).cast("I")
    for word, column in ((2, packed.zero), (4, packed.guard)):
        old, new = column(then), column(sample)
        values = [new[i] if there < 0 else old[there] for i, there in enumerate(carried)]
        wide[word :: COUNT.size // 8] = memoryview(array("Q", values))
    flags = zip(packed.flags(sample), carried, strict=True)
    known = array("I", [bits if there < 0 else bits | _ZERO | EARLIER for bits, there in flags])
    narrow[_FLAGS_AT // 4 :: COUNT.size // 4] = memoryview(known)
    return replace(sample, counts=bytes(counts))
