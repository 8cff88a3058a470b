"""The fan-out of written runs: several consumers of one destructive get-and-clear.

The live view, a running dump and a recorder each need "what was written since I last asked", at their
own pace. Each subscribes and keeps an accumulated set of its own.
"""

from __future__ import annotations

import threading

from memtop.linux.runs import runs_union
from memtop.model.runs import PageRuns


class Consumer:
    """One accumulated set of written pages."""

    def __init__(self) -> None:
        self._runs = PageRuns()
        self._lock = threading.Lock()

    def add(self, runs: PageRuns) -> None:
        """Adds the written runs of one tick."""
        if len(runs):
            with self._lock:
                self._runs = runs_union(self._runs, runs)

    def take(self) -> PageRuns:
        """All pages written since the last take, each once; empties the set."""
        with self._lock:
            runs, self._runs = self._runs, PageRuns()
        return runs


class FanOut:
    """Passes each tick's runs to every subscriber."""

    def __init__(self) -> None:
        self._consumers: list[Consumer] = []

    def subscribe(self) -> Consumer:
        """A consumer that sees everything written from the next tick on."""
        consumer = Consumer()
        self._consumers.append(consumer)
        return consumer

    def unsubscribe(self, consumer: Consumer) -> None:
        """Ends a subscription; unknown consumers are ignored."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    @property
    def followed(self) -> bool:
        """Somebody depends on it."""
        return bool(self._consumers)

    def publish(self, runs: PageRuns) -> None:
        """Called once a tick, by the owner of the tracker alone."""
        for consumer in self._consumers:
            consumer.add(runs)
