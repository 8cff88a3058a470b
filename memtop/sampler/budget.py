"""What memtop may cost: when the next sample can be afforded.

Every page that was written since the last sample cost the process one write fault, and looking at it again
protects it again. So a sample is taken only once the faults since the last one are paid for, at so many
seconds of faults a second. A page can fault but once in an interval, so waiting always helps in the end, and
no load has to be predicted: nothing oscillates, and when the load falls the next deadline can be afforded.
"""

from __future__ import annotations

from collections import deque

FAULT_S = 1e-6
"""Seconds of one write fault where it can't be measured: more than it takes on today's hosts."""

NEWEST = 0.25
"""Weight of the last sample in the mean of what they take: one slow sample is no reason to wait."""

LEARN_S = 5.0
"""Seconds to wait at most as long as no sample has told which of the faults were memtop's. What turns out to
be too much then is a debt that the next ones wait for."""


class Budget:
    """The account of one process.

    Args:
        share: of one processor that the faults of a process may take; 0 is no bound.
        fault_s: seconds of one write fault on this host.

    Attributes:
        cpu_share: of one processor that sampling this process may take.
        for_faults: it was the faults, not memtop's own work, that could not be afforded last.
    """

    def __init__(self, share: float, fault_s: float = FAULT_S) -> None:
        self.share = self.cpu_share = share
        self.fault_s = fault_s
        self.for_faults = False
        self._since: float | None = None
        self._faults_then = 0
        self._debt_s = 0.0
        self._cpu_s = 0.0
        self._protected = 0
        # Of all minor faults of the process, how many were memtop's: the kernel counts them together.
        self._ours: deque[float] = deque(maxlen=4)

    def wait(self, now: float, faults: int) -> float:
        """Seconds until a sample can be taken, if no more faults come; 0 or less: now.

        Args:
            now: seconds on a monotonic clock.
            faults: minor faults of the process since its start; those that tracking causes are among them.
        """
        if self._since is None or not self.share:
            return 0.0
        elapsed = now - self._since
        caused = min((faults - self._faults_then) * max(self._ours, default=1.0), self._protected)
        for_faults = (self._debt_s + caused * self.fault_s) / self.share - elapsed
        if not self._ours and not self._debt_s:
            for_faults = min(for_faults, LEARN_S - elapsed)
        for_cpu = self._cpu_s / self.cpu_share - elapsed
        if max(for_faults, for_cpu) > 0:
            self.for_faults = for_faults > for_cpu
        return max(for_faults, for_cpu)

    def charge(self, cpu_s: float) -> None:
        """Adds to what the last sample took, e.g. for writing it out."""
        self._cpu_s += cpu_s * NEWEST

    def spend(self, now: float, faults: int, caused: int | None, cpu_s: float, protected: int = 0) -> float:
        """Books a sample that was taken.

        Args:
            now: as of ``wait``, at its end.
            faults: as of ``wait``.
            caused: write faults that tracking caused since the sample before, which only now is known
                exactly; None if nothing was tracked.
            cpu_s: processor time of memtop that it took.
            protected: pages that may fault once until the next sample; 0 if nothing is tracked.

        Returns:
            Seconds that the faults took.
        """
        taken = (caused or 0) * self.fault_s
        if self._since is not None:
            total = faults - self._faults_then
            if caused is None:
                self._ours.clear()
            elif total > 0:
                self._ours.append(min(caused / total, 1.0))
            self._debt_s = max(self._debt_s + taken - self.share * (now - self._since), 0.0)
            self._cpu_s += (cpu_s - self._cpu_s) * NEWEST
        self._since, self._faults_then, self._protected = now, faults, protected
        return taken
