"""Keys that do something to a process: each asks first, and says what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from memtop.model.actions import ClearRefs, Method
from memtop.model.scope import Scope
from memtop.model.units import size
from memtop.ui import PICK
from memtop.ui.screens.page import Page
from memtop.ui.state import ProcessView
from memtop.ui.widgets.confirm import Ask, Menu
from memtop.ui.widgets.write_map import selected

READONLY = "memtop was started with --readonly: to act on a process, start it without"
RECORDED = "this is a recording: there is no process to act on"


class TargetActions(Page):
    """Arm and clear references; the questions, and their answers."""

    def action_arm(self) -> None:
        """Asks whether to track writes, or to stop: of the process, the mapping, or the marked range."""
        view = self.view
        if not self.may_act(view):
            return
        price = self.source.arm_cost(view.key, Method.AUTO)
        if price is None or view.sample is None:
            self.say("what it would cost is known after the first scan", "warning")
            return
        asks: dict[int, Ask] = {}
        # The method that the cost was stated for, not whatever is best by then.
        whole = Ask(
            view.key,
            f"Track writes of {view.title}",
            price.sentence,
            lambda: self.source.arm(view.key, price.method),
            label="all",
            others=asks,
            brief=price.brief,
        )
        if not view.tracking or price.mappings > view.sample.tracker.armed:
            asks[1] = whole
        for number, label, scope in self._scopes(view):
            if (ask := self._ask_scope(view, label, scope, asks)) is not None:
                asks[number] = ask
        cost = "all mappings are given back; what has been seen stays on screen, what comes is not seen"
        stop = Ask(
            view.key,
            f"Stop tracking {view.title}",
            cost,
            lambda: self.source.disarm(view.key),
            others=asks,
        )
        # Who has marked a range means the range.
        self.ask(asks.get(3) or (stop if view.tracking else whole))

    def _scopes(self, view: ProcessView) -> Iterator[tuple[int, str, Scope]]:
        """The selected mapping and the marked range, as they are on screen now."""
        m = selected(view)
        if m is not None and view.back is None:
            whole = m.mapping.start, m.mapping.end
            yield 2, "this mapping", Scope(m.mapping.id, whole)
            if view.marked_range is not None:
                yield 3, "the marked range", Scope(m.mapping.id, whole, view.marked_range)

    def _ask_scope(
        self, view: ProcessView, label: str, scope: Scope, others: Mapping[int, Ask]
    ) -> Ask | None:
        """None: it can't be tracked at all."""
        price = self.source.arm_cost(view.key, Method.WRITE_PROTECT, scope=scope)
        m = selected(view)
        if price is None or not price.mappings or m is None:
            return None
        low, high = scope.span
        what = (
            f"Track writes of {m.mapping.title} {low:x}–{high:x} ({size(high - low)}) of {view.title} alone"
        )
        if view.tracking:
            what += ", instead of what is tracked now"
        return Ask(
            view.key,
            what,
            price.sentence,
            lambda: self.source.arm(view.key, Method.WRITE_PROTECT, scope=scope),
            lambda: "" if view.newest is None else scope.why_not(view.newest.table),
            label,
            others,
            brief=price.brief,
        )

    def action_clear(self) -> None:
        """Opens the menu of clear_refs."""
        view = self.view
        if not self.may_act(view):
            return

        def asking(what: ClearRefs) -> Ask:
            return Ask(
                view.key,
                f"Clear {what.title} of {view.title}",
                what.disturbs,
                lambda: self.source.clear_refs(view.key, what),
            )

        choices = [(what, asking(what)) for what in ClearRefs]
        self.ask(Menu(view.key, f"Clear references of {view.title}", choices))

    def action_pick(self) -> None:
        """Leaves for the picker; asks first where that would end tracking."""
        if not self.app.can_pick:
            self.say("other processes can be chosen where memtop shows live ones (memtop -p)")
        elif tracked := [view.key for view in self.views.values() if view.tracking and not view.over]:
            cost = "tracking ends, all mappings are given back, and what was seen so far is forgotten"
            self.ask(Ask(tracked[0], "Choose other processes", cost, lambda: self.app.leave(PICK)))
        else:
            self.app.leave(PICK)

    def may_act(self, view: ProcessView) -> bool:
        """Whether anything can be done to this process; says why not."""
        position = self.source.position
        if position is not None and position.recorded:
            self.say(RECORDED, "warning")
        elif self.source.readonly:
            self.say(READONLY, "warning")
        elif self.listing and self.processes.chosen is None:
            self.say("the filter hides what is selected: select a process first", "warning")
        elif view.over:
            self.say(f"{view.title} has ended: nothing can be done to it", "warning")
        else:
            return True
        return False

    def ask(self, question: Ask | Menu | None) -> None:
        """Opens a question, or closes the open one with None."""
        if question is not None:
            self.forget()
        self.prompt.ask(question, self.size.width, self.size.height)
        self.show_keys()

    def action_choose(self, number: int) -> None:
        """Takes a line of the menu; the cost is asked about next."""
        question = self.prompt.question
        if isinstance(question, Ask):
            self.ask(question.others.get(number, question))
        elif isinstance(question, Menu):
            self.ask(next((ask for what, ask in question.choices if what == number), question))

    def action_confirm(self) -> None:
        """Does what was asked, to the process it was asked about and to no other."""
        ask = self.prompt.question
        if not isinstance(ask, Ask):
            return
        self.ask(None)
        view = self.views.get(ask.key)
        if ask.lives and (view is None or view.over):
            self.say("the process ended meanwhile: nothing was done", "warning")
        elif why := ask.check():
            self.say(f"{why}: nothing was done", "warning")
        else:
            ask.do()

    def action_close(self) -> None:
        """Leaves a question or a message."""
        if self.prompt.question is not None:
            self.ask(None)
        elif self._dismissed:  # by this key
            self.forget()
        elif len(self.views) > 1:
            self.show_list(True)
