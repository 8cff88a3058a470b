"""What stands on the screen while the page and the kernel's side are still being imported and opened."""

from __future__ import annotations

from textual.message import Message
from textual.strip import Strip

from memtop.model.sample import Process
from memtop.ui.lines import Run, line, spread
from memtop.ui.theme import Look
from memtop.ui.who import who_runs
from memtop.ui.widgets.drawn import Drawn


class FirstPicture(Drawn):
    """The first line of the header, of the first process.

    Nothing that takes long to import may be needed for it: tests/pty/test_first_picture.py.
    """

    class Drawn(Message):
        """It is on its way to the terminal: now there is time for the rest."""

    def __init__(self, look: Look, process: Process) -> None:
        super().__init__(look)
        self._process = process
        self._told = False

    def render_line(self, y: int) -> Strip:
        """Only the first one says anything."""
        if y:
            return super().render_line(y)
        if not self._told:  # a message is handled when all of the picture has been drawn
            self._told = self.app.post_message(self.Drawn())
        p, width = self.look.palette, self.size.width
        opens: list[Run] = [("  ", p.text), ("○ opens", p.dim), (" ", p.text)]
        return line(self.look, spread(who_runs(self._process, p, width), opens, width, p.text), width)
