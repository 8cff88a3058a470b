"""What is said before tracking starts: other users of soft-dirty lose their state, and who stands still."""

from __future__ import annotations

import pytest

from memtop.model.actions import ArmCost, Method


@pytest.mark.parametrize(
    "cost",
    [
        ArmCost(Method.SOFT_DIRTY, 3, 0, 100, 0),
        ArmCost(Method.AUTO, 3, 0, 100, 0, expected=Method.SOFT_DIRTY),
        ArmCost(Method.AUTO, 3, 0, 100, 0, fallback=Method.SOFT_DIRTY),
    ],
    ids=["asked for", "auto's first choice", "auto's second choice"],
)
def test_whoever_may_be_disturbed_is_named(cost: ArmCost) -> None:
    assert "CRIU" in cost.sentence
    assert "write-protect 3 mappings" in cost.sentence or cost.fallback is None


def test_a_stop_of_all_threads_is_said() -> None:
    assert "all threads stop" in ArmCost(Method.SOFT_DIRTY, 3, 0, 100, 0, freeze=True).sentence
    assert "all threads" not in ArmCost(Method.SOFT_DIRTY, 3, 0, 100, 0).sentence


def test_write_protect_alone_disturbs_nobody() -> None:
    assert "CRIU" not in ArmCost(Method.WRITE_PROTECT, 3, 0, 100, 0).sentence
