"""Keys of time: freeze, interval."""

from __future__ import annotations

from memtop.ui.intervals import step_interval
from memtop.ui.screens.page import Page


class ClockActions(Page):
    """When samples are taken, and which one is shown."""

    def action_freeze(self) -> None:
        """Freezes or goes on."""
        self.frozen = not self.frozen
        self.source.set_frozen(self.frozen)
        self.show()

    def action_interval(self, step: int) -> None:
        """The next longer or shorter interval."""
        self.source.set_interval(step_interval(self.source.interval, step))
        self.show()
