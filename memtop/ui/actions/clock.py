"""Keys of time: freeze, interval, earlier samples, marks, the timeline."""

from __future__ import annotations

from math import inf

from memtop.ui.intervals import step_interval
from memtop.ui.keymap import keyed
from memtop.ui.screens.page import Page
from memtop.ui.widgets.timeline import Timeline
from memtop.ui.widgets.write_map import WriteMap


class ClockActions(Page):
    """When samples are taken, and which one is shown."""

    def action_freeze(self) -> None:
        """Freezes or goes on; going on shows the newest sample again."""
        self.frozen = not self.frozen
        self.source.set_frozen(self.frozen)
        if not self.frozen:
            for view in self.views.values():
                view.go_back(-len(view.past))
        self.show()

    def action_scrub(self, samples: int) -> None:
        """Shows an earlier sample (1) or a later one (-1); live, only of a picture that stands."""
        if self.source.position is not None:
            if not self.frozen:
                self.action_freeze()
            self.source.step(-samples, self.app.rewind)
        elif not (self.frozen or self.view.over):
            self.say(keyed("earlier samples can be looked at while the picture is frozen ({freeze})"))
        elif self.view.go_back(samples):
            if self.listing:  # one list, one moment
                time = inf if self.view.back is None else self.view.back.sample.time
                for view in self.views.values():
                    if view is not self.view:
                        view.go_to(time)
            self.show()
        elif samples > 0:
            self.say("this is the oldest sample that is kept")

    def action_interval(self, step: int) -> None:
        """The next longer or shorter interval; of a recording, the speed."""
        position = self.source.position
        if position is not None and position.recorded:
            self.source.change_speed(step)
            self.show()
            return
        self.source.set_interval(step_interval(self.source.interval, step))
        self.show()

    def action_mark(self) -> None:
        """Marks this moment."""
        self.view.set_mark()
        self.show()
        counts = "SINCE MARK counts pages written from now on, each once"
        if not self.view.tracking:
            counts = "writes are not tracked yet, so nothing is counted ({arm} tracks them)"
        self.say(keyed(f"marked: {counts}; {{forget_mark}} forgets it"))

    def action_forget_mark(self) -> None:
        """Forgets the mark."""
        self.view.forget_mark()
        self.show()

    def action_timeline(self) -> None:
        """The mapping's timeline, then that of the process, then the map again."""
        timeline = self.query_one(Timeline)
        if self.pane is not timeline:
            timeline.whole_process = False
            self.open_pane(Timeline)
        elif not timeline.whole_process:
            timeline.whole_process = True
        else:
            self.open_pane(WriteMap)
        self.show()
