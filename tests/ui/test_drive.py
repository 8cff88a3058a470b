"""Random keys, clicks, sizes and changes of processes: the short form of ``drive.py``."""

from __future__ import annotations

import pytest
from drive import drive
from drive_picker import PickerDrive


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_fails_jumps_leaks_or_hits_something_else(seed: int) -> None:
    counts = await drive(seed, 120)
    assert counts["tick"] > 5
    assert counts["world"] > 5


async def test_the_picker_neither_fails_nor_jumps_nor_opens_something_else() -> None:
    counts = await PickerDrive(1).run(150)
    assert counts["opened"] > 3
    assert counts["change"] > 10
