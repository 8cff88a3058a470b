"""The write map as a user drives it: zoom, cursor, the whole address space, and the page under the cursor."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fake import FakeSource
from fake_target import FakeTarget
from fake_world import FakeMapping, hot, idle, process, world
from hypothesis import given
from hypothesis import strategies as st
from screen import Driver, opened
from textual.events import MouseScrollDown, MouseScrollUp

from memtop.model.actions import Method
from memtop.model.layout import PAGE, Kind
from memtop.model.peek import PageFlags, Peek
from memtop.sampler.source import Key
from memtop.ui.ages import Ages
from memtop.ui.space import Space
from memtop.ui.theme import MONO
from memtop.ui.widgets.hex import byte_runs

REDIS = (4711, 92711)
JEMALLOC = 0x7F12A0000000
IN, OUT = "right_square_bracket", "left_square_bracket"


def pane(screen: Driver) -> list[str]:
    region = screen.live.pane.region
    return screen.lines[region.y : region.bottom]


def about(screen: Driver) -> str:
    return screen.lines[screen.live.detail.region.y]


def peeks(screen: Driver) -> list[tuple[object, ...]]:
    return [asked[1:] for asked in screen.source.asked if asked[0] == "peek"]


# ---- one mapping -----------------------------------------------------------------------------------------


async def test_zoom_down_to_one_page_and_back_to_the_whole_mapping() -> None:
    m = FakeMapping(JEMALLOC, 1 << 20, Kind.ANON, b"[anon:jemalloc]", idle)
    async with opened(FakeSource(FakeTarget(process(), [m])), size=(80, 24), ticks=3) as screen:
        whole = pane(screen)
        assert "one cell 16M = 4096 pages" in whole[0] or "one cell 32M" in whole[0]
        for _ in range(8):
            await screen.press(IN)
        await screen.tick()
        assert "one cell 4.0K = 1 page " in pane(screen)[0]
        assert re.search(r"1\.\dM of 4\.0G", pane(screen)[0])
        while "address space" not in pane(screen)[0]:
            await screen.press(OUT)
        await screen.press(IN)
        await screen.tick()
        assert pane(screen)[0] == whole[0]
        assert [line[:14] for line in pane(screen)] == [line[:14] for line in whole]


async def test_the_visible_cells_are_watched() -> None:
    async with opened() as screen:
        await screen.press(IN, IN, "enter", "end")
        grid = screen.live.map.grid
        watch = [asked for asked in screen.source.asked if asked[0] == "watch"][-1]
        assert watch[3:] == (grid.first, grid.cell_pages, grid.room)
        assert "residency by 64M" in pane(screen)[0], "not before a sample has counted them"
        await screen.tick()
        assert "residency by" not in pane(screen)[0]


async def test_the_cursor_says_where_it_stands() -> None:
    async with opened(size=(80, 24)) as screen:
        for _ in range(8):
            await screen.press(IN)
        await screen.press("enter", "home", "right", "right", "down")
        page = 2 + screen.live.map.grid.columns
        assert f" {JEMALLOC + page * PAGE:x} · page {page} · " in about(screen)
        assert "present" in about(screen)
        assert peeks(screen)[-1] == (REDIS, JEMALLOC + page * PAGE, 1, False)
        await screen.press("end")
        assert f" {JEMALLOC + (4 << 30) - PAGE:x} · page 1048575" in about(screen)
        await screen.press("down", "right", "pagedown")
        assert f" {JEMALLOC + (4 << 30) - PAGE:x} · page 1048575" in about(screen)
        await screen.press("home", "up", "left", "pageup")
        assert f" {JEMALLOC:x} · page 0 · " in about(screen)
        await screen.press("escape")
        assert "rw-p" in about(screen)
        await screen.press("down")
        assert screen.selected != f"{JEMALLOC:x}"


async def test_last_written_is_exact_to_the_page_once_it_is_zoomed_in() -> None:
    """The history of a large mapping is coarser than its pages: old ages say so, new ones are exact."""
    m = FakeMapping(JEMALLOC, 1 << 20, Kind.ANON, b"", hot(0, 0))
    m.write = lambda rng, tick: {5}
    async with opened(FakeSource(FakeTarget(process(), [m])), size=(80, 24), ticks=3) as screen:
        for _ in range(9):
            await screen.press(IN)
        coarse = screen.live.view.ages.of(screen.live.view.sample.table[0]).cell_pages
        assert coarse > 1
        assert f"older by {coarse} pages" in pane(screen)[0]
        cells = pane(screen)[1][15:]
        assert cells.startswith("█" * 16), "all that is known is that one of these pages was written"
        m.write = lambda rng, tick: {7}
        await screen.tick()
        assert pane(screen)[1][15:].startswith("▓" * 7 + "█" + "▓" * 8)
        await screen.tick(80)
        assert pane(screen)[1][15:].startswith("░" * 7 + "█" + "░" * 8)


async def test_the_cursor_comes_back_to_the_page_it_was_on() -> None:
    async with opened() as screen:
        for _ in range(7):
            await screen.press(IN)
        await screen.press("enter", "end", "left", "left", "up")
        page, picture = screen.live.map.port.address, pane(screen)
        await screen.press(OUT, OUT, OUT, IN, IN, IN)
        assert (screen.live.map.port.address, pane(screen)) == (page, picture)


async def test_the_mouse_points_and_the_wheel_zooms() -> None:
    async with opened() as screen:
        write_map = screen.live.map
        await screen.pilot.click(write_map, offset=(15 + 10, 1 + 2))
        await screen.pilot.pause()
        grid = write_map.grid
        assert write_map.has_keys
        assert write_map.port.address == grid.address(2 * grid.columns + 10)
        await screen.pilot._post_mouse_events([MouseScrollUp], write_map, (20, 3))
        await screen.pilot.pause()
        assert write_map.grid.cell_pages == grid.cell_pages // 4
        await screen.pilot._post_mouse_events([MouseScrollDown], write_map, (20, 3))
        await screen.pilot.pause()
        assert write_map.grid.cell_pages == grid.cell_pages


async def test_nothing_is_looked_at_while_frozen_unless_asked() -> None:
    async with opened() as screen:
        await screen.press("space", "enter", "right", "right")
        assert peeks(screen) == []
        await screen.press("enter")
        assert peeks(screen)[-1][3] is True


async def test_another_process_gets_its_own_map() -> None:
    two = FakeSource(FakeTarget(process(), world()), FakeTarget(process(812, "postgres"), world()[:6], 2))
    async with opened(two) as screen:
        await screen.press(IN, IN, "n")
        assert "of 4.0G" not in pane(screen)[0]


async def test_an_earlier_sample_has_its_own_ages() -> None:
    """While scrubbed back, the lens and the live address space, which know the newest only, are not shown."""
    async with opened(ticks=3) as screen:
        await screen.press(OUT)
        before = pane(screen)
        await screen.tick(5)
        assert pane(screen)[1:-1] != before[1:-1]
        await screen.press("space", "left", "left", "left", "left", "left")
        assert pane(screen)[1:-1] == before[1:-1]
        await screen.press(IN, IN, IN, IN)
        assert re.search(r"ages by \d+ pages", pane(screen)[0])


# ---- the whole address space -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 15), (200, 60)])
async def test_the_whole_address_space_shows_every_kind_and_folds_gaps(size: tuple[int, int]) -> None:
    async with opened(size=size) as screen:
        await screen.press(OUT)
        shown = pane(screen)
        assert "address space" in shown[0]
        assert "one cell" in shown[0]
        text = "\n".join(shown[1:-1])
        assert "┊ 41T┊" in text
        for letter in "haf" if size[0] >= 80 else "ha":
            assert letter in re.sub(r"^ [0-9a-f]+", "", text, flags=re.M)
        assert all(len(line) == size[0] for line in shown)
        if size[0] >= 80:
            for word in ("heap", "anon", "files", "Shared", "now"):
                assert word in shown[-1]


async def passed(screen: Driver, key: str, times: int) -> list[str]:
    """The mappings that the cursor passes when a key is pressed again and again."""
    seen = [screen.selected]
    for _ in range(times):
        await screen.press(key)
        if screen.selected != seen[-1]:
            seen.append(screen.selected)
    return seen


async def test_the_cursor_in_the_address_space_selects_the_mapping_and_enter_goes_there() -> None:
    async with opened() as screen:
        await screen.press(OUT, "enter", "home")
        assert screen.selected == "55d1c2c41000"
        assert "[heap]" in about(screen)
        low = await passed(screen, "right", 20)
        assert low == ["55d1c2c41000", "7f0f80000000"]
        await screen.press("end")
        high = await passed(screen, "left", 30)
        assert len(high) > 15
        assert high == sorted(high, reverse=True)
        await screen.press("home", "enter")
        assert pane(screen)[0].startswith("── 55d1c2c41000  132M heap rw-p  [heap]")


async def test_selecting_in_the_table_moves_the_cursor_in_the_address_space() -> None:
    async with opened() as screen:
        await screen.press(OUT, "down")
        assert screen.live.map.port.address == int(screen.selected, 16)


async def test_ages_in_the_address_space_are_those_of_the_mappings() -> None:
    async with opened(ticks=15) as screen:
        await screen.press(OUT)
        space = screen.live.view.space
        for _ in range(3):
            await screen.tick()
            view = screen.live.view
            for i, block in enumerate(space.blocks):
                latest = 0.0
                for m in view.sample.table[block.first : block.first + block.mappings]:
                    age = view.ages.of(m)
                    low, high = max(m.start, block.start), min(m.end, block.start + space.cell_bytes)
                    if age is not None and low < high:
                        latest = max(latest, *age.latest(low, (high - low) // PAGE, 1))
                if space.cell_bytes >= 1 << 23:  # no finer than any history
                    assert space.times[i] == latest, block


async def test_ascii_and_no_colour() -> None:
    async with opened(ascii=True, palette=MONO, size=(80, 24)) as screen:
        for keys in ((OUT,), (IN, IN, "enter"), ("enter",)):
            await screen.press(*keys)
            assert screen.text.isascii()


def naive_blocks(target: FakeTarget, cell: int) -> dict[int, set[int]]:
    blocks: dict[int, set[int]] = {}
    for i, m in enumerate(sorted(target.mappings, key=lambda m: m.start)):
        if m.start >> 63:
            continue
        for start in range(m.start // cell * cell, m.start + m.pages * PAGE, cell):
            blocks.setdefault(start, set()).add(i)
    return blocks


@given(
    st.lists(
        st.tuples(st.integers(1, 3000), st.sampled_from([0, 0, 1, 7, 400, 1 << 15, 1 << 26])),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 6),
)
def test_every_mapping_lies_in_its_blocks_and_no_two_stand_in_one_place(
    shapes: list[tuple[int, int]], rows: int
) -> None:
    at, mappings = 0x10000, []
    for pages, gap in shapes:
        mappings.append(FakeMapping(at, pages, Kind(pages % 10), b"", idle, lambda page: page % 3 == 0))
        at += (pages + gap) * PAGE
    target = FakeTarget(process(), mappings)
    space = Space(32, rows)
    space.update(target.sample(1.0), Ages())
    assert space.blocks
    naive = naive_blocks(target, space.cell_bytes)
    assert space.starts == sorted(naive)
    places = [(b.row, b.column) for b in space.blocks]
    assert places == sorted(set(places))
    assert all(b.column < 32 and b.row < rows for b in space.blocks)
    before = None
    for b in space.blocks:
        indices = naive[b.start]
        assert (b.first, b.mappings) == (min(indices), len(indices))
        assert b.main in indices
        assert b.gap == (b.start - before - space.cell_bytes if before is not None else 0)
        before = b.start
        pages = {
            p
            for i in indices
            for p in range(mappings[i].pages)
            if b.start <= mappings[i].start + p * PAGE < b.start + space.cell_bytes and p % 3 == 0
        }
        assert b.resident or not pages


def test_a_reservation_that_holds_nothing_is_folded_but_never_invisible() -> None:
    mappings = [
        FakeMapping(0x10000, 100, Kind.ANON, b"", idle),
        FakeMapping(
            0x100000000,
            1 << 28,
            Kind.ANON,
            b"reserved",
            idle,
            lambda page: page < 50 or page >= (1 << 28) - 16,
        ),
        FakeMapping(0x7F0000000000, 200, Kind.ANON, b"", idle),
        FakeMapping(0x7F1000000000, 1 << 24, Kind.GUARD, b"", idle, lambda page: False),
    ]
    target = FakeTarget(process(), mappings)
    for number, m in enumerate(mappings, 1):  # too many pages to count them
        m.id = number
        there = [p for p in (0, m.pages - 1) if m.resident(p)]
        target._maps[m.id] = len(there), sum(1 << p // -(-m.pages // 64) for p in there)
    space = Space(64, 4)
    space.update(target.sample(1.0), Ages())
    assert {b.main for b in space.blocks} == {0, 1, 2, 3}
    assert space.cell_bytes < 1 << 40
    inside = [b for b in space.blocks if b.main == 1]
    assert inside[0].start <= mappings[1].start
    assert sum(b.gap for b in inside) + len(inside) * space.cell_bytes >= 1 << 40
    assert inside[-1].resident
    assert len([b for b in space.blocks if b.main == 3]) == 1


# ---- a page ------------------------------------------------------------------------------------------------


async def into_a_page(screen: Driver) -> None:
    for _ in range(9):
        await screen.press(IN)
    await screen.press("enter", "home", "right", "enter")


@pytest.mark.parametrize(("size", "in_row"), [((80, 24), 16), ((120, 40), 32), ((60, 15), 8)])
async def test_a_page_is_shown_in_hex(size: tuple[int, int], in_row: int) -> None:
    async with opened(size=size) as screen:
        await into_a_page(screen)
        shown = pane(screen)
        assert shown[0].startswith(f"── {JEMALLOC + PAGE:x}  page 1 of 1048576")
        offsets = [line.split()[0] for line in shown[1:-1]]
        assert offsets == [f"{i * in_row:03x}" for i in range(len(offsets))]
        text = (b"\x1b]52;c;AAAA\x07 page 1 of [anon:jemalloc] " + bytes(range(256)) * 15)[:in_row]
        assert re.sub(r"\s", "", shown[1][6 : 6 + 3 * in_row]).startswith(
            text.hex()[: 2 * in_row - in_row // 2]
        )
        assert "read 23:41" in shown[-1]
        assert "\x1b" not in "".join(shown)


async def test_it_moves_through_the_page_and_to_the_pages_beside() -> None:
    async with opened(size=(80, 24)) as screen:
        await into_a_page(screen)
        await screen.press("down", "down")
        assert pane(screen)[1].split()[0] == "020"
        await screen.press("end", "down", "pagedown")
        assert pane(screen)[-2].split()[0] == "ff0"
        await screen.press("home", "up")
        assert pane(screen)[1].split()[0] == "000"
        await screen.press("right")
        assert "page 2 of" in pane(screen)[0]
        await screen.press("left", "left")
        assert "page 0 of" in pane(screen)[0]
        await screen.press("left")
        assert "the mapping ends here" in screen.text
        assert peeks(screen)[-1] == (REDIS, JEMALLOC, 1, True)


async def test_it_stands_still_until_it_is_read_again() -> None:
    async with opened(size=(80, 24)) as screen:
        await into_a_page(screen)
        before, asked = pane(screen), len(peeks(screen))
        await screen.tick(3)
        assert pane(screen) == before
        assert len(peeks(screen)) == asked
        await screen.press("r")
        assert len(peeks(screen)) == asked + 1
        assert pane(screen)[-1] != before[-1], "the time it was read"


async def test_escape_goes_back_to_the_map_and_then_to_the_table() -> None:
    async with opened(size=(80, 24)) as screen:
        await into_a_page(screen)
        await screen.press("escape")
        assert "one cell 1 page" in pane(screen)[0]
        assert "page 1 " in about(screen)
        await screen.press("escape", "down")
        assert screen.selected != f"{JEMALLOC:x}"


async def test_a_page_of_one_process_is_never_read_from_another() -> None:
    two = FakeSource(FakeTarget(process(), world()), FakeTarget(process(812, "postgres"), world(), 2))
    async with opened(two) as screen:
        await into_a_page(screen)
        await screen.press("n", "right", "r")
        assert peeks(screen)[-1][0] == REDIS
        assert "redis-server 4711" in pane(screen)[0]


def answering(answer: Peek) -> Callable[..., None]:
    def peek(key: Key, address: int, pages: int, contents: bool, then: Callable[[Peek], None]) -> None:
        then(answer)

    return peek


@pytest.mark.parametrize(
    "why",
    [
        "swapped out: not read, because that would swap it in",
        "reading memory of process 1 is not possible: memtop runs with --readonly (add --peek to allow it)",
        "a recording holds no contents",
    ],
)
async def test_what_is_not_read_says_why(why: str) -> None:
    async with opened(size=(80, 24)) as screen:
        screen.source.peek = answering(Peek(JEMALLOC, 1795218070.0, PageFlags(1, 0, 1), None, why))
        await into_a_page(screen)
        assert re.sub(r"\s+", " ", why) in re.sub(r"\s+", " ", "\n".join(pane(screen)))


@given(st.binary(min_size=32, max_size=32), st.sampled_from([8, 16, 32]))
def test_bytes_of_a_page_are_harmless(row: bytes, in_row: int) -> None:
    from memtop.ui.theme import DARK

    text = "".join(text for text, _ in byte_runs(row[:in_row], 0, DARK))
    assert text.replace("·", ".").isascii()
    assert text.isprintable()
    assert text.endswith("".join(chr(b) if 32 <= b < 127 else "·" for b in row[:in_row]))
    assert re.sub(r"\s", "", text[6:-in_row]) == row[:in_row].hex()


@pytest.fixture
def many() -> FakeSource:
    mappings = [FakeMapping(0x7F0000000000 + i * 0x5000, 3, Kind.ANON, b"", idle) for i in range(30_000)]
    target = FakeTarget(process(), mappings)
    target.method = Method.AUTO
    return FakeSource(target)


async def test_thirty_thousand_mappings(many: FakeSource) -> None:
    async with opened(many, ticks=1, arm=False) as screen:
        await screen.press(OUT, "enter", "right", "down")
        assert "30k mappings" in pane(screen)[0]
        await screen.press("end")
        assert screen.live.view.selected in range(29_900, 30_001)
