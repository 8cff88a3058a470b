"""The injector is killed with SIGKILL at each of its system calls: the target gives itself back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import descriptors
from injectee import Injectee

from harm.strike import Blow, Outcome, strike

pytestmark = pytest.mark.usefixtures("needs_write_protect")

USERFAULTFD = "anon_inode:[userfaultfd]"
MODES = ["registers", "alarm", "traps", "threads", "nanosleep", "poll", "ppoll", "futex", "timerfd", "pipe"]
MODES += ["wait4"]
# A stop makes these say EINTR. That can be undone from the first writing of registers on, not before.
INTERRUPTED = ["epoll", "semtimedop", "receive", "accept"]


@pytest.fixture
def start(build: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[[str], Injectee]]:
    started: list[Injectee] = []

    def one(mode: str) -> Injectee:
        started.append(Injectee(build("injectee"), mode, tmp_path))
        return started[-1]

    yield one
    for injectee in started:
        injectee.close()


def hit(target: Injectee, at: int) -> Outcome:
    return strike(target.pid, target.pid, Blow("injector", "step", at))


@pytest.fixture
def points(start: Callable[[str], Injectee]) -> list[str]:
    """The stops of an injection that nobody disturbs."""
    target = start("registers")
    found = strike(target.pid, target.pid, Blow("nobody", "step", -1)).points
    target.finish()
    return found


@pytest.mark.parametrize("mode", MODES + INTERRUPTED)
def test_killed_at_each_system_call(mode: str, start: Callable[[str], Injectee], points: list[str]) -> None:
    first = 0
    if mode in INTERRUPTED:
        first = max(i for i, point in enumerate(points) if point.startswith("before SETREGSET"))
        first = points.index("after SETREGSET 1", 0, first)
    target = start(mode)
    maps, table, lasting = target.trace()
    used = 0
    for at in range(first, len(points) + 8):
        outcome = hit(target, at)
        target.goes_on()
        now = [name for name in descriptors(target.pid).values() if name == USERFAULTFD]
        assert len(now) - used <= 1, outcome.point
        used = len(now)
    maps_now, table_now, lasting_now = target.trace()
    assert (maps_now, lasting_now) == (maps, lasting)
    assert {fd: name for fd, name in table_now.items() if name != USERFAULTFD} == table
    target.finish()


def test_a_filter_sees_nothing_but_sigreturn_until_the_call(
    needs_root: None, start: Callable[[str], Injectee]
) -> None:
    """One that would kill the target for the call itself, suspended only as long as the injector lives."""
    target = start("filtered")
    for at in range(1000):
        known = strike(target.pid, target.pid, Blow("nobody", "step", -1)).points
        if at > known.index("before SETREGSET 2") - 2:  # it may make one call less the next time
            break
        hit(target, at)
        target.goes_on()
    target.finish()
