"""What a sample says of the whole process, and of the cells that somebody looks at, from one tick."""

from __future__ import annotations

from memtop.linux.pagemap import PageCounts
from memtop.linux.procfs import Memory
from memtop.model.layout import PAGE, CountFlag
from memtop.model.sample import Totals, TrackerInfo, Watched, rate_of
from memtop.tracking.base import Tick, WatchRange


def totals_of(
    tick: Tick, info: TrackerInfo, interval: float, memory: Memory, sums: PageCounts, *, scanned: bool
) -> Totals:
    """The sums of a tick, in bytes and pages.

    Args:
        tick, info: of the tracker in charge.
        interval: seconds since the tick before.
        memory: the process's own counters.
        sums: over all mappings.
        scanned: page tables can be read; where not, the counters stand in for what they say, too.
    """
    tracked = info.armed > 0  # where every mapping was refused, nothing is known
    written = 0 if tick.baseline else sums.written
    return Totals(
        size=memory.size,
        resident=sums.resident * PAGE if scanned else memory.resident,
        huge=None if not scanned or sums.flags & CountFlag.NO_HUGE else sums.huge * PAGE,
        swapped=memory.swapped,
        written_pages=written if tracked else None,
        written_bytes_per_s=rate_of(written * PAGE, interval) if tracked else None,
    )


def watched_of(watch: WatchRange | None, tick: Tick) -> Watched | None:
    """The cells that were asked for, if the tick has them."""
    if watch is None or not tick.watched_resident:
        return None
    return Watched(
        watch.mapping_id, watch.start, watch.cell_pages, tick.watched_resident, tick.watched_written
    )
