"""What the header says beside the totals: working sets, kinds, uptime."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fake import FakeSource
from screen import opened

from memtop.model.actions import Method
from memtop.model.layout import PAGE, Kind
from memtop.model.units import size
from memtop.ui.lines import width_of
from memtop.ui.theme import DARK
from memtop.ui.widgets.header import interval_forms
from memtop.ui.widgets.kinds import kinds_runs, shares


async def test_written_working_set_is_what_was_written_since_arming_at_first() -> None:
    async with opened(ticks=1) as screen:
        assert "SET –" in screen.text
        pages: set[int] = set()
        for _ in range(5):
            await screen.tick()
            pages |= screen.live.view.sample.runs.addresses()
        assert f"SET 5.0s {size(len(pages) * PAGE)}" in screen.lines[1]
        await screen.tick(20)
        assert re.search(r"SET 1[012]s +\S+ · 2[345]s +\S+", screen.lines[1])


async def test_no_working_set_without_tracking() -> None:
    async with opened(arm=False) as screen:
        assert "SET" not in screen.text.split("NAME")[0]


async def test_uptime_where_there_is_room() -> None:
    async with opened() as screen:
        assert "up 3d3h" in screen.lines[0]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_kinds_fill_one_line_and_add_up(width: int) -> None:
    target = FakeSource().target
    target.method = Method.AUTO
    sample = target.sample(1.0)
    parts = shares(sample)
    assert sum(share for _, share in parts) == pytest.approx(1)
    assert [share for kind, share in parts if kind is not None] == sorted(
        (share for kind, share in parts if kind is not None), reverse=True
    )
    anon = sum(m.resident or 0 for m in sample.mappings if m.mapping.kind is Kind.ANON)
    assert dict(parts)[Kind.ANON] == pytest.approx(anon / sample.totals.resident)
    runs = kinds_runs(sample, width, DARK)
    assert width_of(runs) == width - 1  # the last cell stays free
    assert "anon" in runs[1][0]


async def test_kinds_stand_on_tall_screens_only() -> None:
    async with opened(size=(80, 24)) as screen:
        assert "RSS is anon" not in screen.text
    async with opened(size=(80, 40)) as screen:
        assert "RSS is anon" in screen.text


@pytest.mark.parametrize(
    ("measured", "stretched", "says"),
    [
        (1.0, False, "every 1.0s"),
        (1.04, True, "every 1.0s"),
        (1.2, False, "every 1.2s, asked 1.0s"),
        (1.2, True, "every 1.2s (budget), asked 1.0s"),
    ],
)
async def test_an_interval_is_said_twice_only_where_it_differs(
    measured: float, stretched: bool, says: str
) -> None:
    async with opened() as screen:
        sample = replace(screen.live.view.sample, interval=measured, stretched=stretched)
        assert "".join(text for text, _ in interval_forms(sample, 1.0, DARK)[0]) == says
