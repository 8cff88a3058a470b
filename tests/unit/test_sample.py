"""Rows of a Sample say no more than the tracker knew."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest

from memtop.linux.pagemap import count_kinds
from memtop.model.coverage import Coverage, Exactness
from memtop.model.layout import COUNT, MAPPING, PAGE, CountFlag, Kind, Perm
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRun, PageRuns
from memtop.model.sample import Process, Sample, Totals, TrackerInfo
from memtop.stream.jsonl import sample_object


def table_of(*ranges: tuple[int, int, Kind, bytes]) -> MappingTable:
    names = b"".join(name for *_, name in ranges)
    packed, at = b"", 0
    for start, end, kind, name in ranges:
        packed += MAPPING.pack(start, end, 0, 0, 0, 0, at, len(name), Perm.READ | Perm.WRITE, kind)
        at += len(name)
    return MappingTable(packed, names, array("Q", range(1, len(ranges) + 1)))


def a_sample(coverage: Coverage, flags: CountFlag = CountFlag.SCANNED, *, interval: float = 2.0) -> Sample:
    table = table_of((0x1000, 0x9000, Kind.ANON, b""), (0x20000, 0x28000, Kind.HEAP, b"[heap]"))
    runs = PageRuns.of([PageRun(0x1000, 2), PageRun(0x5000, 1), PageRun(0x20000, 1)])
    counts = COUNT.pack(8, 0, 0, 0, 0, 3, 0, 0, 0, 2, flags, 0) + COUNT.pack(
        1, 0, 0, 0, 0, 1, 0, 0, 2, 1, 1, 0
    )
    return Sample(
        time=1.0,
        interval=interval,
        process=Process(1, 2, "boot", "comm", "cmd", "user", "host"),
        tracker=TrackerInfo("write-protect", Exactness.EXACT),
        table=table,
        counts=counts,
        coverage=bytes([coverage, Coverage.EXACT]),
        runs=runs,
        totals=Totals(),
    )


def test_resident_memory_by_kind() -> None:
    by_kind = dict(
        zip(Kind, count_kinds(a_sample(Coverage.EXACT).table, a_sample(Coverage.EXACT).counts), strict=True)
    )
    assert {kind: pages for kind, pages in by_kind.items() if pages} == {Kind.ANON: 8, Kind.HEAP: 1}


def test_each_row_has_its_own_runs() -> None:
    first, second = a_sample(Coverage.EXACT).mappings
    assert [(r.start, r.pages) for r in first.written] == [(0x1000, 2), (0x5000, 1)]
    assert [(r.start, r.pages) for r in second.written] == [(0x20000, 1)]
    assert first.written_pages == 3
    assert first.written_bytes_per_s == 3 * PAGE / 2


@pytest.mark.parametrize("coverage", list(Coverage))
def test_what_is_not_tracked_is_unknown_never_zero(coverage: Coverage) -> None:
    row = a_sample(coverage).mappings[0]
    if coverage.exactness is Exactness.NONE:
        assert row.written_pages is None
        assert row.written_bytes_per_s is None
        assert len(row.written) == 0
    else:
        assert row.written_pages == 3
    assert coverage.reason


def test_what_was_not_scanned_is_unknown() -> None:
    row = a_sample(Coverage.EXACT, CountFlag(0)).mappings[0]
    assert (row.resident, row.huge, row.zero, row.written_pages) == (None, None, None, None)


def test_a_written_huge_page_makes_an_exact_mapping_coarser() -> None:
    row = a_sample(Coverage.EXACT, CountFlag.SCANNED | CountFlag.WRITTEN_HUGE).mappings[0]
    assert row.exactness is Exactness.HUGE_PAGE


def test_a_baseline_counts_nothing_as_written() -> None:
    row = replace(a_sample(Coverage.BASELINE), baseline=True).mappings[0]
    assert (row.written_pages, row.written_bytes_per_s, len(row.written)) == (0, 0.0, 0)


def test_a_first_sample_has_no_rate_to_divide_by() -> None:
    assert a_sample(Coverage.EXACT, interval=0.0).mappings[0].written_bytes_per_s == 0.0


def test_rows_from_the_end_are_the_same_rows() -> None:
    rows = a_sample(Coverage.EXACT).mappings
    assert rows[-1].mapping == rows[1].mapping
    with pytest.raises(IndexError):
        rows[2]


def test_the_stream_says_null_where_nothing_is_known() -> None:
    row = sample_object(a_sample(Coverage.FILE_LEFT_OUT), pages=True)["mappings"][0]
    assert row["written_pages"] is None
    assert row["exactness"] == "none"
    assert "file mapping" in row["reason"]
    assert row["written"] == []


def test_the_stream_lists_written_pages_on_request() -> None:
    assert sample_object(a_sample(Coverage.EXACT), pages=True)["mappings"][0]["written"] == [
        ["0x1000", 2],
        ["0x5000", 1],
    ]
    assert "written" not in sample_object(a_sample(Coverage.EXACT))["mappings"][0]
