"""Whether a sample brought anything: where nothing happens the picture stands, and costs no bytes."""

from __future__ import annotations

from memtop.model.sample import Sample

CALM_S = 10.0
"""Seconds without anything new, after which a picture may stand: by then nothing is left of the last change
that only time takes away, such as what is said of it, rows of what is gone, and the brightest cells."""

STANDS_S = 60.0
"""Seconds that a picture may stand: its clock is a sign of life, and cells of the last minute grow old."""


def stirs(before: Sample | None, now: Sample) -> bool:
    """Whether anything happened to the process between two samples, or to what is known of it.

    What each sample measures anew does not count: its time, how long it took, what it cost.
    """
    return (
        before is None
        or bool(now.runs or now.faults.minor_per_s or now.faults.major_per_s)
        or now.totals != before.totals
        or (now.life, now.message, now.process) != (before.life, before.message, before.process)
        or (now.tracker, now.baseline, now.stretched) != (before.tracker, before.baseline, before.stretched)
        or now.swapped != before.swapped
        or now.coverage != before.coverage
        or now.counts != before.counts
        or now.table.packed != before.table.packed
        or now.table.ids != before.table.ids
        or now.table.names != before.table.names
    )
