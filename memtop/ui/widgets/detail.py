"""Detail of a mapping: its history, and all that the kernel says of it, read when asked for."""

from __future__ import annotations

from rich.cells import cell_len
from textual.message import Message

from memtop.model.detail import Detail
from memtop.model.sample import MappingSample
from memtop.model.units import clock, seconds, size
from memtop.sampler.source import Key
from memtop.ui.columns import short_title
from memtop.ui.detail_lines import detail_lines
from memtop.ui.glyphs import RULE
from memtop.ui.keymap import keyed
from memtop.ui.lines import Run, cut_path, fitting, width_of
from memtop.ui.state import ProcessView
from memtop.ui.story import Storyteller
from memtop.ui.theme import Look
from memtop.ui.widgets.map_lines import LEAST_NAME
from memtop.ui.widgets.pane import ScrollingPane, Wanted
from memtop.ui.widgets.write_map import selected

CHEAP = 0.001
"""Seconds: what is read faster than this is read anew with the samples."""

EVERY = 2.0
"""Seconds between two such readings."""


class DetailPane(ScrollingPane):
    """A title, then lines that scroll when the pane has the keys."""

    title = "detail"
    does = frozenset({"read_again"})
    share = 0.7
    overlap = 1

    class Needed(Message):
        """Something is to be read, for the first time or, where that was cheap, anew."""

        def __init__(self, pane: DetailPane, key: Key, mapping_id: int) -> None:
            super().__init__()
            self.pane, self.key, self.mapping_id = pane, key, mapping_id

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self.of: tuple[Key, int] | None = None
        self.answer: Detail | None = None
        self._why = ""
        self._reading = False
        self._story = Storyteller()
        self._lines = 0

    # ---- reading -----------------------------------------------------------------------------------

    def read(self, key: Key, mapping_id: int) -> None:
        """Waits for what will be read of this mapping."""
        if self.of != (key, mapping_id):
            self.of, self.answer, self.top = (key, mapping_id), None, 0
        self._reading, self._why = True, ""

    def refuse(self, key: Key, mapping_id: int, why: str) -> None:
        """Nothing is read of this mapping; what was read of it before stays."""
        if self.of != (key, mapping_id):
            self.of, self.answer, self.top = (key, mapping_id), None, 0
        self._why = why

    def answered(self, of: tuple[Key, int], answer: Detail) -> None:
        """Shows it, if it is of the mapping that is shown; what was read before stays where nothing came."""
        if of != self.of:
            return
        self._reading = False
        if answer.smaps is None and self.answer is not None and self.answer.smaps is not None:
            self._why = answer.why
        else:
            self.answer, self._why = answer, ""

    def _wants(self, view: ProcessView, m: MappingSample) -> bool:
        if self.of != (view.key, m.mapping.id):
            return True
        answer, sample = self.answer, view.sample
        if self._reading or answer is None or sample is None or self._why:
            return False
        if answer.smaps is None:
            return False
        return answer.seconds < CHEAP and sample.time - answer.time >= EVERY

    # ---- drawing -----------------------------------------------------------------------------------

    def show(self, view: ProcessView) -> Wanted | None:
        """Draws what is known, and asks for what is not."""
        m, width = selected(view), self.size.width
        if m is None or view.sample is None or not width:
            self.draw_runs([])
            return None
        if self._wants(view, m):
            self.post_message(self.Needed(self, view.key, m.mapping.id))
        mine = self.of == (view.key, m.mapping.id)
        answer = self.answer if mine else None
        with view.lock:
            kept = list(view.past.kept)
        story = self._story.tell(m.mapping.id, kept, view.sample.time)
        why = (answer.why if answer is not None and answer.smaps is None else self._why) if mine else ""
        if answer is not None and answer.dear:
            why += keyed(
                " · {read_again} reads it" if self.has_keys else " · {enter_pane}, then {read_again} reads it"
            )
        body = detail_lines(self.look.palette, width, m, story, answer, why)
        self._lines = len(body)
        self.top = min(self.top, self.last_top)
        self.draw_runs([self._title(view, m, answer), *body[self.top : self.top + self.rows]])
        return None

    def _title(self, view: ProcessView, m: MappingSample, answer: Detail | None) -> list[Run]:
        p, width, lines, rows = self.look.palette, self.size.width, self._lines, self.rows
        assert view.sample is not None
        right: list[Run] = [(RULE * 2, p.faint)]
        if lines > rows:
            more = f" {self.top + 1}–{min(self.top + rows, lines)} of {lines} "
            right = [(more, p.strong if self.has_keys else p.dim), *right]
        left: list[Run] = [(f"{RULE * 2} ", p.faint), (f"{m.mapping.start:x} ", p.strong)]
        left += [(f"{m.mapping.perms} {size(m.mapping.size)} ", p.text)] if width >= 100 else []
        name = short_title(m.mapping)
        if answer is not None and answer.smaps is not None:
            other = abs(view.sample.time - answer.time) > max(2 * view.sample.interval, EVERY + 1)
            of = f" smaps of {clock(answer.time)}"
            room = width - width_of(left) - width_of(right) - 4 - min(cell_len(name), LEAST_NAME)
            said = fitting((f"{of}, read in {seconds(answer.seconds)} ", f"{of} ", ""), room)
            right = [(said, p.warn if other else p.dim), (RULE, p.faint), *right]
        room = max(width - width_of(left) - width_of(right) - 2, 0)
        left += [(cut_path(fitting((m.mapping.title, name), room), room) + " ", p.strong)]
        return [*left, (RULE * max(width - width_of(left) - width_of(right), 0), p.faint), *right]

    # ---- moving ------------------------------------------------------------------------------------

    def takes_keys(self) -> bool:
        """Its lines scroll, and it can be read again."""
        return self.of is not None

    @property
    def last_top(self) -> int:
        """The largest ``top``."""
        return max(self._lines - self.rows, 0)
