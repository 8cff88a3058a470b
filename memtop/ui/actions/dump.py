"""The key of dumps: the dialog, the dump that runs, what came of it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message
from textual.widgets import Input

from memtop.linux.errors import MemtopError
from memtop.model.actions import Method
from memtop.ui import PICK
from memtop.ui.actions.pane import PaneActions
from memtop.ui.actions.target import TargetActions
from memtop.ui.places import Places
from memtop.ui.widgets.confirm import Ask

if TYPE_CHECKING:
    from memtop.dump.background import Dumps, Outcome

REDRAW_S = 0.1
"""Seconds between two pictures of a dump that runs: it says more often how far it is."""


class Moved(Message):
    """A dump has got further."""

    def can_replace(self, message: Message) -> bool:
        """Only how far it is now is worth drawing."""
        return isinstance(message, Moved)


class Answered(Message):
    """The disk has answered what the dialog asked."""


class Over(Message):
    """A dump is over."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


class DumpActions(PaneActions, TargetActions):
    """One dump at a time; it runs beside the screen."""

    _moved_at = 0.0

    @property
    def dumps(self) -> Dumps | None:
        """What makes dumps; None before one was asked for, and where no process is behind the screen."""
        return self.app.dumps

    def action_dump(self) -> None:
        """Opens the dialog about what is selected now; while a dump runs, asks whether to cancel it."""
        view = self.view
        if self.dumps is not None and self.dumps.busy is not None:
            self._ask_cancel(self.dumps)
        elif self.may_act(view):
            dumps = self.app.open_dumps()
            if dumps is None:
                self.say("dumps are made where memtop shows live processes (memtop, memtop -p)")
            elif view.newest is None:
                self.say("what there is to dump is known after the first scan", "warning")
            else:
                from memtop.ui.dump_choice import DumpChoice  # and with it all of memtop.dump

                self.forget()
                self.report.show(None, 0)
                price = self.source.arm_cost(view.key, Method.AUTO)
                cost = price.brief if price is not None else ""
                self.form.open(
                    DumpChoice(view, dumps, dumps.now(), Places(dumps.free, self._place_told), cost)
                )
                self.show()

    def _ask_cancel(self, dumps: Dumps) -> None:
        busy = dumps.busy
        assert busy is not None
        cost = "nothing of it is left, the process runs on; one dump at a time"
        what = f"Cancel the dump of {busy.title} that is under way"
        self.ask(Ask(busy.key, what, cost, dumps.cancel, lives=False))

    # ---- the dialog ----------------------------------------------------------------------------------------

    def action_form_move(self, lines: int) -> None:
        """Another line."""
        if self.form.choice is not None:
            self.form.choice.move(lines)
            self.form.settle()
            self.show()

    def action_form_change(self, step: int) -> None:
        """The next thing to choose in this line."""
        if self.form.choice is not None:
            self.form.choice.change(step)
            self.show_form()

    @on(Input.Changed)
    def _form_typed(self, event: Input.Changed) -> None:
        if self.form.choice is not None and event.input is self.form.input and self.form.typing:
            self.form.choice.type(event.value)
            self.show_form()

    def _place_told(self) -> None:  # on another thread
        with suppress(RuntimeError):  # the screen has just closed
            self.post_message(Answered())

    @on(Answered)
    def _disk_answered(self) -> None:
        choice = self.form.choice
        if choice is not None and choice.wanted:
            self.action_form_do()
        else:
            self.show_form()

    def action_form_close(self) -> None:
        """Leaves it; nothing was done."""
        self.form.close()
        self.show()

    def action_form_do(self) -> None:
        """Starts the dump that is described, of the process that was shown when the dialog was opened."""
        choice, dumps = self.form.choice, self.dumps
        if choice is None or dumps is None:
            return
        if self.form.typing:  # the last key may not have been told of yet
            choice.type(self.form.input.value)
        choice.wanted = True
        if choice.place is None or choice.against:
            choice.wanted = choice.place is None
            self.show_form()
            return
        self.form.close()
        try:
            dumps.start(choice.key, choice.title, choice.job, self._dump_moved, self._dump_over)
        except MemtopError as error:
            self.say(error.sentence, "error")
        self.show()

    # ---- while it runs -----------------------------------------------------------------------------------

    def _dump_moved(self) -> None:  # on the dump's thread
        now = time.monotonic()
        busy = self.dumps.busy if self.dumps is not None else None
        if now - self._moved_at >= REDRAW_S or (busy is not None and busy.progress.frozen):
            self._moved_at = now
            with suppress(RuntimeError):  # the screen has just closed
                self.post_message(Moved())

    def _dump_over(self, outcome: Outcome) -> None:  # on the dump's thread
        with suppress(RuntimeError):
            self.post_message(Over(outcome))

    @on(Moved)
    def _has_moved(self) -> None:
        self.show_dump()

    @on(Over)
    def _is_over(self, message: Over) -> None:
        outcome = message.outcome
        if outcome.result is not None:
            self.report.show(outcome, self.size.width)
        else:
            text = outcome.error
            if outcome.cancelled:
                text = f"the dump of {outcome.title} was cancelled: nothing of it is left"
            self.say(text, "information" if outcome.cancelled else "error")
        self.show()

    def action_close(self) -> None:
        """Leaves a question, what is said of a dump, or a message."""
        if self.prompt.question is None and self.report.outcome is not None:
            self.report.show(None, 0)
        else:
            super().action_close()

    def action_leave_pane(self) -> None:
        """What is said of a dump goes first."""
        if self.report.outcome is not None:
            self.report.show(None, 0)
        else:
            super().action_leave_pane()

    # ---- leaving -----------------------------------------------------------------------------------------

    def action_pick(self) -> None:
        """Leaves for the picker; a dump that runs is asked about first."""
        if not (self.app.can_pick and self._ask_to_leave(PICK, "Choose other processes")):
            super().action_pick()

    def action_leave(self, code: int) -> None:
        """Ends memtop; a dump that runs is asked about first, unless it was Ctrl-C."""
        if code or not self._ask_to_leave(code, "Quit"):
            self.app.leave(code)

    def _ask_to_leave(self, code: int, what: str) -> bool:
        busy = self.dumps.busy if self.dumps is not None else None
        if busy is None:
            return False
        question = self.prompt.question
        if isinstance(question, Ask) and question.what == what:  # q, and q again
            return False
        cost = f"the dump of {busy.title} is not complete, and nothing of it is left"
        self.ask(Ask(busy.key, what, cost, lambda: self.app.leave(code), lives=False))
        return True
