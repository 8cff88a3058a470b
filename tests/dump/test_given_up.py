"""The tracker that a dump takes along is given up in the middle: a sentence, no file, nothing stale."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Writer

from memtop.dump.feed import SharedFeed
from memtop.dump.image import Freeze
from memtop.dump.job import Job, dump
from memtop.dump.progress import Progress
from memtop.linux.errors import KernelCannot
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.actions import Method
from memtop.sampler.target import Target, open_target

pytestmark = pytest.mark.usefixtures("needs_write_protect")


@pytest.fixture
def target(writer: Writer) -> Iterator[Target]:
    target = open_target(writer.pid, probe_kernel())
    target.arm(Method.WRITE_PROTECT)
    target.tick()
    yield target
    target.close()


def off(target: Target) -> None:
    target.arm(Method.OFF)


def anew(target: Target) -> None:
    """What was written before is protected now, and nobody told of it."""
    target.arm(Method.WRITE_PROTECT)
    target.tick()


@pytest.mark.parametrize(
    ("freeze", "stop"), [(Freeze.FINAL, False), (Freeze.FINAL, True), (Freeze.NONE, False)],
    ids=["final, copying", "final, before the stop", "none"],
)  # fmt: skip
@pytest.mark.parametrize("give_up", [off, anew, Target.close], ids=["off", "anew", "closed"])
def test_in_the_middle(
    writer: Writer, target: Target, tmp_path: Path, give_up: Callable[[Target], None], freeze: Freeze,
    stop: bool,
) -> None:  # fmt: skip
    area = writer.map("a", "private", 64)
    area.fill()
    feed, done, place = SharedFeed(target), False, tmp_path / "place"
    place.mkdir()

    def watch(progress: Progress) -> None:
        nonlocal done
        if not done and (progress.frozen if stop else progress.round):
            done = True
            area.poke(3, 9)
            give_up(target)
            area.poke(20, 2)

    with ProcessHandle.open(writer.pid) as handle:
        job = Job(str(place / "dump"), freeze=freeze)
        with pytest.raises(KernelCannot, match="lost track"):
            dump(job, handle, probe_kernel(), feed=feed, watch=watch)
    feed.close()
    assert os.listdir(place) == []
    area.poke(1)  # it runs on
