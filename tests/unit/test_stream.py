"""The stream's lines: what is damaged is named by its line, what is hostile stays in its cell."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from harness import PATIENCE
from hypothesis import given
from hypothesis import strategies as st
from test_sample import a_sample

from memtop.linux.errors import Failed
from memtop.model.coverage import Coverage
from memtop.model.layout import PAGE
from memtop.stream.decode import Damaged, Decoder, parse, process_of
from memtop.stream.jsonl import process_object, sample_line, sample_object
from memtop.stream.recording import Recording

SAMPLE = sample_object(a_sample(Coverage.EXACT), pages=True)


def decode(value: dict[str, Any]) -> Any:
    parsed = parse(json.dumps(value).encode())
    return Decoder().sample(parsed, process_of(parsed))


def changed(path: str, value: object) -> dict[str, Any]:
    """The sample with one field changed; ``mappings.0.start``."""
    out: Any = copy.deepcopy(SAMPLE)
    *way, last = path.split(".")
    at = out
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    at[last] = value
    result: dict[str, Any] = out
    return result


def recording(text: bytes) -> Recording:
    fd = os.memfd_create("recording")
    os.write(fd, text)
    os.lseek(fd, 0, os.SEEK_SET)
    recording = Recording(fd, "FILE")
    with recording.changed:
        assert recording.changed.wait_for(lambda: recording.closed, PATIENCE)
    return recording


def test_there_and_back_nothing_is_lost() -> None:
    sample = a_sample(Coverage.EXACT)
    again = decode(SAMPLE)
    for a, b in zip(sample.mappings, again.mappings, strict=True):
        assert a == b
    assert (again.tracker, again.totals, again.cost) == (sample.tracker, sample.totals, sample.cost)


def test_lines_of_before_are_read_too() -> None:
    """``memtop batch --json --pages`` of a version without identities, flags and coverage words."""
    old = copy.deepcopy(SAMPLE)
    for name in ("size",):
        del old[name]
    del old["tracker"]["mappings"]
    for row in old["mappings"]:
        for name in ("id", "flags", "coverage", "resident_map", "written_map", "guard"):
            row.pop(name)
        row["guard"] = None
    rows = decode(old).mappings
    assert [row.coverage for row in rows] == [Coverage.EXACT] * 2
    assert [row.written_pages for row in rows] == [3, 1]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("time", 1e300),
        ("time", "now"),
        ("interval", None),
        ("pid", -1),
        ("pid", 2**40),
        ("start_time", 1.5),
        ("mappings", 7),
        ("mappings", [[]]),
        ("mappings.0.start", "0x9000"),  # its end
        ("mappings.0.start", "0x1001"),
        ("mappings.0.start", "nowhere"),
        ("mappings.0.start", "0x" + "f" * 40),
        ("mappings.1.start", "0x2000"),  # in the first
        ("mappings.0.perms", "rw?p"),
        ("mappings.0.kind", "moon"),
        ("mappings.0.coverage", "perhaps"),
        ("mappings.0.id", -3),
        ("mappings.0.id", 2),  # twice
        ("mappings.0.resident", -PAGE),
        ("mappings.0.resident", "much"),
        ("mappings.0.resident_map", "0x10000000000000000"),
        ("mappings.0.written", [["0x8000", 2]]),  # past the end
        ("mappings.0.written", [["0x5000", 1], ["0x1000", 1]]),
        ("mappings.0.written", [["0x5000", 0]]),
        ("mappings.0.written", [["0x5000"]]),
        ("mappings.0.flags", ["red"]),
        ("mappings.0.name", 5),
        ("tracker", None),
        ("tracker.exact", "very"),
        ("cost.scan_s", "soon"),
        ("state", "asleep"),
        ("resident", -1),
    ],
)
def test_what_contradicts_the_format_is_damaged(path: str, value: object) -> None:
    with pytest.raises(Damaged):
        decode(changed(path, value))


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4),
    st.data(),
)
def test_no_value_anywhere_breaks_more_than_its_line(value: object, data: st.DataObject) -> None:
    paths = [name for name in SAMPLE if name != "mappings"]
    paths += [f"tracker.{name}" for name in SAMPLE["tracker"]] + [f"cost.{name}" for name in SAMPLE["cost"]]
    paths += [f"mappings.0.{name}" for name in SAMPLE["mappings"][0]]
    try:
        sample = decode(changed(data.draw(st.sampled_from(paths)), value))
    except Damaged:
        return
    assert len(list(sample.mappings)) == 2


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", b'{"type":"moon"}'])
def test_what_is_no_line_is_named(line: bytes) -> None:
    whole = sample_line(a_sample(Coverage.EXACT), pages=True).encode()
    found = recording(whole + line + b"\n" + whole)
    assert found.problem.startswith("line 2 is damaged: ")
    assert len(found.entries) == 1


def test_an_unknown_version_is_named() -> None:
    found = recording(json.dumps({**SAMPLE, "version": 2}).encode() + b"\n")
    assert found.problem == "it is no recording that this memtop reads: version 2 of the stream, not 1"
    with pytest.raises(
        Failed, match="FILE can't be shown: it is no recording that this memtop reads: version 2"
    ):
        found.processes()


def test_a_delta_needs_a_whole_sample_before() -> None:
    delta = {**SAMPLE, "type": "delta", "changed": [], "gone": []}
    found = recording(json.dumps(delta).encode() + b"\n")
    with pytest.raises(Damaged, match="without a whole sample"):
        found.sample(0)


def test_a_torn_last_line_is_left_out() -> None:
    whole = sample_line(a_sample(Coverage.EXACT), pages=True).encode()
    found = recording(whole + whole[:-100])
    assert len(found.entries) == 1
    assert found.problem == "its last line was not written to its end, as when a recorder is killed: left out"


def test_an_empty_recording_is_a_sentence() -> None:
    with pytest.raises(Failed, match="FILE can't be shown: it holds no samples"):
        recording(b"").processes()


HOSTILE = "\x1b]52;c;aGk=\x07\x9b31m\u202e[red]\ud800\n\u200b界" + "A" * 9000


def test_texts_of_a_recording_are_cleaned() -> None:
    value = changed("mappings.0.name", HOSTILE)
    for name in ("comm", "message"):
        value[name] = HOSTILE
    value["tracker"]["note"] = value["tracker"]["name"] = HOSTILE
    sample = decode(value)
    who = process_of(
        {
            **process_object(sample.process),
            "host": HOSTILE,
            "user": HOSTILE,
            "cmdline": HOSTILE,
            "boot_id": HOSTILE,
        }
    )
    texts = [sample.process.comm, sample.message, sample.tracker.note, sample.tracker.name]
    texts += [sample.mappings[0].mapping.name, who.host, who.user, who.cmdline, who.boot_id]
    for text in texts:
        assert text.startswith("\\x1b]52;c;aGk=\\x07\\x9b31m\\u202e[red]\\ud800\\x0a\\u200b界A")
        assert len(text) <= 4096


def test_a_file_is_read_by_its_places(tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl"
    path.write_text(2 * sample_line(a_sample(Coverage.EXACT), pages=True), encoding="ascii")
    found = Recording(os.open(path, os.O_RDONLY), "two")
    assert [process.pid for process in found.processes()] == [1]
    with found.changed:
        found.changed.wait_for(lambda: found.closed)
    assert [entry.moment for entry in found.entries] == [0, 1]
    assert found.sample(1).mappings[0].written_pages == 3
