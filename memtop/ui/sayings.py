"""What the banner says: one line, what happened and what to do, in as many words as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memtop.model.actions import Notice
from memtop.model.sample import Life
from memtop.model.units import seconds
from memtop.ui import keymap
from memtop.ui.state import ProcessView


@dataclass(frozen=True, slots=True)
class Saying:
    """One message.

    Attributes:
        forms: the whole of it first, then shorter ones; empty: there is nothing to say.
        severity: ``information``, ``warning`` or ``error``.
    """

    forms: Sequence[str] = ()
    severity: str = "information"

    @property
    def whole(self) -> str:
        """All of it; the help page shows it."""
        return self.forms[0] if self.forms else ""


NOTHING = Saying()


def of_notice(notice: Notice, about: ProcessView | None = None) -> Saying:
    """What the source or the screen itself has to say.

    Args:
        about: the process that it is about, where that is another than the one that is shown.
    """
    forms = [notice.text, *notice.shorter]
    if about is not None:  # once is enough for the name
        forms = [f"{about.title}: {form.removeprefix(f'{about.process.comm}: ')}" for form in forms]
    return Saying(forms, notice.severity)


def of_sample(view: ProcessView, *, can_pick: bool, nominal: float) -> Saying:
    """What the newest sample says of the process, with the keys for what can be done now.

    Args:
        nominal: seconds between samples as asked for.
    """
    sample = view.speaking
    if sample is None or (not sample.message and sample.life is Life.RUNNING):
        return NOTHING
    if sample.life is Life.RUNNING and sample.stretched and seconds(sample.interval) == seconds(nominal):
        return NOTHING  # by less than anybody sees
    text = sample.message or f"{view.title} ended; this is its last picture"
    keys = _keys(view, sample.life, can_pick)
    # The header names the process, too.
    short = text.removeprefix(f"{view.title} ")
    forms = [text + keys, short + keys]
    if sample.life is Life.EXECED:
        forms.append("it ran exec: a new address space" + (keys and f", not tracked{keys}"))
    if sample.stretched:
        forms[1:] = [
            f"samples come every {seconds(sample.interval)}, to stay below --max-cost; raise it for more"
        ]
    return Saying(forms, "information" if sample.life is not Life.RUNNING else "warning")


def _keys(view: ProcessView, life: Life, can_pick: bool) -> str:
    wanted: list[tuple[str, str]] = []
    if view.ended:
        wanted = [("pick", "others")] if can_pick else []
        wanted += [("leave(0)", "quits")]
    elif life is Life.EXECED and not view.tracking:
        wanted = [("arm", "tracks it anew")]
    named = ((keymap.shown_of(action), does) for action, does in wanted)
    return "".join(f" · {key} {does}" for key, does in named if key)
