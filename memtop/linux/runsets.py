"""Sets of page runs as dumps take them: cut with each other, chopped, made of regions and of copied pages.

``runs`` has what every sample takes; its names are here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memtop.linux.runs import native_runs, packed_runs, runs_pages, runs_union
from memtop.linux.vmread import Pieces
from memtop.model.layout import PAGE, REGION, RUN
from memtop.model.runs import PageRuns
from memtop.native import ffi, lib

__all__ = [
    "chop", "regions_runs", "runs_intersect", "runs_pages", "runs_subtract", "runs_union", "split",
    "state_runs"
]  # fmt: skip


def runs_intersect(a: PageRuns, b: PageRuns) -> PageRuns:
    """Pages that are in both sets."""
    return _cut(lib.mt_runs_intersect, a, b) if len(a) and len(b) else PageRuns()


def runs_subtract(a: PageRuns, b: PageRuns) -> PageRuns:
    """Pages of a that are not in b."""
    return _cut(lib.mt_runs_subtract, a, b) if len(a) and len(b) else a


def regions_runs(regions: bytes, with_any: int, without: int) -> PageRuns:
    """Of ``layout.REGION`` records those with any of these categories and none of those."""
    count = len(regions) // REGION.size
    out = ffi.new("mt_run[]", count + 16)
    made = lib.mt_regions_runs(ffi.from_buffer("mt_region[]", regions), count, with_any, without, out)
    return PageRuns(packed_runs(out, made))


def state_runs(pieces: Pieces, states: bytearray, state: int) -> PageRuns:
    """The pages that copying left in this state (``vmread``)."""
    pages = states.count(state)
    if not pages:
        return PageRuns()
    out = ffi.new("mt_run[]", pages)
    made = lib.mt_state_runs(
        ffi.from_buffer("mt_piece[]", pieces.packed), len(pieces), ffi.from_buffer(states), state, out
    )
    return PageRuns(packed_runs(out, made))


def chop(runs: PageRuns, pages: int) -> Iterator[PageRuns]:
    """The same pages in parts of at most so many."""
    while len(runs):
        part, runs = split(runs, pages)
        yield part


def split(runs: PageRuns, pages: int) -> tuple[PageRuns, PageRuns]:
    """The first so many pages, and the rest."""
    left = ffi.new("uint64_t *")
    whole = lib.mt_runs_head(native_runs(runs), len(runs), pages, left) * RUN.size
    head, rest = runs.packed[:whole], runs.packed[whole:]
    if rest and left[0]:
        start, length, flags = RUN.unpack_from(rest)
        head += RUN.pack(start, left[0], flags)
        rest = RUN.pack(start + left[0] * PAGE, length - left[0], flags) + rest[RUN.size :]
    return PageRuns(head), PageRuns(rest)


def _cut(function: Any, a: PageRuns, b: PageRuns) -> PageRuns:
    out = ffi.new("mt_run[]", len(a) + len(b))
    return PageRuns(packed_runs(out, function(native_runs(a), len(a), native_runs(b), len(b), out)))
