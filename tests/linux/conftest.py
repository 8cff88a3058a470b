"""Fixtures of the lifecycle tests: a target that makes any system call, and memtop's tracker on it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Tracked
from life import Life, Span, Watch

LIBC = ctypes.CDLL(None, use_errno=True)


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


@pytest.fixture
def swap(tmp_path: Path, needs_root: None) -> Iterator[None]:
    """Some swap space of the test's own, off again afterwards."""
    path = tmp_path / "swap"
    mkswap = shutil.which("mkswap", path="/sbin:/usr/sbin:" + os.environ.get("PATH", ""))
    if mkswap is None:
        pytest.skip("missing capability: mkswap")
    path.touch(0o600)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 16 << 20)
    subprocess.run([mkswap, path], check=True, capture_output=True)
    if LIBC.swapon(str(path).encode(), 0):
        pytest.skip(f"missing capability: swapon ({os.strerror(ctypes.get_errno())})")
    try:
        yield
    finally:
        assert LIBC.swapoff(str(path).encode()) == 0
