"""Search, filter, columns, groups, the order that stands, and mappings that go."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from fake import FakeSource
from fake_target import FakeTarget
from fake_world import FakeMapping, idle, process, world
from screen import Driver, opened
from textual import events

from memtop.model.filter import parse
from memtop.model.filter_rows import matches
from memtop.model.layout import COUNT, PAGE, CountFlag, Kind
from memtop.model.sample import Sample
from memtop.model.units import clock
from memtop.ui.columns import COLUMNS, ZERO
from memtop.ui.row_filter import RowFilter
from memtop.ui.rows import FADE_S, Grouping, Rows
from memtop.ui.settings import Settings
from memtop.ui.theme import DARK, Look
from memtop.ui.widgets.mapping_table import MappingTable
from memtop.ui.zeros import EARLIER


async def typed(screen: Driver, text: str) -> None:
    await screen.press(
        *({" ": "space", "/": "slash", "&": "ampersand", ":": "colon"}.get(c, c) for c in text)
    )


def names(screen: Driver) -> list[str]:
    return [row for row in screen.table if row.strip()]


async def test_search_moves_the_selection_as_it_is_typed_and_escape_goes_back() -> None:
    async with opened() as screen:
        before = screen.selected
        await screen.press("slash")
        await typed(screen, "libssl")
        (row,) = [line for line in screen.table if "libssl" in line]
        assert row.startswith("▸")
        assert "1 row matches" in screen.text
        await screen.press("escape")
        assert screen.selected == before
        assert "1 row matches" not in screen.text


async def test_search_stays_on_enter_and_f3_goes_around() -> None:
    async with opened() as screen:
        await screen.press("slash")
        await typed(screen, "THREAD")
        first = screen.selected
        assert "9 rows match" in screen.text
        await screen.press("enter")
        seen = {first}
        for _ in range(8):
            await screen.press("f3")
            seen.add(screen.selected)
        assert len(seen) == 9
        await screen.press("f3")
        assert screen.selected == first
        await screen.press("shift+f3", "slash", "enter")
        assert screen.selected == first, "/ and Enter alone: the next one"


@pytest.mark.parametrize(("text", "name"), [("7f13c8", "ring"), ("jit", "[jit]"), ("0x7f13b1c", "dump.rdb")])
async def test_search_finds_addresses_and_kinds(text: str, name: str) -> None:
    async with opened() as screen:
        await screen.press("slash")
        await typed(screen, text)
        (row,) = [line for line in screen.table if line.startswith("▸")]
        assert name in row


async def test_letters_that_are_keys_are_only_typed() -> None:
    async with opened() as screen:
        sort = screen.live.table.sort
        await screen.press("slash")
        await typed(screen, "qwcsrzn pm123t?")
        assert screen.live.typing.input.value == "qwcsrzn pm123t?"
        assert "no row matches" in screen.text
        assert screen.live.table.sort is sort
        assert screen.app._exit is False
        await screen.press("escape", "w")
        assert "Stop tracking" in screen.text


async def test_filter_shows_what_matches_and_says_that_it_is_on() -> None:
    async with opened(size=(120, 50)) as screen:
        everything = len(names(screen))
        await screen.press("f")
        await typed(screen, "kind:text & libc")
        assert len(names(screen)) == 2  # libc and libcrypto
        assert "2 of 32" in screen.text
        await screen.press("enter")
        assert "2 of 32 · kind:text & libc" in screen.text
        await screen.tick(2)
        assert len(names(screen)) == 2
        await screen.press("backslash", *["backspace"] * 20)
        assert len(names(screen)) == everything
        await screen.press("enter")
        assert "of 32 ·" not in screen.text


async def test_a_wrong_filter_points_at_the_column_and_the_last_valid_one_stays() -> None:
    async with opened() as screen:
        await screen.press("f")
        await typed(screen, "kind:heap")
        assert len(names(screen)) == 1
        await typed(screen, " & (")
        assert "something to match is missing here" in screen.text
        assert len(names(screen)) == 1
        await screen.press("backspace")
        await typed(screen, "kind:heep")
        text, about = screen.lines[-3:-1]
        assert "there is no kind 'heep'" in about
        assert about.index("^") == text.index("heep")
        await screen.press("escape")
        assert len(names(screen)) > 1


async def test_the_selection_stays_on_its_mapping_or_goes_to_a_row_that_is_shown() -> None:
    async with opened() as screen:
        await screen.press("slash")
        await typed(screen, "heap")
        await screen.press("enter", "f")
        await typed(screen, "perms:rw")
        await screen.press("enter")
        assert screen.selected == "55d1c2c41000"
        await screen.press("f", *["backspace"] * 9)
        await typed(screen, "kind:text")
        await screen.press("enter")
        assert screen.selected in {
            line[2:].split()[0] for line in screen.table if "libm" in line or line[0] == "▸"
        }


def test_the_row_filter_agrees_with_the_language_on_every_row() -> None:
    target = FakeTarget(process(), world())
    target.method = type(target.method).AUTO
    for _ in range(3):
        sample = target.sample(1.0)
    for text in (
        "written",
        "!written",
        "huge & !file",
        "kind:anon | present",
        "swapped",
        "perms:x",
        "lib & wpallowed",
    ):
        tree = parse(text)
        expected = [i for i, row in enumerate(sample.mappings) if matches(tree, row)]
        row_filter = RowFilter(text)
        assert row_filter.rows(sample) == row_filter.rows(sample) == expected


async def test_columns_are_chosen_in_a_list_and_take_effect_at_once() -> None:
    async with opened(size=(159, 50)) as screen:
        assert "PERM" not in screen.lines[4]
        await screen.press("f2", "down", "space")
        heads = next(line for line in screen.lines if "ADDRESS" in line)
        assert "PERM" in heads
        assert "rw-p" in screen.text
        assert "[x] PERM" in screen.text
        await screen.press("space")
        assert "[ ] PERM" in screen.text
        assert "rw-p" not in "".join(screen.table)
        await screen.press(*["down"] * 6, "space", "escape", "w")
        assert "TREND" in next(line for line in screen.lines if "ADDRESS" in line)
        assert "Stop tracking" in screen.text, "the keys are the table's again"


async def test_columns_give_way_in_their_stated_order() -> None:
    async with opened(size=(80, 24)) as screen:
        await screen.press("f2", "down", "space", "escape")
        heads = next(line for line in screen.lines if "ADDRESS" in line)
        assert "PERM" in heads
        assert "KIND" not in heads


async def test_groups_by_file_and_kind_have_sums_and_open() -> None:
    async with opened(size=(120, 50)) as screen:
        await screen.press("f5")
        (heap,) = [line for line in screen.table if "[heap]" in line or "▸ [heap]" in line]
        assert "1 map " in heap
        (anon,) = [line for line in screen.table if "[anon]" in line]
        assert "14 maps" in anon
        assert "NAME by file" in screen.text
        await screen.press("home")
        while "[anon]" not in next(line for line in screen.table if line.startswith("▸")):
            await screen.press("down")
        lines = screen.live.table._rows
        closed = len(lines.lines)
        await screen.press("enter")
        assert len(lines.lines) == closed + 14
        assert "▾ [anon]" in screen.text
        await screen.press("down", "enter")
        assert len(lines.lines) == closed + 14, "Enter in a mapping is the pane's"
        await screen.press("escape", "up", "enter")
        assert len(lines.lines) == closed
        await screen.press("f5")
        assert "NAME by kind" in screen.text
        await screen.press("f5")
        assert "by kind" not in screen.text


async def test_a_group_sums_what_its_members_say() -> None:
    async with opened(size=(120, 50)) as screen:
        await screen.press("f5", "f5")
        rows = screen.live.table._rows
        sample = screen.live.view.sample
        for group in rows.groups:
            members = [sample.mappings[i] for i in group.members]
            assert group.row.resident == (
                None if any(m.resident is None for m in members) else sum(m.resident for m in members)
            )
            assert group.row.mapping.size == sum(m.mapping.size for m in members)
            known = [m.written_pages for m in members if m.written_pages is not None]
            assert group.row.written_pages == (sum(known) if known else None)
        assert sum(len(group.members) for group in rows.groups) == len(sample.table)


async def test_what_is_gone_stands_in_its_place_for_a_while_and_cannot_be_selected() -> None:
    async with opened(size=(120, 50)) as screen:
        await screen.press("home", "down")
        at = next(i for i, line in enumerate(screen.table) if line.startswith("▸"))
        third = screen.table[at + 1].split()[0]
        gone = next(m for m in screen.source.target.mappings if f"{m.start:x}" == screen.selected)
        screen.source.target.mappings.remove(gone)
        await screen.tick()
        assert screen.selected == third
        assert f"{gone.start:x}" in screen.table[at]
        assert "[gone]" in screen.table[at]
        await screen.press("up")
        assert not screen.table[at].startswith("▸")
        await screen.tick(int(FADE_S))
        assert f"{gone.start:x}" not in screen.text


async def test_sorted_by_writes_rows_do_not_change_places_every_tick() -> None:
    pages = 1000
    noisy = [
        FakeMapping(
            0x7F0000000000 + n * 0x10000000,
            pages,
            Kind.ANON,
            b"[anon:noisy %d]" % n,
            lambda rng, tick: set(range(rng.choice((0, 100, 500, 900)))),
        )
        for n in range(12)
    ]
    target = FakeTarget(process(), noisy)
    target.rng = random.Random(7)
    async with opened(FakeSource(target)) as screen:
        await screen.press("greater_than_sign")
        assert screen.live.table.sort.head == "WRITTEN/S"
        orders = []
        for _ in range(30):
            await screen.tick()
            orders.append([line[2:].split()[0] for line in names(screen)])
        changes = sum(a != b for a, b in pairwise(orders))
        assert changes <= 10  # every three seconds at most
        busy = next(m for m in noisy if f"{m.start:x}" == orders[-1][-1])
        busy.write = lambda rng, tick: set(range(pages))
        for other in noisy:
            if other is not busy:
                other.write = idle
        await screen.tick(15)
        assert f"{busy.start:x}" in screen.table[0]


@pytest.mark.parametrize("opens", ["slash", "f"])
async def test_what_is_typed_ahead_is_not_lost(opens: str) -> None:
    """Over a slow link many keys come at once."""
    async with opened() as screen:
        for key in (opens, "h", "e", "a", "p"):
            screen.app.post_message(events.Key(key, "/" if key == "slash" else key))
        await screen.pilot.pause()
        assert screen.live.typing.input.value == "heap"


async def test_enter_right_behind_what_is_typed_keeps_it() -> None:
    async with opened() as screen:
        for keys in (("f", "h", "e", "a", "p"), ("f", *"kind")):
            for key in (*keys, "enter"):
                screen.app.post_message(events.Key(key, "\r" if key == "enter" else key))
            await screen.pilot.pause()
            await screen.pilot.pause()
            assert screen.live.typing.what is None
        assert screen.live.table.filter.text == "heapkind"
        await screen.press("f", *["backspace"] * 8, "enter")
        for key in ("slash", "h", "e", "a", "p", "enter"):
            screen.app.post_message(events.Key(key, "/" if key == "slash" else key))
        await screen.pilot.pause()
        await screen.pilot.pause()
        assert screen.selected == "55d1c2c41000"


async def test_closed_groups_have_no_maps_and_their_names_the_room() -> None:
    async with opened(size=(80, 24)) as screen:

        def heads() -> str:
            return screen.lines[screen.live.heads.region.y]

        path, every = "/lib/x86_64-linux-gnu/libz.so.1", heads()
        columns = every[: every.index("NAME")]
        assert "MAP" in every
        assert path not in screen.text
        await screen.press("f5")
        assert "MAP" not in heads()
        assert path in screen.text
        assert heads().startswith(columns)  # nothing else moves
        await screen.press("home", "enter")
        assert "MAP" in heads()
        assert heads().startswith(columns)


async def test_the_trend_has_samples_that_were_not_drawn() -> None:
    async with opened(FakeSource(FakeTarget(process(), world()[1:2])), size=(200, 50)) as screen:
        assert screen.live.table._rows.rates._ticks == 2
        screen.source.tick(5)  # faster than the screen draws
        await screen.pilot.pause()
        assert screen.live.table._rows.rates._ticks == 7
        trend = screen.table[0][40:60]
        assert sum(trend.count(bar) for bar in "▁▂▃▄▅▆▇█") == 7, trend


def test_a_table_that_is_not_on_a_page_any_more_has_columns() -> None:
    assert MappingTable(Look(DARK, False)).columns_now == COLUMNS  # a sample may come while it closes


async def test_a_filter_that_is_emptied_in_a_burst_is_gone() -> None:
    """Enter comes before the input has told of its last change."""
    async with opened(size=(80, 24)) as screen:
        await screen.press("f", *"anon", "enter")
        assert "14 of 32 · anon" in screen.text
        await screen.burst("f", "ctrl+u", "enter")
        assert "14 of 32" not in screen.text
        assert screen.live.table.filter is None


@pytest.mark.parametrize(
    ("width", "says"), [(80, "14 of 32 · anon"), (60, "  14 of 32 "), (58, " 14/32 "), (54, " fi… ")]
)
async def test_how_many_rows_a_filter_leaves_is_never_cut(width: int, says: str) -> None:
    async with opened(size=(width, 15)) as screen:
        await screen.press("f", *"anon", "enter", "m")
        (heads,) = [line for line in screen.lines if "ADDRESS" in line]
        assert says in heads


class NowAndThen(FakeTarget):
    """Counts the zero pages of all mappings in the samples that ``counts`` names, as many in each."""

    def __init__(self, counts: dict[int, int]) -> None:
        super().__init__(process(), world())
        self.zeros = counts

    def sample(self, interval: float) -> Sample:
        zeros, sample = self.zeros.get(self.ticks), super().sample(interval)
        if zeros is None:
            return sample
        records = [list(record) for record in COUNT.iter_unpack(sample.counts)]
        for record in records:
            record[2] = zeros
            record[10] |= CountFlag.ZERO if record[10] & CountFlag.SCANNED else 0
        return replace(sample, counts=b"".join(COUNT.pack(*record) for record in records))


async def test_zero_pages_are_carried_from_the_sample_that_counted_them() -> None:
    """Of tracked mappings only every ten seconds: in between stands the last number, marked."""
    target = NowAndThen({3: 5, 6: 7})
    settings = Settings(columns=(*COLUMNS, ZERO))
    async with opened(FakeSource(target), settings=settings) as screen:

        def said() -> str:
            (row,) = [line for line in screen.table if line.startswith("▸ ")]
            return row.split()[-1 if "ZERO" not in screen.text else zero_at]

        head = next(line for line in screen.lines if "ZERO" in line)
        zero_at = head.split().index("ZERO") + 1
        assert said() == "–", "nobody has counted them yet"
        assert "ZERO is of" not in screen.text
        await screen.tick(2)
        assert target.ticks == 4
        counted = clock(target.time)
        assert said() == "20K"
        assert "ZERO is of" not in screen.text
        for _ in range(2):
            await screen.tick()
            assert said() == "20K~"
            assert f"ZERO is of {counted}" in screen.text
        await screen.tick()
        assert said() == "28K"
        await screen.tick()
        assert said() == "28K~"
        await screen.press("space", *["left"] * 2)
        assert said() == "20K~", "an earlier picture knows what was known then"
        assert f"ZERO is of {counted}" in screen.text
        await screen.press(*["left"] * 3)
        assert said() == "–", "what was counted later is not of then"


def test_carried_zero_pages_are_sorted_filtered_and_summed() -> None:
    target = NowAndThen({0: 5})
    then = target.sample(1.0)
    target.mappings = target.mappings[2:]
    now = target.sample(1.0)
    new = target.mappings[0]
    new.id = 0  # another one, which came since
    later = target.sample(1.0)
    assert not RowFilter("pfnzero").rows(later)
    rows = Rows()
    rows.take(later)
    rows.arrange(ZERO, False, only=RowFilter("pfnzero"), earlier=[then, now, later])
    assert rows.zeros_of == then.time
    assert rows.picture is not None
    came = rows.picture.table.index_of(new.id)
    known = [i for i, row in enumerate(later.mappings) if row.resident is not None and i != came]
    assert sorted(rows.lines) == known, "what was not there then is not known"
    assert {rows.picture.mappings[i].zero for i in known} == {5 * PAGE}
    rows.arrange(ZERO, False, grouping=Grouping.KIND, earlier=[then, now, later])
    for group in rows.groups:
        whole = set(group.members) <= set(known)
        assert group.row.zero == (5 * PAGE * len(group.members) if whole else None)
        assert bool(group.row.flags & EARLIER) == bool(set(group.members) & set(known))
    rows.arrange(ZERO, False, earlier=[later])
    assert rows.zeros_of is None
    assert all(row.zero is None for row in rows.picture.mappings)
