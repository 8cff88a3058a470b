import pytest

from memtop.model import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (512, "512B"),
        (4096, "4.0K"),
        (65536, "64K"),
        (1000 * 1024, "1.0M"),
        (380 * 2**20, "380M"),
        (1.5 * 2**30, "1.5G"),
        (16 * 2**40, "16T"),
        (9.96 * 2**20, "10M"),
    ],
)
def test_size(value: float | None, text: str) -> None:
    assert units.size(value) == text


@pytest.mark.parametrize("value", [10**k * m for k in range(19) for m in (1, 2.5, 9.99, 9.949)])
def test_sizes_and_counts_never_outgrow_their_column(value: float) -> None:
    assert len(units.size(value)) <= 4
    assert len(units.count(value)) <= 4


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (300, "5m"),
        (3720, "1h02m"),
        (86400, "1d"),
        (86400 * 4 + 3 * 3600, "4d3h"),
        (-3, "0s"),
    ],
)
def test_duration(value: float, text: str) -> None:
    assert units.duration(value) == text


def test_rate_of_nothing_has_no_unit() -> None:
    assert (units.rate(0), units.rate(None), units.rate(2048)) == ("0", "–", "2.0K/s")


def test_percent_of_nothing_is_unknown() -> None:
    assert units.percent(1, 0) == "–"
    assert units.percent(None, 5) == "–"
    assert units.percent(1, 1000) == "<1%"
    assert units.percent(62, 100) == "62%"


def test_a_time_of_day_names_its_zone() -> None:
    assert units.clock(1795290847.9) == "19:54:07Z"
