"""Fixtures of the lifecycle tests: a target that makes any system call, and memtop's tracker on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Tracked
from life import Life, Span, Watch


@pytest.fixture
def life(build: Callable[[str], Path]) -> Iterator[Life]:
    """A fresh target."""
    with Life(build("life")) as life:
        yield life


@pytest.fixture
def area(life: Life) -> Span:
    """Exists, every page written, before tracking starts."""
    area = life.map(64)
    area.write()
    return area


@pytest.fixture
def watch(life: Life, area: Span, tracked: Callable[[int], Tracked]) -> Watch:
    """Armed, with the baseline behind it."""
    return Watch(tracked, life)
