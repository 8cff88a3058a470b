"""What is said of processes that can't be looked at: before the terminal is taken, and after."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from threading import Event

import pytest
from harness import PATIENCE

from memtop.cli.live import parser
from memtop.cli.opening import Opening, find
from memtop.linux.errors import MemtopError, ProcessGone
from memtop.model.actions import Notice


@pytest.fixture
def cats() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes that run until their input ends."""
    both = [subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(2)]
    try:
        yield both
    finally:
        for each in both:
            end(each)


def end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def test_those_that_are_there_are_found_the_others_complained_of(
    cats: list[subprocess.Popen[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (each.pid for each in cats)
    refused: list[MemtopError] = []
    assert [process.pid for process in find([one, other], refused)] == [one, other]
    end(cats[0])
    assert [process.pid for process in find([one, other], refused)] == [other]
    assert capsys.readouterr().err == f"memtop: there is no process {one}\n"
    assert [error.sentence for error in refused] == [f"there is no process {one}"], "the screen says it, too"
    end(cats[1])
    with pytest.raises(ProcessGone, match=f"there is no process {one}"):
        find([one, other], refused)
    assert capsys.readouterr().err == ""


def test_one_that_ends_behind_the_first_picture_is_a_notice(
    cats: list[subprocess.Popen[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    pids = [each.pid for each in cats]
    opening = Opening(pids, find(pids, []), parser().parse_args([]))
    end(cats[0])
    told, sampled = Event(), Event()
    notices: list[Notice] = []

    def on_notice(notice: Notice) -> None:
        notices.append(notice)
        told.set()

    sampler = opening.source()
    try:
        sampler.start(lambda sample: sampled.set(), on_notice)
        assert told.wait(PATIENCE)
        assert sampled.wait(PATIENCE)
    finally:
        sampler.stop()
    assert [notice.text for notice in notices] == [f"there is no process {pids[0]}"]
    assert capsys.readouterr().err == ""  # the terminal belongs to the screen by then


def test_all_that_end_behind_the_first_picture_are_an_error(cats: list[subprocess.Popen[bytes]]) -> None:
    pids = [each.pid for each in cats]
    opening = Opening(pids, find(pids, []), parser().parse_args([]))
    for each in cats:
        end(each)
    with pytest.raises(ProcessGone):
        opening.source()
