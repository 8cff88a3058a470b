"""The last line: the keys that matter, from the keymap; and the line above it: the selected mapping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from memtop.model.sample import MappingSample
from memtop.model.units import clock
from memtop.sampler.source import Position
from memtop.ui.keymap import KEYMAP, PANE, Key, Mode
from memtop.ui.lines import Field, Run, cut, fit, width_of
from memtop.ui.theme import Palette
from memtop.ui.widgets.drawn import Drawn


def key_runs(fields: Sequence[Field], width: int, p: Palette) -> list[Run]:
    """The keys that there is room for, in one line."""
    gap = 3 if width >= 100 else 2
    runs: list[Run] = [(" ", p.text)]
    for i, part in enumerate(fit(fields, width - 2, gap)):
        if i:
            runs.append((" " * gap, p.text))
        runs += part
    return runs


class KeyBar(Drawn):
    """Keys and what they do; what can't be used now is not there, as in the palette."""

    _drawn: tuple[object, ...] = ()

    def show(
        self,
        mode: Mode,
        *,
        can_act: bool,
        many: bool,
        can_pick: bool = True,
        frozen: bool,
        tracking: bool,
        ended: bool = False,
        position: Position | None = None,
        choices: Sequence[tuple[str, str]] = (),
        does: Set[str] = frozenset(),
    ) -> None:
        """Draws as many keys as there is room for; ``quit`` and ``help`` stay longest.

        Args:
            ended: there is nothing left to freeze; going back in time works without.
            does: of the keys of panes, those that mean something in this one.
            choices: keys of an open question, and what they do; they come first.
        """
        p, width = self.look.palette, self.size.width
        recorded = position is not None and position.recorded
        says = (
            mode,
            can_act,
            many,
            can_pick,
            frozen,
            tracking,
            ended,
            recorded,
            tuple(choices),
            does,
            p,
            width,
        )
        if says == self._drawn:  # it seldom changes, and is asked at each sample
            return
        self._drawn = says
        stands = frozen or ended or recorded
        off = {"pick": not can_pick, "scrub(1)": not stands, "freeze": ended and not (frozen or recorded)}
        keys = [
            key
            for key in _offered(mode, many=many, acts=can_act and not recorded, does=does)
            if not off.get(key.action)
        ]
        # After help what moves a picture that stands, then what works only here, where that is not the table.
        time = ("freeze", "scrub(1)") if stands else ()
        here = mode if mode is not Mode.TABLE else None
        keys.sort(key=lambda key: (key.label != "help", key.action not in time, key.modes != {here}))
        now = {
            "freeze": "go on" if frozen else "",
            "arm": "stop tracking" if tracking else "",
            "interval(1)": "speed" if recorded else "",
        }
        fields = [_field(key, label, 200, p) for key, label in choices]
        for rank, key in enumerate(keys):
            keep = 100 if key.label in ("quit", "help") else len(keys) - rank
            fields.append(_field(key.shown, now.get(key.action) or key.label, keep, p))
        self.draw_runs([key_runs(fields, width, p)])


def _offered(mode: Mode, *, many: bool, acts: bool, does: Set[str]) -> Iterator[Key]:
    """The keys of this mode that are worth a place in the last line."""
    for key in KEYMAP:
        wanted = key.label and key.shown and mode in key.modes
        here = key.modes != PANE or key.action in {*does, "leave_pane"}
        if wanted and here and (many or not key.many) and (acts or not key.acts):
            yield key


def _field(key: str, label: str, keep: int, p: Palette) -> Field:
    return Field((((key, p.accent), (f" {label}", p.dim)),), keep)


class DetailLine(Drawn):
    """The selected mapping in one line: where, what, and how far its numbers can be trusted."""

    def show(
        self, m: MappingSample | None, instead: Sequence[Run] = (), zeros_of: float | None = None
    ) -> None:
        """Draws it, or what stands ``instead``; nothing is selected before the first sample.

        Args:
            zeros_of: when its zero pages were counted, unix seconds; None: now, or they are not shown.
        """
        p, width = self.look.palette, self.size.width
        if instead:
            self.draw_runs([instead])
            return
        if m is None:
            self.draw_runs([])
            return
        here = m.mapping
        runs: list[Run] = [(f" {here.start:x}–{here.end:x} {here.perms}", p.dim)]
        if here.inode:
            runs.append((f"  {here.dev} inode {here.inode} at {here.offset:#x}", p.dim))
        reason = m.coverage.reason
        if zeros_of is not None:
            reason = f"ZERO is of {clock(zeros_of)}; {reason}"
        room = width - width_of(runs) - 4
        if room >= len(reason) or not here.inode:
            runs.append(("  " + cut(reason, max(room, 0)), p.text))
        else:  # the reason is worth more than the inode
            runs = [runs[0], ("  " + cut(reason, max(width - width_of(runs[:1]) - 4, 0)), p.text)]
        self.draw_runs([runs])
