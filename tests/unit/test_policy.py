"""What is armed by default, and that whatever is not has its reason."""

from __future__ import annotations

from array import array

import pytest

from memtop.dump.feed import cover_ranges
from memtop.model.coverage import Coverage, Exactness
from memtop.model.layout import MAPPING, TRAITS_AT, Kind, Mode, Perm
from memtop.model.mapping import MappingTable
from memtop.tracking.policy import PASSIVE, SOFT_DIRTY, WRITE_PROTECT, Policy

RW, R, X, S = Perm.READ | Perm.WRITE, Perm.READ, Perm.READ | Perm.EXEC, Perm.SHARED


def table_of(kind: Kind, perms: int) -> MappingTable:
    record = bytearray(MAPPING.pack(0x1000, 0x2000, 0, 0, 0, 0, 0, 0, perms, kind))
    record[TRAITS_AT] = kind << 4 | perms
    return MappingTable(bytes(record), b"", array("Q", [1]))


def one(policy: Policy, kind: Kind, perms: int) -> tuple[Mode, Coverage]:
    modes, coverage = policy.decide(table_of(kind, perms))
    return Mode(modes[0]), Coverage(coverage[0])


@pytest.mark.parametrize(
    ("kind", "perms", "mode"),
    [
        (Kind.ANON, RW, Mode.ARMED),
        (Kind.ANON, R, Mode.ARMED),  # mprotect may make it writable before the next tick
        (Kind.GUARD, 0, Mode.ARMED),
        (Kind.HEAP, RW, Mode.ARMED),
        (Kind.STACK, RW, Mode.ARMED),
        (Kind.JIT, RW | X, Mode.ARMED),
        (Kind.SHARED, RW | S, Mode.ARMED),
        (Kind.SHARED, RW, Mode.ARMED_FILE),  # private: pages it only read are still the file's
        (Kind.HUGETLB, RW, Mode.ARMED_FILE),
        (Kind.HUGETLB, RW | S, Mode.ARMED),
        (Kind.DATA, RW, Mode.ARMED_FILE),
        (Kind.TEXT, X, Mode.CENSUS),
        (Kind.FILE, R, Mode.CENSUS),
        (Kind.FILE, RW | S, Mode.CENSUS),
        (Kind.SPECIAL, R, Mode.SKIP),
    ],
)
def test_write_protect_arms_what_the_process_owns(kind: Kind, perms: int, mode: Mode) -> None:
    assert one(WRITE_PROTECT, kind, perms)[0] is mode


@pytest.mark.parametrize("policy", [WRITE_PROTECT, SOFT_DIRTY, PASSIVE])
@pytest.mark.parametrize("kind", list(Kind))
def test_what_has_no_written_pages_says_that_it_has_none(policy: Policy, kind: Kind) -> None:
    for perms in range(16):
        mode, coverage = one(policy, kind, perms)
        counted = mode in (Mode.ARMED, Mode.ARMED_FILE, Mode.SOFT_DIRTY)
        assert counted == (coverage.exactness is not Exactness.NONE)


def test_shared_memory_is_never_called_exact() -> None:
    assert one(WRITE_PROTECT, Kind.SHARED, RW | S)[1] is Coverage.OTHER_WRITERS


@pytest.mark.parametrize(
    ("kind", "perms", "said", "read_again"),
    [
        (Kind.ANON, RW, (Mode.SOFT_DIRTY, Coverage.SOFT_DIRTY), (0, 0)),
        (Kind.SHARED, RW | S, (Mode.SOFT_DIRTY, Coverage.SOFT_DIRTY_SHARED), (0, 1)),
        (Kind.HUGETLB, RW, (Mode.CENSUS, Coverage.NO_SOFT_DIRTY), (1, 0)),
        (Kind.HUGETLB, RW | S, (Mode.CENSUS, Coverage.NO_SOFT_DIRTY), (1, 0)),
    ],
)
def test_what_soft_dirty_does_not_tell_a_dump_reads_again(
    kind: Kind, perms: int, said: tuple[Mode, Coverage], read_again: tuple[int, int]
) -> None:
    assert one(SOFT_DIRTY, kind, perms) == said
    blind, shared, *_ = cover_ranges(table_of(kind, perms), bytes([said[1]]))
    assert (len(blind), len(shared)) == read_again


def test_what_a_device_may_write_a_dump_does_not_call_followed() -> None:
    _, shared, tracked, pinned = cover_ranges(table_of(Kind.ANON, RW), bytes([Coverage.PINNED]))
    assert pinned == tracked != ()
    assert not shared
