"""The line above the keys: one line of 80 cells, with what to do, and all of it on the help page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from real import kernel, tracking
from states import STATES, in_state

from memtop.linux.errors import KernelCannot, NotPermitted
from memtop.sampler.target import Target
from memtop.sampler.telling import cannot
from memtop.ui.lines import fitting
from memtop.ui.screens.help import HelpScreen
from memtop.ui.theme import DARK

WHAT_TO_DO = {
    "not-permitted": "run memtop as root",
    "kernel-cannot": "Linux 6.7 or later",
    "degraded": "exact: run memtop as root",
    "stretched": "raise it for more",
    "execed": "w tracks it anew",
    "ended": "q quits",
    "readonly": "start it without",
}


@pytest.mark.parametrize("name", WHAT_TO_DO)
async def test_each_state_is_one_line_with_what_to_do(name: str, tmp_path: Path) -> None:
    (state,) = [each for each in STATES if each.name == name]
    async with in_state(state, (80, 24), DARK, tmp_path) as app:
        lines = [strip.text for strip in app.live.banner.lines]
        assert len(lines) == 1
        assert WHAT_TO_DO[name] in lines[0]
        whole = app.live.message.whole
        app.live.action_help()
        while not (isinstance(app.screen, HelpScreen) and app.screen.page.lines):
            await asyncio.sleep(0.01)
        page = " ".join("".join(strip.text for strip in app.screen.page.lines).split())
        assert " ".join(whole.split()) in page


def test_a_short_form_still_says_what_to_do() -> None:
    error = NotPermitted(
        "looking into process 4711 is not permitted", "it is another user's", "do this, or that"
    )
    forms = error.shorter("no", "n")
    assert fitting((error.sentence, *forms), 200) == error.sentence
    assert fitting((error.sentence, *forms), 40) == "no: do this, or that"
    assert fitting((error.sentence, *forms), 10) == "n: do this"
    assert all("do this" in form for form in forms)
    assert NotPermitted("what", "why").shorter() == ("what: why",)


def test_where_nothing_can_be_done_for_the_best_tracker_it_is_said_why() -> None:
    """Found: of a process with a strict seccomp filter, that another kernel had the second best."""
    filtered = KernelCannot("w", "its seccomp filter forbids the call on pain of death, or may do so: if so")
    target = SimpleNamespace(refused=(filtered, KernelCannot("s", "never sets the bits", "another kernel")))
    *_, shortest = cannot(cast("Target", target))
    assert shortest == "not tracked: its seccomp filter forbids the call on pain of death"


def test_what_auto_passed_over_is_said_as_a_warning() -> None:
    for scan, soft_dirty, tracker in (
        (True, True, "soft-dirty"),
        (True, False, "off"),
        (False, False, "off"),
    ):
        info, notice = tracking(kernel(scan=scan, soft_dirty=soft_dirty))
        assert info.name == tracker
        assert notice.severity == "warning"
        assert info.note in notice.text
        assert all(len(form) <= 76 for form in notice.shorter[-1:])
