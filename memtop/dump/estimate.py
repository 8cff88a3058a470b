"""What a dump will take, before it is made: about so much, this long, so many rounds, that long a stop.

It rests on three things that are said with it: what is in memory by the last sample, how many different pages
were written within some spans of time, and how fast pages are copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from memtop.dump.image import Freeze, Round
from memtop.dump.plan import Range, deciding_bit
from memtop.dump.rounds import Limits, Verdict, judge
from memtop.model.layout import COUNT, MAPPING, PAGE, Kind, Perm
from memtop.model.sample import Sample

COPY = 1 << 30
"""Bytes a second that are taken to be copied, until a dump has told."""

READ = 3 << 30
"""Bytes a second at which the last pages are read into memory, while the process stands still."""

STOP_S = (0.002, 0.01)
"""Seconds to stop the threads, look, and let them go, until a dump has told: on an idle machine, and on one
where the threads have to wait for a processor."""

LOOK_S = 3e-9
"""And for each page in memory, to see what was written last."""

_NEVER = (Kind.SPECIAL, Kind.GUARD)


@dataclass(frozen=True, slots=True)
class Writes:
    """How many different pages a process writes within a span.

    Attributes:
        points: (seconds, pages), shortest span first; at least one.
    """

    points: tuple[tuple[float, float], ...]

    def least(self, span: float) -> float:
        """If it writes evenly; a page that is written again and again counts too little in a short span."""
        before, pages = 0.0, 0.0
        for seconds, many in self.points:
            if span <= seconds:
                return pages + (many - pages) * (span - before) / (seconds - before)
            before, pages = seconds, max(many, pages)
        seconds, many = self.points[-1]
        earlier, fewer = self.points[-2] if len(self.points) > 1 else (0.0, 0.0)
        return many + max(many - fewer, 0.0) / (seconds - earlier) * (span - seconds)

    def most(self, span: float) -> float:
        """If all that it writes within the shortest span known, it writes all the time."""
        return max(self.least(span), self.points[0][1])


@dataclass(frozen=True, slots=True)
class Forecast:
    """Pairs are the least and the most.

    Attributes:
        size: bytes of the file.
        took, stop: seconds; ``rounds``: while it runs. None: writes are not known.
        left: pages that the last round leaves to the stop.
        why: that it will not converge, or a limit will be reached, even at best.
    """

    size: int
    took: tuple[float, float] | None
    rounds: tuple[int, int] | None
    stop: tuple[float, float] | None
    left: tuple[int, int] | None = None
    why: Verdict = Verdict.SMALL


def forecast(
    pages: int,
    writes: Writes | None,
    *,
    resident: int,
    speed: float | None = None,
    overhead: float | None = None,
    freeze: Freeze = Freeze.FINAL,
    limits: Limits | None = None,
) -> Forecast:
    """Goes through the rounds as the engine would.

    Args:
        pages: to be copied.
        writes: None: not known.
        resident: pages in memory of all mappings that are followed.
        speed: of copying, bytes a second; None: ``COPY``.
        overhead: seconds that the last stop took without its pages; None: ``STOP_S``.
        freeze: when it stands still.
        limits: of the rounds.
    """
    speed, size = speed or COPY, pages * PAGE
    copy = size / speed
    base = STOP_S if overhead is None else (overhead / 2, overhead * 2)
    if freeze is Freeze.FULL:
        return Forecast(size, (copy, copy), (0, 0), (base[0] + copy, base[1] + copy))
    if writes is None:
        return Forecast(size, None, None, (0.0, 0.0) if freeze is Freeze.NONE else None)
    runs = []
    for pages_in, idle in zip((writes.least, writes.most), base, strict=True):
        rounds: list[Round] = []
        dirty, elapsed, verdict = float(pages), 0.0, Verdict.GO_ON
        while verdict is Verdict.GO_ON:
            took = dirty * PAGE / speed
            rounds.append(Round(int(dirty), took))
            elapsed += took
            dirty = min(pages_in(took), float(pages))
            verdict = judge(rounds, int(dirty), elapsed, limits or Limits())
        last = dirty * PAGE / READ
        stop = 0.0 if freeze is Freeze.NONE else idle + resident * LOOK_S + last
        runs.append((elapsed + stop, len(rounds), stop, int(dirty), verdict))
    (took, few, stop, left, why), (longer, many, longest, more, _) = runs
    return Forecast(
        size,
        (min(took, longer), max(took, longer)),
        (min(few, many), max(few, many)),
        (min(stop, longest), max(stop, longest)),
        (min(left, more), max(left, more)),
        why,
    )


def writes_of(
    sample: Sample, sets: Sequence[tuple[float, int]] = (), only: Range | None = None
) -> Writes | None:
    """How a process writes, by what has been seen.

    Args:
        sample: the last one.
        sets: (seconds, bytes) of its written working sets, shortest first.
        only: of this range alone; its mappings count as a whole, and no working set is known of it.
    """
    if sample.totals.written_pages is None or sample.baseline or sample.interval <= 0:
        return None
    if only is None:
        points = [(sample.interval, float(sample.totals.written_pages))]
        for span, many in sets:
            if span > points[-1][0] * 1.5:  # at first both sets are of all that was seen
                points.append((span, many / PAGE))
        return Writes(tuple(points))
    written = 0
    for (start, end, *_), count in zip(
        MAPPING.iter_unpack(sample.table.packed), COUNT.iter_unpack(sample.counts), strict=True
    ):
        if start < only.end and only.start < end:
            written += min(count[5], (min(end, only.end) - max(start, only.start)) // PAGE)
    return Writes(((sample.interval, float(written)),))


def pages_of(sample: Sample, core_filter: int, only: Range | None = None) -> int:
    """Pages in memory that a dump takes, as far as the last sample tells.

    Args:
        sample: the last one.
        core_filter: of the process.
        only: this range alone; of a mapping that it has a part of, pages count as spread evenly.
    """
    pages, names = 0.0, sample.table.names
    for (start, end, _, inode, _, _, at, length, perms, kind), count in zip(
        MAPPING.iter_unpack(sample.table.packed), COUNT.iter_unpack(sample.counts), strict=True
    ):
        own = partial(bool, perms & Perm.WRITE)  # as if, without a look at pages
        name = names[at : at + length]
        bit = deciding_bit(core_filter, Perm(perms), Kind(kind), inode, name, own)
        if kind in _NEVER or not core_filter & bit:
            continue
        low, high = (start, end) if only is None else (max(start, only.start), min(end, only.end))
        if low < high:
            pages += count[0] * (high - low) / (end - start)
    return round(pages)
