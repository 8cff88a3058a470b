"""A dump that runs, in one line; and what came of it, over the bottom of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memtop.model.layout import PAGE
from memtop.model.names import clean_text
from memtop.model.units import DASH, rate, seconds, size
from memtop.ui.keymap import keyed
from memtop.ui.lines import Field, Run, fill, fit, fitting, line, width_of, wrap
from memtop.ui.widgets.drawn import Drawn
from memtop.ui.widgets.overlay import Overlay

if TYPE_CHECKING:
    from memtop.dump.background import Outcome, Underway

DONE, LEFT = "█", "░"
WIDEST = 24


class DumpBar(Drawn):
    """Hidden while no dump runs."""

    def show(self, dump: Underway | None, width: int) -> None:
        """Draws how far it is."""
        self.display = dump is not None
        if dump is None:
            return
        p, now = self.look.palette, dump.progress
        head: Run = (f" dump of {dump.title} ", p.strong)
        if dump.cancelled:
            self.draw_in([head, (" is being cancelled", p.text)], width)
            return
        if now.frozen:
            forms = (
                "the process stands still for the last pages",
                "the process stands still",
                "stands still",
            )
            self.draw_in([head, (" " + fitting(forms, width - width_of([head]) - 1), p.warn)], width)
            return
        if not now.round:
            self.draw_in([head, (" looks at what there is", p.text)], width)
            return
        done = fill(size(now.done * PAGE), 4, right=True)
        share = now.done / now.total if now.total else 1.0
        numbers = [
            Field(([(f"round {now.round}", p.text)],), 5),
            Field(([(f"{share:4.0%}", p.strong)],), 9, needed=True),
            Field(([(f"{done} of {size(now.total * PAGE)}", p.text)],), 7),
            Field(([(fill(rate(dump.speed), 6, right=True), p.text)],), 6),
            Field(([("dirty ", p.dim), (size(now.dirty * PAGE) if now.round > 1 else DASH, p.text)],), 4),
            Field(([("stop ", p.dim), (seconds(now.stop_s) if now.stop_s else DASH, p.text)],), 3),
            Field(([(keyed("{dump} cancels"), p.dim)],), 2),
        ]
        if now.stop_s:
            numbers[0] = Field(([("to the disk", p.text)],), 5)
        room = width - width_of([head]) - 8
        parts = fit(numbers, room, 2)
        used = sum(map(width_of, parts)) + 2 * len(parts)
        cells = max(min(width - width_of([head]) - used - 2, WIDEST), 4)
        full = round(share * cells)
        runs: list[Run] = [head, (DONE * full, p.accent), (LEFT * (cells - full), p.dim)]
        for part in parts:
            runs += [("  ", p.text), *part]
        self.draw_in(runs, width)

    def draw_in(self, runs: list[Run], width: int) -> None:
        """One line of this width; the widget may not have been laid out yet."""
        self.draw([line(self.look, runs, width)])


class DumpReport(Overlay):
    """What a dump has become, until Esc; it takes no keys away from anything else.

    Attributes:
        outcome: what it is about; None: hidden.
    """

    outcome: Outcome | None = None

    def show(self, outcome: Outcome | None, width: int) -> None:
        """Shows a dump that is complete, or hides with None."""
        self.outcome = outcome
        if outcome is None or outcome.result is None:
            self.outcome = None
            self.lay([], width)
            return
        from memtop.dump.job import Format  # which is there by now

        p, result = self.look.palette, outcome.result
        statement = result.image.statement
        speed = f" ({rate(result.stored / result.took)})" if result.took and result.stored else ""
        lines: list[list[Run]] = [
            [(f" Dump of {outcome.title} ", p.strong), (keyed(" {close} closes"), p.dim)]
        ]

        def say(text: str, mark: str = " ") -> None:
            style = p.warn if mark == "!" else p.text
            for i, part in enumerate(wrap(text, width - 4, 2)):
                lines.append([(f" {mark if not i else ' '} ", p.warn), (part, style)])

        stored = f"{size(result.stored)} in {seconds(result.took)}{speed}"
        say(f"{clean_text(outcome.job.path)}: {stored}")
        say(statement.sentence)
        for doubt in result.doubts[:2]:
            say(doubt, "!")
        if outcome.job.format is Format.CORE and outcome.job.only:
            say("a range alone: no stacks or libraries but those in it", "!")
        command = outcome.open_with
        if len(command) <= width - 12:
            lines.append([("   open it: ", p.dim), (command, p.accent)])
        else:  # all of it: it is to be copied
            room = width - 4
            parts = [command[at : at + room] for at in range(0, len(command), room)]
            lines += [[("   open it:", p.dim)], *([("   ", p.text), (part, p.accent)] for part in parts)]
        self.lay(lines, width)
