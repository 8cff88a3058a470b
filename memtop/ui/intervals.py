"""The intervals that ``+`` and ``-`` step through."""

from __future__ import annotations

STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds."""


def step_interval(now: float, step: int) -> float:
    """The next longer (step 1) or shorter (-1) interval; it stops at both ends."""
    longer = [seconds for seconds in STEPS if seconds > now * 1.001]
    shorter = [seconds for seconds in STEPS if seconds < now * 0.999]
    if step > 0:
        return longer[0] if longer else STEPS[-1]
    return shorter[-1] if shorter else STEPS[0]
