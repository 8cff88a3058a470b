"""The injector is killed or late: memtop tries again if nothing was changed yet. Its end may take time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import descriptors
from injectee import Injectee

from harm.strike import Blow, strike
from memtop.linux import ptrace
from memtop.linux.errors import Failed
from memtop.linux.ptrace import Stage, create_userfaultfd

pytestmark = pytest.mark.usefixtures("needs_write_protect")

USERFAULTFD = "anon_inode:[userfaultfd]"
UNTOUCHED = ["before SEIZE 1", "after SEIZE 1", "after INTERRUPT 1", "before waitid 2", "after GETSIGMASK 1"]
CHANGED = "before process_vm_writev 1"
END = "before setpriority 1"


@pytest.fixture
def target(
    build: Callable[[str], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Injectee]:
    target = Injectee(build("injectee"), getattr(request, "param", "nanosleep"), tmp_path)
    yield target
    target.close()


def without_stack(maps: str) -> list[str]:
    return [line for line in maps.splitlines() if not line.endswith("[stack]")]


def is_as_before(target: Injectee, before: tuple[str, dict[str, str], dict[str, str]]) -> bool:
    maps, table, lasting = target.trace()
    return (without_stack(maps), table, lasting) == (without_stack(before[0]), *before[1:])


@pytest.mark.parametrize("target", ["nanosleep", "poll", "futex"], indirect=True)
def test_killed_before_it_changed_anything(target: Injectee) -> None:
    before = target.trace()
    for point in UNTOUCHED:
        outcome = strike(target.pid, target.pid, Blow("injector", "step", 0, point))
        assert outcome.fell, point
        assert outcome.words == "", point
        assert is_as_before(target, before), point
    target.goes_on()
    target.finish()


def test_killed_when_it_was_at_work(target: Injectee) -> None:
    """The thread gives itself back, in its own time: memtop does not go on."""
    outcome = strike(target.pid, target.pid, Blow("injector", "step", 0, CHANGED))
    assert outcome.fell
    assert "was ended by a signal (Killed)" in outcome.words
    target.goes_on()
    target.finish()


def test_killed_each_time(target: Injectee, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up in the end, with the reason; the target was never touched."""
    tries = []

    class Killed:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def mt_inject_uffd(self, pid: int, tid: int, pidfd: int, timeout_ms: int, out: Any) -> int:
            tries.append(tid)
            out.stage, out.error, out.uffd, out.touched = Stage.KILLED, signal.SIGKILL, -1, 0
            return int(Stage.KILLED)

    real = ptrace.lib
    monkeypatch.setattr(ptrace, "lib", Killed())
    with (
        target.handle() as process,
        pytest.raises(Failed, match=r"was ended by a signal \(Killed\), 3 times"),
    ):
        create_userfaultfd(process)
    assert tries == [target.pid] * 3
    target.finish()


def test_one_that_takes_long_to_end_has_done_its_work(target: Injectee) -> None:
    """It comes last then (turn.c): with much to do for the machine, its end took too long for memtop."""
    before = target.trace()
    outcome = strike(target.pid, target.pid, Blow("late", "step", 0, END))
    assert outcome.fell
    assert outcome.words == ""
    assert outcome.kept
    assert USERFAULTFD not in outcome.kept, "it would keep others from tracking the target"
    assert is_as_before(target, before)
    assert USERFAULTFD not in descriptors(target.pid).values()
    target.goes_on()
    target.finish()


@pytest.mark.skipif("MEMTOP_LONG" not in os.environ, reason="takes seconds: only with MEMTOP_LONG=1")
def test_one_that_gets_no_processor_is_called_off(target: Injectee) -> None:
    before = target.trace()
    outcome = strike(target.pid, target.pid, Blow("late", "step", 0, UNTOUCHED[0]))
    assert outcome.fell
    assert outcome.words == ""
    assert is_as_before(target, before)
    target.finish()
