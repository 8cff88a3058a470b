"""The live screen. Importing this package costs nothing; ``run`` imports Textual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from memtop.model.actions import Method
from memtop.model.sample import Process
from memtop.sampler.source import Source

THEMES = ("dark", "light", "contrast", "ansi", "mono")
"""Names of the themes; the colours are in ``theme``, which imports Textual."""
if TYPE_CHECKING:
    from memtop.dump.background import Dumps

PICK = -1
"""Instead of an exit code: the user wants to choose other processes."""


def pick(
    *, ascii: bool | None = None, mouse: bool = True, theme: str | None = None
) -> tuple[Sequence[int], int]:
    """Lists all processes until the user has chosen some.

    Returns:
        Their pids, none if the user left, and the exit code as of ``run``.
    """
    from memtop.ui.terminal import run_picker

    picked, code = run_picker(ascii=ascii, mouse=mouse, theme=theme)
    return picked.pids, code


def run(
    open_source: Callable[[], Source],
    processes: Sequence[Process],
    *,
    readonly: bool = False,
    ascii: bool | None = None,
    arm_at_start: Method | None = None,
    mouse: bool = True,
    can_pick: bool = False,
    theme: str | None = None,
    open_dumps: Callable[[], Dumps] | None = None,
) -> int:
    """Shows processes until the user quits; the terminal and the targets are as before then.

    Args:
        open_source: makes what samples come from, once the first picture stands; it is stopped before this
            returns.
        processes: at least one, in the order of the screen.
        readonly: the source refuses every action; the screen says so.
        ascii: draw with ASCII only; None: where the locale has nothing else.
        arm_at_start: track writes from the first sample on.
        mouse: take the mouse from the terminal.
        can_pick: the caller can open other processes when the user asks for it.
        theme: one of THEMES; None: what NO_COLOR, the settings or the terminal say, in this order.
        open_dumps: makes what makes dumps of them, when the first one is asked for; closed before the source.

    Returns:
        The exit code: 0, 1 if the screen failed, 128+n on a signal; PICK.

    Raises:
        MemtopError: there is no terminal, the settings can't be used, or it is of ``open_source``; the
            terminal is as before.
    """
    from memtop.ui.terminal import run_app

    def opened() -> Source:
        source = open_source()
        source.readonly = source.readonly or readonly
        return source

    return run_app(
        opened,
        processes,
        ascii=ascii,
        arm_at_start=arm_at_start,
        mouse=mouse,
        can_pick=can_pick,
        theme=theme,
        open_dumps=open_dumps,
    )
