"""When to stop copying while the process runs, and have it stand still for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from memtop.dump.image import Round
from memtop.model.layout import PAGE
from memtop.model.units import rate, seconds, size

SMALL = 512
"""Pages: so few are read in a millisecond. They are no reason for one more round that hardly leaves fewer."""

TINY = 32
"""Pages: one more round would leave no fewer."""

SHRINKS = 0.75
"""A round that leaves more than this share of what it had to copy did not get any further. With many pages
left it takes two in a row to give up: one may have been kept waiting by others on this machine."""

PEAK = 2
"""With so many times the pages that it had come down to before, it is no moment to give up."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``--rounds``, and seconds of ``--max-time``."""

    rounds: int = 16
    max_time: float = 60.0


class Verdict(Enum):
    """What to do with the pages that were written while the last round was copying."""

    GO_ON = "go on"
    SMALL = "few pages were left"
    STUCK = "it does not converge"
    ROUNDS = "--rounds was reached"
    TIME = "--max-time was reached"


def judge(rounds: list[Round], dirty: int, elapsed: float, limits: Limits) -> Verdict:
    """Whether one more round is worth it.

    Args:
        rounds: those that were done; at least one.
        dirty: pages written during the last one.
        elapsed: seconds since the first one began.
    """
    if dirty <= TINY:
        return Verdict.SMALL
    done = Verdict.GO_ON
    if len(rounds) >= limits.rounds:
        done = Verdict.ROUNDS
    elif elapsed >= limits.max_time:
        done = Verdict.TIME
    elif len(rounds) > 1 and dirty > SHRINKS * rounds[-1].pages and (dirty <= SMALL or _stuck(rounds, dirty)):
        done = Verdict.STUCK
    return Verdict.SMALL if dirty <= SMALL and done is not Verdict.GO_ON else done


def _stuck(rounds: list[Round], dirty: int) -> bool:
    return rounds[-1].pages > SHRINKS * rounds[-2].pages and dirty <= PEAK * min(r.pages for r in rounds)


def explain(verdict: Verdict, rounds: list[Round], dirty: int, span: float = 0.0) -> str:
    """The sentence, with the numbers; empty where all went well.

    Args:
        verdict: as ``judge`` gave it, with the same ``rounds`` and ``dirty``.
        span: seconds in which those pages were written; more than the last round took, where memtop had to
            wait for a processor or the disk.
    """
    last = rounds[-1]
    if verdict in (Verdict.SMALL, Verdict.GO_ON):
        return ""
    written = (
        f"{size(dirty * PAGE)} written while {size(last.pages * PAGE)} were copied in {seconds(last.took)}"
    )
    if span > 1.5 * last.took:
        written = (
            f"{size(dirty * PAGE)} written in {seconds(span)}, of which {seconds(last.took)} went into "
            f"copying {size(last.pages * PAGE)}"
        )
    if verdict is Verdict.STUCK:
        speed = rate(last.pages * PAGE / last.took) if last.took else "?"
        return f"it does not converge at this rate of writing: {written} ({speed})"
    return f"{verdict.value}: {written}"
