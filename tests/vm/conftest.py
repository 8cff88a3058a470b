"""Fixtures of the tests that need another kernel, or may change a whole machine's settings.

They run in guests (``make test-kernels``, tools/guests.py), and on the host as far as it makes sense. What a
run is to show in docs/kernels.md and docs/permissions.md is recorded as a property of the test
(``record_property``): the junit file carries it out of the guest.
"""

from __future__ import annotations

import os
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """ptrace_scope 3 can't be taken back: what sets it comes last."""
    items.sort(key=lambda item: "ptrace_scope 3" in item.name)
