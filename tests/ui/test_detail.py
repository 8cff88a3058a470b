"""The detail pane: what it says, when it asks, and what it says where nothing can be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake import FakeSource
from fake_target import FakeTarget
from fake_world import FakeMapping, hot, idle, process
from screen import Driver, opened

from memtop.model.actions import Method
from memtop.model.coverage import Coverage
from memtop.model.detail import Detail, Numa
from memtop.model.layout import PAGE, Kind, Perm
from memtop.model.sample import Life, Sample
from memtop.sampler.past import Past
from memtop.sampler.source import Key
from memtop.ui.detail_lines import numa_words
from memtop.ui.story import Storyteller

REDIS = (4711, 92711)


def pane(screen: Driver) -> str:
    region = screen.live.pane.region
    return "\n".join(screen.lines[region.y : region.bottom])


def asked(screen: Driver) -> list[tuple[object, ...]]:
    return [each[1:] for each in screen.source.asked if each[0] == "detail"]


def answering(answer: Detail) -> Callable[[Key, int], Detail]:
    return lambda key, mapping_id: answer


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
async def test_all_of_it_can_be_seen_at_any_size(size: tuple[int, int]) -> None:
    async with opened(size=size, ticks=5) as screen:
        await screen.press("i")
        await screen.press("enter")
        seen = ""
        for _ in range(30):
            seen += pane(screen)
            await screen.press("down")
        words = " ".join(seen.split())
        for part in (
            *(
                "there before",
                "written",
                "most",
                "Rss",
                "Private_Dirty",
                "Swap ",
                "THPeligible",
                "0: Shared_",
            ),
            *("soft-dirty", "advised: huge pages", "not known to memtop", "may have huge pages"),
            *("bound to nodes 0-1", "on node 1", "3 times at most"),
        ):
            assert part in words, part
        assert max(map(len, screen.lines)) == size[0]
        await screen.press("escape")
        await screen.press("i")
        assert "smaps" not in pane(screen)


async def test_it_is_read_once_a_mapping_and_again_only_on_request() -> None:
    async with opened(ticks=3) as screen:
        assert asked(screen) == [], "nothing is read before the pane is open"
        await screen.press("i")
        await screen.tick(5)
        first = screen.live.view.selected
        assert asked(screen) == [(REDIS, first, False)], "12 ms are too dear for every tick"
        await screen.press("enter", "r")
        assert asked(screen)[1:] == [(REDIS, first, True)]
        await screen.press("escape", "down")
        second = screen.live.view.selected
        assert asked(screen)[2:] == [(REDIS, second, False)]
        assert second != first


async def test_what_is_cheap_follows_the_samples() -> None:
    async with opened(ticks=3) as screen:
        real = FakeSource.details

        def cheap(key: Key, mapping_id: int) -> Detail:
            answer = real(screen.source, key, mapping_id)
            return Detail(answer.address, answer.time, 0.0002, answer.smaps, answer.huge, answer.numa)

        screen.source.details = cheap
        await screen.press("i")
        await screen.tick(8)
        assert 3 <= len(asked(screen)) <= 5, "every two seconds, of samples that come every second"


async def test_while_frozen_nothing_is_read_but_by_a_key() -> None:
    async with opened(ticks=5) as screen:
        await screen.press("space", "i")
        assert asked(screen) == []
        assert "frozen, so nothing is read" in pane(screen)
        assert "written" in pane(screen), "what memtop knows itself is there"
        await screen.press("enter", "r")
        assert len(asked(screen)) == 1
        assert "Rss" in pane(screen)
        await screen.press("shift+left", "shift+left")
        assert "Rss" in pane(screen), "what was read stays, with its time"
        assert len(asked(screen)) == 1
        await screen.press("escape", "space", "down")
        await screen.tick()
        assert len(asked(screen)) == 2


async def test_what_is_dear_says_so_and_waits_for_the_key() -> None:
    async with opened(ticks=3) as screen:
        real, dear = screen.source.details, Detail(0, 0.0, why="not read: … about 16s", dear=True)
        screen.source.details = answering(dear)
        await screen.press("i")
        assert "about 16s · Enter, then r reads it" in pane(screen)
        await screen.press("enter")
        assert "about 16s · r reads it" in pane(screen)
        screen.source.details = real
        await screen.press("r")
        assert "Rss" in pane(screen)


async def test_the_process_has_ended() -> None:
    async with opened(ticks=3) as screen:
        await screen.press("i")
        screen.source.target.life = Life.ENDED
        await screen.tick()
        assert "Rss" in pane(screen), "what was read stays"
        await screen.press("down")
        assert "the process has ended" in pane(screen)
        assert len(asked(screen)) == 1


async def test_refused() -> None:
    why = "reading smaps of process 4711 is not permitted: it belongs to user 33 (run memtop as root)"
    async with opened(ticks=3) as screen:
        screen.source.details = answering(Detail(0, 0.0, why=why))
        await screen.press("i")
        assert why in pane(screen)
        assert " flags    –" in pane(screen)
        assert " numa     –" in pane(screen)


async def test_what_failed_this_time_leaves_what_was_read() -> None:
    async with opened(ticks=3) as screen:
        await screen.press("i")
        screen.source.details = answering(Detail(0, 0.0, why="nothing is mapped there any more"))
        await screen.press("enter", "r")
        assert "nothing is mapped there any more" in pane(screen)
        assert "Rss" in pane(screen)


# ---- history -------------------------------------------------------------------------------------------


def one(pages: int = 1000, **facts: Any) -> FakeMapping:
    return FakeMapping(0x7F0000000000, pages, Kind.ANON, b"", hot(0, 10), **facts)


async def test_what_happened_to_it() -> None:
    target = FakeTarget(process(), [one()])
    late = FakeMapping(0x7F1000000000, 10, Kind.ANON, b"", idle)
    async with opened(FakeSource(target), ticks=3) as screen:
        await screen.press("i")
        target.mappings[0].pages = 1500
        await screen.tick()
        target.mappings[0].perms = Perm.READ
        await screen.tick()
        target.mappings[0].pages = 700
        target.mappings.append(late)
        await screen.tick()
        text = pane(screen)
        assert "there before 23:41:08Z" in text
        assert "grew by 2.0M to 5.9M" in text
        assert "rw-p became r--p" in text
        assert "shrank by 3.1M to 2.7M" in text
        assert text.index("shrank") < text.index("became") < text.index("grew"), "the newest first"
        await screen.press("end")
        assert "appeared by 23:41:13Z" in pane(screen)
        assert "written" in pane(screen)


async def test_what_was_not_tracked_is_no_zero() -> None:
    left_out = one(coverage=Coverage.FILE_LEFT_OUT)
    async with opened(FakeSource(FakeTarget(process(), [left_out])), ticks=4) as screen:
        await screen.press("i")
        assert "written – (file mapping, left alone" in pane(screen)


def test_written_adds_up_and_each_sample_is_looked_at_once() -> None:
    target = FakeTarget(process(), [one()])
    source = FakeSource(target)
    past, samples = Past(), list[Sample]()

    def keep(sample: Sample) -> None:
        past.add(sample)
        samples.append(sample)

    source.start(keep, print)
    source.arm(REDIS, Method.AUTO)
    source.tick(20)
    teller = Storyteller()
    story = teller.tell(1, past.kept, samples[-1].time)
    assert story is not None
    assert story.written == sum(sample.runs.pages for sample in samples) * PAGE
    assert story.peak is not None
    assert story.peak[0] == pytest.approx(max(s.runs.pages for s in samples) * PAGE, rel=0.01)
    half = teller.tell(1, past.kept, samples[9].time)
    assert half is not None
    assert half.written == sum(sample.runs.pages for sample in samples[:10]) * PAGE, "as of the moment shown"
    assert teller.tell(99, past.kept, samples[-1].time) is None


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("default", "no policy of its own"),
        ("bind=static:0-1", "bound to nodes 0-1 (static)"),
        ("prefer (many):0", "from nodes 0 if they have room"),
        ("something new:1", "something new:1"),
    ],
)
def test_numa_in_words(policy: str, words: str) -> None:
    assert numa_words(Numa(policy, {0: 256}, PAGE)) == f"{words}: 1.0M on node 0"
    assert numa_words(Numa(policy, {}, PAGE)) == f"{words}: nothing resident"
