"""The last line: the keys that matter, from the keymap; and the line above it: the selected mapping."""

from __future__ import annotations

from collections.abc import Sequence

from memtop.model.sample import MappingSample
from memtop.sampler.source import Position
from memtop.ui.keymap import KEYMAP, Mode
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
    """Keys and what they do; what can't be used now is faint."""

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
        position: Position | None = None,
        choices: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Draws as many keys as there is room for; ``quit`` and ``help`` stay longest.

        Args:
            choices: keys of an open question, and what they do; they come first.
        """
        p, width = self.look.palette, self.size.width
        recorded = position is not None and position.recorded
        says = (mode, can_act, many, can_pick, frozen, tracking, recorded, tuple(choices), p, width)
        if says == self._drawn:  # it seldom changes, and is asked at each sample
            return
        self._drawn = says
        fields = [Field((((key, p.accent), (f" {label}", p.dim)),), 200) for key, label in choices]
        keys = [
            key
            for key in KEYMAP
            if key.label
            and key.shown
            and mode in key.modes
            and (many or not key.many)
            and not (recorded and key.acts)
            if can_pick or key.action != "pick"
        ]
        # After help what works only here.
        keys.sort(key=lambda key: (key.label != "help", key.modes != {mode}))
        for rank, key in enumerate(keys):
            off = key.acts and not can_act
            label = key.label
            if key.action == "freeze" and frozen:
                label = "go on"
            elif key.action == "arm" and tracking:
                label = "stop tracking"
            elif key.action == "interval(1)" and recorded:
                label = "speed"
            runs = ((key.shown, p.faint if off else p.accent), (f" {label}", p.faint if off else p.dim))
            keep = 100 if key.label in ("quit", "help") else len(keys) - rank
            fields.append(Field((runs,), keep))
        self.draw_runs([key_runs(fields, width, p)])


class DetailLine(Drawn):
    """The selected mapping in one line: where, what, and how far its numbers can be trusted."""

    def show(self, m: MappingSample | None, instead: Sequence[Run] = ()) -> None:
        """Draws it, or what stands ``instead``; nothing is selected before the first sample."""
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
        room = width - width_of(runs) - 4
        if room >= len(m.coverage.reason) or not here.inode:
            runs.append(("  " + cut(m.coverage.reason, max(room, 0)), p.text))
        else:  # the reason is worth more than the inode
            runs = [runs[0], ("  " + cut(m.coverage.reason, max(width - width_of(runs[:1]) - 4, 0)), p.text)]
        self.draw_runs([runs])
