"""What the screen knows of each process it shows; no Textual here.

``absorb`` runs on the sampling thread for every sample, so that no written page is lost when the
screen drops frames; the rest runs on the screen's thread.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from memtop.model.sample import Life, Process, Sample
from memtop.sampler.source import Key
from memtop.ui.ages import Ages

HISTORY = 64
"""Samples that a sparkline can show."""


@dataclass(eq=False)
class ProcessView:
    """One process on the screen.

    Attributes:
        process: known before the first sample.
        sample: what is shown, until ``take``; None before the first scan ended.
        rates: written bytes a second of the last samples, None where they were not tracked.
        selected: id of the selected mapping.
        lock: held while ``ages`` are read or changed.
    """

    process: Process
    sample: Sample | None = None
    rates: list[float | None] = field(default_factory=list)
    selected: int | None = None
    ages: Ages = field(default_factory=Ages)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _newest: Sample | None = None
    _history: deque[float | None] = field(default_factory=lambda: deque(maxlen=HISTORY))

    @property
    def key(self) -> Key:
        """pid and start time."""
        return self.process.pid, self.process.start_time

    @property
    def title(self) -> str:
        """Name and pid, for sentences."""
        return f"{self.process.comm} {self.process.pid}"

    @property
    def ended(self) -> bool:
        """The process is gone; what is shown is its last picture."""
        return self.sample is not None and self.sample.life is Life.ENDED

    @property
    def tracking(self) -> bool:
        """A tracker is in charge."""
        return self.sample is not None and self.sample.tracker.name != "off"

    def absorb(self, sample: Sample) -> None:
        """Takes in a sample (sampling thread)."""
        with self.lock:
            self.ages.update(sample)
            self._history.append(None if sample.baseline else sample.totals.written_bytes_per_s)
            self._newest = sample

    def take(self) -> None:
        """Shows the newest sample from now on (screen's thread), so that one picture has one sample."""
        with self.lock:
            self.sample, self.rates = self._newest, list(self._history)
