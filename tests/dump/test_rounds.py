"""When to stop copying, by numbers; and what memory is dumped, by rules."""

from __future__ import annotations

import random

import pytest

from memtop.dump.extents import Extents, page_index
from memtop.dump.image import Round
from memtop.dump.rounds import SMALL, TINY, Limits, Verdict, explain, judge
from memtop.linux.runsets import chop
from memtop.linux.vmread import Pieces
from memtop.model.layout import PAGE, PIECE
from memtop.model.runs import PageRun, PageRuns


@pytest.mark.parametrize(
    ("pages", "dirty", "elapsed", "verdict"),
    [
        ([100_000], TINY, 1.0, Verdict.SMALL),
        ([100_000], SMALL, 1.0, Verdict.GO_ON),
        ([100_000, SMALL], SMALL, 1.0, Verdict.SMALL),
        ([100_000], 100_000, 1.0, Verdict.GO_ON),
        ([100_000], 10_000, 1.0, Verdict.GO_ON),
        ([100_000, 10_000], 9_000, 1.0, Verdict.GO_ON),
        ([100_000, 90_000], 80_000, 1.0, Verdict.STUCK),
        ([100_000, 50_000, 10_000], 9_000, 1.0, Verdict.GO_ON),
        ([100_000, 2_000, 9_000], 9_000, 1.0, Verdict.GO_ON),
        ([100_000, 50_000, 10_000, 9_000], 8_000, 1.0, Verdict.ROUNDS),
        ([100_000], 10_000, 10.0, Verdict.TIME),
    ],
)
def test_verdicts(pages: list[int], dirty: int, elapsed: float, verdict: Verdict) -> None:
    rounds = [Round(n, 0.5) for n in pages]
    found = judge(rounds, dirty, elapsed, Limits(4, 10.0))
    assert found is verdict
    said = explain(found, rounds, dirty)
    assert bool(said) == (verdict not in (Verdict.SMALL, Verdict.GO_ON))
    if verdict is Verdict.STUCK:
        assert "does not converge" in said
        assert "312M written while 352M were copied" in said


def test_what_was_written_while_memtop_waited_is_not_put_on_the_copying() -> None:
    """On a machine with much to do, most of the time goes by between the rounds."""
    rounds = [Round(1000, 0.5), Round(900, 0.3)]
    said = explain(Verdict.STUCK, rounds, 800, 4.0)
    assert "3.1M written in 4.0s, of which 0.3s went into copying 3.5M" in said
    assert "while" not in said
    assert "written while" in explain(Verdict.STUCK, rounds, 800, 0.31)


def random_runs(rng: random.Random, pages: int = 4000) -> PageRuns:
    runs, at = [], rng.randrange(5)
    while at < pages:
        length = rng.randrange(1, 40)
        runs.append(PageRun(at * PAGE, length))
        at += length + rng.randrange(1, 200)
    return PageRuns.of(runs)


@pytest.mark.parametrize(("granule", "gap"), [(PAGE, 0), (2 << 20, 16 << 20), (1 << 16, 1 << 18)])
def test_every_page_has_one_place_and_keeps_it(granule: int, gap: int) -> None:
    rng = random.Random(granule)
    extents, places = Extents(8192, granule, gap), {}
    for _ in range(20):
        runs = random_runs(rng)
        extents.cover(runs)
        pieces = extents.pieces(runs)
        assert pieces.pages == runs.pages
        for address, offset, pages, _ in PIECE.iter_unpack(pieces.packed):
            for i in range(pages):
                assert places.setdefault(address + i * PAGE, offset + i * PAGE) == offset + i * PAGE
    assert len(set(places.values())) == len(places)
    assert all(8192 <= offset < extents.at for offset in places.values())
    ordered = [start for start, _, _ in extents]
    assert ordered == sorted(ordered)


def test_runs_are_chopped_and_found_again() -> None:
    runs = random_runs(random.Random(1))
    parts = list(chop(runs, 100))
    assert all(part.pages == 100 for part in parts[:-1])
    assert set().union(*(part.addresses() for part in parts)) == runs.addresses()
    index = Pieces.of_runs(runs)
    for number, address in enumerate(sorted(runs.addresses())):
        assert page_index(index, address) == number
