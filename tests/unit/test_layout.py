"""The packed records and constants of the C core are those that Python reads."""

from __future__ import annotations

import re
from enum import IntEnum, IntFlag
from struct import Struct

import pytest

from memtop.model.layout import (
    COUNT,
    MAPPING,
    RUN,
    TRAITS_AT,
    Category,
    CountFlag,
    Kind,
    Mode,
    Perm,
    RunFlag,
)
from memtop.native import ffi, lib

MAPPING_FIELDS = "start end offset inode dev_major dev_minor name_at name_len perms kind"
COUNT_FIELDS = (
    "resident huge zero swapped guard written resident_map written_map first_run run_count flags reserved"
)


@pytest.mark.parametrize(
    ("name", "record", "fields"),
    [
        ("mt_mapping", MAPPING, MAPPING_FIELDS),
        ("mt_count", COUNT, COUNT_FIELDS),
        ("mt_run", RUN, "start pages flags"),
    ],
)
def test_records(name: str, record: Struct, fields: str) -> None:
    """Each field is given a value in C and read back, at its place, by struct."""
    item = ffi.new(f"{name} *")
    names = fields.split()
    for value, field in enumerate(names, 1):
        setattr(item, field, value)
    assert ffi.sizeof(name) == record.size
    assert record.unpack(bytes(ffi.buffer(item))) == tuple(range(1, len(names) + 1))


def test_traits() -> None:
    assert ffi.offsetof("mt_mapping", "traits") == TRAITS_AT


@pytest.mark.parametrize(
    ("prefix", "values"),
    [("PERM", Perm), ("KIND", Kind), ("MODE", Mode), ("COUNT", CountFlag), ("RUN", RunFlag)],
)
def test_constants(prefix: str, values: type[IntEnum] | type[IntFlag]) -> None:
    """Both sides know the same names with the same values, and none alone."""
    pattern = re.compile(f"MT_{prefix}_([A-Z_]+)$")
    native = {match[1]: getattr(lib, match[0]) for match in map(pattern.match, dir(lib)) if match}
    assert native == {member.name: member.value for member in values}


def test_categories_are_the_kernels() -> None:
    """Against include/uapi/linux/fs.h of Linux 6.18."""
    names = ["WPALLOWED", "WRITTEN", "FILE", "PRESENT", "SWAPPED", "PFNZERO", "HUGE", "SOFT_DIRTY", "GUARD"]
    assert {member.name: member.value for member in Category} == {n: 1 << i for i, n in enumerate(names)}
