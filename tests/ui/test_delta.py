"""What a delta looks at: rows that say something else, and no others."""

from __future__ import annotations

import random
from dataclasses import replace

from fake_target import FakeTarget
from fake_world import FakeMapping, idle, process

from memtop.model.actions import Method
from memtop.model.layout import Kind
from memtop.stream.delta import _touched, delta_object


def test_a_run_more_in_one_mapping_does_not_touch_the_rows_behind_it() -> None:
    def writes(rng: random.Random, tick: int) -> set[int]:
        return set(range(0, 2 * tick, 2))  # one run more each time

    target = FakeTarget(
        process(),
        [
            FakeMapping(0x10000, 64, Kind.ANON, b"", writes),
            *(FakeMapping(0x100000 + i * 0x10000, 4, Kind.ANON, b"", idle) for i in range(300)),
            FakeMapping(0x9000000, 4, Kind.ANON, b"", lambda rng, tick: {1}),
        ],
    )
    target.method = Method.WRITE_PROTECT
    target.sample(1.0)
    last, sample = target.sample(1.0), target.sample(1.0)
    same = replace(sample, table=last.table)
    assert _touched(last, same) == [0, 301]
    assert [row["id"] for row in delta_object(last, same)["changed"]] == [same.table.ids[0]]
