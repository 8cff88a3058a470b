"""Fixtures of the tests of dumps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import Desk
from dumps import Dumpee
from life import Life


@pytest.fixture
def dumpee(build: Callable[[str], Path]) -> Iterator[Callable[..., Dumpee]]:
    """Starts processes that tell what is true; they end with the test."""
    started: list[Dumpee] = []

    def start(threads: int = 2, pages: int = 256, rate: int = 1000, *watch: str) -> Dumpee:
        started.append(Dumpee(build("dumpee"), threads, pages, rate, *watch))
        return started[-1]

    yield start
    for process in started:
        process.__exit__()


@pytest.fixture
def life(build: Callable[[str], Path]) -> Iterator[Life]:
    """A target that makes any system call."""
    with Life(build("life")) as life:
        yield life


@pytest.fixture
def desk() -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def open_(*args: Any, **options: Any) -> Desk:
        made.append(Desk(*args, **options))
        return made[-1]

    yield open_
    for each in made:
        each.close()
