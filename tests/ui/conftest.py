"""Fixtures of the tests of the screen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import textual.pilot

_by_processor_time = textual.pilot.wait_for_idle


@pytest.fixture(autouse=True)
def idle_means_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """``pilot.pause`` takes a process that uses no processor for idle, also one that only gets none."""
    monkeypatch.setattr(textual.pilot, "wait_for_idle", _until_nothing_to_do)


async def _until_nothing_to_do(*seconds: float) -> None:
    """And until the event loop has had nothing to do several times in a row."""
    await _by_processor_time(*seconds)
    loop: Any = asyncio.get_running_loop()
    in_a_row = 0
    for _ in range(10_000):
        await asyncio.sleep(0)
        in_a_row = 0 if loop._ready else in_a_row + 1
        if in_a_row == 3:
            return
