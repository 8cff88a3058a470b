"""What a dump says of itself: how consistent it is, and what may be doubted."""

from __future__ import annotations

from collections.abc import Sequence

from memtop.dump.feed import Feed
from memtop.dump.hold import MOST
from memtop.dump.image import Consistency
from memtop.linux.errors import Failed
from memtop.linux.standstill import Stop
from memtop.model.layout import PAGE
from memtop.model.units import seconds, size


def consistency_of(stop: Stop | None, feed: Feed | None) -> Consistency:
    """Never better than what is sure.

    Args:
        stop: the one for the last pages, or for all; None: none was made.
        feed: what told which pages were written; None: nothing did.
    """
    if (stop is not None and not stop.complete) or (feed is not None and feed.still.missed):
        return Consistency.TORN
    if stop is not None:
        return Consistency.POINT
    return Consistency.PAGES if feed is not None else Consistency.TORN


WORTH_A_WORD = 1 << 12
"""Pages (16 MiB), which lengthen a stop by some 5 ms."""


def doubts_of_unfollowed(pid: int, pages: int, total: int) -> list[str]:
    """What is to be read in the stop as nothing tells whether it is written.

    Args:
        pid: the process.
        pages: so many of ``total`` that are to be dumped.

    Raises:
        Failed: it is more than is held in memory, and most of all: the stop would be as long as the copy.
    """
    if pages < WORTH_A_WORD:
        return []
    why = "another memtop or another tracker has it, or it is of a file, which takes --all"
    if pages > MOST and 2 * pages > total:
        raise Failed(
            f"a dump of process {pid} with a short stop is not possible",
            f"{size(pages * PAGE)} of {size(total * PAGE)} can't be followed: {why}",
            "end that tracking, or dump from its screen (d); --freeze full stops the process for the whole "
            "copy, --freeze none never",
        )
    return [f"{size(pages * PAGE)} that could not be followed ({why}) were read while it stood still"]


def doubts_of(stop: Stop | None, feed: Feed | None, cut_short: Sequence[float]) -> list[str]:
    """Sentences on what went less well than it should.

    Args:
        stop, feed: as above.
        cut_short: seconds of stops that ended before all was read, and were made again.
    """
    doubts = []
    if cut_short:
        many, longest = len(cut_short), seconds(max(cut_short))
        doubts.append(f"{_stops(many)} before that (at most {longest}) ended early, and was made again")
    if stop is not None and not stop.complete:
        doubts.append(
            "the stop ended before all was read: its helper process was ended, or memtop itself was stopped"
        )
    if stop is not None and stop.late:
        who = ", ".join(map(str, stop.late))
        doubts.append(
            f"thread {who} waited in the kernel and did not stop (state D): it has no registers here"
        )
    if feed is not None and feed.still.stops:
        many, longest = len(feed.still.stops), seconds(max(feed.still.stops))
        doubts.append(f"{many} more stops of at most {longest} to read what was written")
    if feed is not None and feed.still.missed:
        why = f" ({feed.still.why})" if feed.still.why else ""
        doubts.append(
            f"it ran while what it had written was read, {_times(feed.still.missed)}{why}: pages may be "
            "older than the rest, or torn"
        )
    return doubts


def _stops(many: int) -> str:
    return "one stop" if many == 1 else f"each of {many} stops"


def _times(many: int) -> str:
    return "once" if many == 1 else f"{many} times"
