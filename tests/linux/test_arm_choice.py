"""``--arm``: which mappings are tracked; and what ``auto`` takes where huge pages dominate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from harness import Seen, Writer, mapping_at, run

from memtop.linux.features import Feature, probe_kernel
from memtop.model.actions import Arm, Care, Method
from memtop.model.coverage import Coverage
from memtop.sampler.target import open_target
from memtop.tracking.choose import Share, prefers_soft_dirty

SHARED_FILE = "shared-file"
KINDS = ("anon", "shared", "private-file", SHARED_FILE)


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize("arm", list(Arm))
def test_what_is_armed_reports_its_writes_and_the_rest_why_not(writer: Writer, arm: Arm) -> None:
    areas = {kind: writer.map(kind.replace("-", ""), kind, 20) for kind in KINDS}
    for area in areas.values():
        area.fill()
    target = open_target(writer.pid, probe_kernel(), care=Care(arm))
    try:
        target.arm(Method.WRITE_PROTECT)
        target.tick()
        wrote = {kind: area.poke(3, 2) for kind, area in areas.items()}
        seen = Seen(target.tick())
        for kind, area in areas.items():
            row = seen.row(area)
            if arm is Arm.ALL or (arm is Arm.FILE) == (kind == SHARED_FILE):
                assert seen.runs(area) == wrote[kind]
            else:
                assert row.written_pages is None
                left_out = Coverage.FILE_LEFT_OUT if arm is Arm.ANON else Coverage.ANON_LEFT_OUT
                assert row.coverage is left_out
                assert "--arm" in row.coverage.reason
        libraries = [row for row in seen.sample.mappings if row.mapping.name.endswith(".so.6")]
        assert any(row.coverage is Coverage.FILE_LEFT_OUT for row in libraries) == (arm is Arm.ANON)
    finally:
        target.close()


@pytest.mark.usefixtures("needs_write_protect")
def test_a_choice_can_be_made_later(writer: Writer) -> None:
    area = writer.map("file", SHARED_FILE, 20)
    area.fill()
    target = open_target(writer.pid, probe_kernel())
    try:
        assert Seen(target.tick()).row(area).coverage is Coverage.OFF
        few, all_ = target.arm_cost(Method.AUTO), target.arm_cost(Method.AUTO, Arm.ALL)
        assert few is not None
        assert all_ is not None
        assert few.file_pages == 0
        assert all_.file_pages >= 20
        assert "page by page" in all_.sentence
        assert all_.left_out < few.left_out
        target.arm(Method.WRITE_PROTECT, Arm.ALL)
        target.tick()
        wrote = area.poke(1)
        assert Seen(target.tick()).runs(area) == wrote
    finally:
        target.close()


@pytest.mark.usefixtures("needs_write_protect")
def test_the_option(writer: Writer) -> None:
    area = writer.map("file", SHARED_FILE, 20)
    area.fill()
    words = ["batch", "-p", str(writer.pid), "-n", "1", "--json", "--track", "write-protect"]
    plain = mapping_at(run(*words).samples[0], area.start)
    assert plain["exactness"] == "none"
    assert "--arm all" in plain["reason"]
    chosen = run(*words, "--arm", "all")
    chosen.said("files will be mapped page by page")
    assert mapping_at(chosen.samples[0], area.start)["exactness"] == "approximate"


# ---- auto -------------------------------------------------------------------------------------------

GIB = 1 << 30


@pytest.mark.parametrize(
    ("huge", "works", "first"),
    [
        (Share(6 * GIB, 10 * GIB), True, True),
        (Share(5 * GIB, 10 * GIB), True, False),
        (Share(6 * GIB, 10 * GIB), False, False),
        (Share(6 * GIB, 10 * GIB), None, False),
        (Share(0, 0), True, False),
    ],
)
def test_auto_prefers_what_splits_nothing_where_huge_pages_dominate(
    huge: Share, works: bool | None, first: bool
) -> None:
    kernel = replace(probe_kernel(), soft_dirty=Feature("soft-dirty", works))
    assert prefers_soft_dirty(kernel, huge) is first


@pytest.mark.usefixtures("needs_pagemap_scan")
def test_auto_says_why_it_took_soft_dirty(writer: Writer) -> None:
    """The choice alone: where this kernel lacks soft-dirty, it is told that it has it."""
    area = writer.map("huge", "thp", 8 * 512)
    area.fill()
    kernel = replace(probe_kernel(), soft_dirty=Feature("soft-dirty", True))
    target = open_target(writer.pid, kernel)
    try:
        sample = target.tick()
        if not sample.totals.huge or sample.totals.huge * 2 <= sample.totals.resident:
            pytest.skip("missing capability: transparent huge pages (off, or none free)")
        cost = target.arm_cost(Method.AUTO)
        assert cost is not None
        assert cost.method is Method.AUTO
        assert "soft-dirty" in cost.sentence
        target.arm(Method.AUTO)
        assert target.tracker_info.name == "soft-dirty"
        assert "huge pages, which soft-dirty does not split" in target.tracker_info.note
    finally:
        target.close()
