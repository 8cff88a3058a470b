"""Fixtures of the tests that need another kernel, or may change a whole machine's settings.

They run in guests (``make test-kernels``, tools/guests.py), and on the host as far as it makes sense. What a
run is to show in docs/kernels.md and docs/permissions.md is recorded as a property of the test
(``record_property``): the junit file carries it out of the guest.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from life import Life

from memtop.linux.features import probe_kernel

IN_GUEST = "MEMTOP_GUEST" in os.environ


@pytest.fixture(scope="session")
def needs_guest() -> None:
    """Skips outside of a guest: the test changes settings of the whole machine."""
    if not IN_GUEST:
        pytest.skip("missing capability: a machine of its own (make test-kernels)")


@pytest.fixture(scope="session")
def needs_soft_dirty() -> None:
    """Skips where the kernel never sets the bits."""
    feature = probe_kernel().soft_dirty
    if not feature.works:
        pytest.skip(f"missing capability: soft-dirty ({feature.reason})")


@pytest.fixture
def life(build: Callable[[str], Path]) -> Iterator[Life]:
    """A target that makes any system call."""
    with Life(build("life")) as life:
        yield life


@pytest.fixture
def zram_swap(needs_guest: None) -> Iterator[None]:
    """Swap on compressed memory."""
    disk = Path("/sys/block/zram0")
    if not disk.exists():
        pytest.skip("missing capability: zram")
    (disk / "disksize").write_text("128M")
    subprocess.run(["mkswap", "/dev/zram0"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["swapon", "/dev/zram0"], check=True)
    yield
    subprocess.run(["swapoff", "/dev/zram0"], check=True)
    (disk / "reset").write_text("1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """ptrace_scope 3 can't be taken back: what sets it comes last."""
    items.sort(key=lambda item: "ptrace_scope 3" in item.name)
