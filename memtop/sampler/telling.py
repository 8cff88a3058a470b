"""What a user is told when something has changed: the process, the interval, the tracker."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from memtop.linux.errors import MemtopError
from memtop.model import units
from memtop.model.actions import ArmCost, Method, Notice
from memtop.model.scope import Scope

if TYPE_CHECKING:
    from memtop.sampler.target import Target


def refusal(error: MemtopError, severity: str, key: tuple[int, int] | None = None) -> Notice:
    """An error, with shorter sentences for one line of a screen."""
    return Notice(error.sentence, severity, key, error.shorter())


def ended(name: str, when: float) -> str:
    """The process is gone; ``when`` in unix seconds."""
    return f"{name} ended at {units.clock(when)}; this is its last picture"


def ran_exec(name: str, when: float, tracked: bool) -> str:
    """The process runs another program now."""
    text = f"{name} ran exec at {units.clock(when)}: a new address space"
    return text + ("; tracking ended with the old one" if tracked else "")


def stretched(interval: float, bound: float, whom: str) -> str:
    """Samples come less often than was asked for.

    Args:
        bound: share of a processor that they may cost.
        whom: the process, whose write faults they are; empty: sampling itself costs as much.
    """
    cost = f"write faults cost {whom}" if whom else "sampling costs memtop"
    limit = f"{bound * 100:.3g} % of a processor (--max-cost allows more)"
    return f"samples come every {units.seconds(interval)}, so that {cost} at most {limit}"


def tracking_notice(target: Target, method: Method, cost: ArmCost | None, scope: Scope | None) -> Notice:
    """The sentence, and shorter ones that fit into one line of 80 cells.

    Args:
        target: after the change and a sample.
        method: what was asked for.
        cost: as it was expected before.
        scope: the part of the process that was asked for; None: all.
    """
    name, info = target.process.comm, target.tracker_info
    if method is Method.OFF:
        text = f"{name}: writes are not tracked any more; nothing is left in the process"
        return Notice(text, "information", target.key)
    if info.name == "off":
        text = info.note or "writes can't be tracked here"
        return Notice(text, "warning", target.key, cannot(target))
    if info.mappings and not info.armed and info.note:
        return Notice(f"{name}: nothing is tracked: {info.note}", "warning", target.key, (info.note,))
    where = "" if scope is None else f" of {scope.span[0]:x}–{scope.span[1]:x} alone"
    tracked = f"tracking writes{where}"
    since = f"since {units.clock(time.time())}"  # it stands on later pictures, too
    by = f"{tracked} by {info.name} {since}"
    if target.refused:  # auto came to something less exact
        text = f"{name}: tracking writes by {info.name}, {info.exact.value}: {info.note}"
        return Notice(text, "warning", target.key, lesser(target))
    shorter: tuple[str, ...] = (by, f"{tracked} {since}")
    text = f"{name}: {by}"
    if cost is not None and cost.huge_pages and info.huge_split is not None:
        split = f"{units.count(cost.huge_pages)} huge pages split on first write (--keep-huge)"
        text, shorter = f"{text}; {split}", (f"{tracked} by {info.name}; {split}", *shorter)
    return Notice(text, "information", target.key, shorter)


def cannot(target: Target) -> tuple[str, ...]:
    """Shorter sentences for that nothing tracks writes: what to do for the best tracker, or why not."""
    if not target.refused:
        return ()
    best = target.refused[0]
    if best.remedy:
        return best.shorter("writes can't be tracked", "not tracked")
    reason = re.split("[,:;] ", best.why)[0]
    return f"not tracked: {best.why}", f"not tracked: {reason}"


def lesser(target: Target) -> tuple[str, ...]:
    """The same for a tracker that is not exact, where a better one was refused."""
    name, error = target.tracker_info.name, target.refused[0]
    short = f"tracked by {name}, ~ approximate; exact"
    if error.remedy:
        return f"{short}: {error.remedy}", f"{short}: {error.first_remedy}"
    return f"{short} is not possible: {error.why}", f"{short} is not possible here"
