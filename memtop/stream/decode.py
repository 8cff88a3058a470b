"""JSON Lines → Sample: the way back from ``jsonl`` and ``delta``.

A recording comes from another machine, from a pipe, from a stranger: nothing in it is believed. Texts are
cleaned again, numbers must fit their records, runs must lie in their mapping; whatever does not is a
``Damaged`` that says what, and the reader adds the number of the line.
"""

from __future__ import annotations

import json
import math
import struct
from array import array
from typing import Any

from memtop.model.coverage import Coverage, Exactness
from memtop.model.layout import COUNT, FIRST_RUN_AT, MAPPING, PAGE, RUN, CountFlag, Kind, Perm
from memtop.model.mapping import MappingTable
from memtop.model.names import clean
from memtop.model.runs import PageRuns
from memtop.model.sample import Cost, Faults, Life, Process, Sample, Totals, TrackerInfo
from memtop.stream.jsonl import FLAGS, VERSION, coverage_word

Key = tuple[int, int]

LAST_TIME = 253402300799.0
"""9999-12-31, unix seconds: what a clock on a screen can show."""

_COVERAGE = {coverage_word(coverage): coverage for coverage in Coverage}
_BY_REASON = {coverage.reason: coverage for coverage in Coverage}
_KIND = {kind.label: kind for kind in Kind}
_PERM = {"r": Perm.READ, "w": Perm.WRITE, "x": Perm.EXEC, "s": Perm.SHARED}
_TABLE_FIELDS = frozenset({"start", "end", "perms", "offset", "dev", "inode", "name", "kind"})


class Damaged(ValueError):
    """This line is no line of the stream, and why."""


def text(value: object) -> str:
    """A string of the file, safe to print."""
    if not isinstance(value, str):
        raise Damaged(f"{value!r:.40} where a text should be")
    return clean(value.encode("utf-8", "backslashreplace"))


def parse(line: bytes) -> dict[str, Any]:
    """One line as plain values, of a type and version that is known here.

    Raises:
        Damaged: it is not.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"no line of JSON ({error})") from None
    if not isinstance(value, dict) or value.get("type") not in ("process", "sample", "delta"):
        raise Damaged("no line of a memtop recording")
    if value.get("version") != VERSION:
        raise Damaged(f"version {value.get('version')!r:.20} of the stream, not {VERSION}")
    return value


def key_of(value: dict[str, Any]) -> Key:
    """pid and start time of a parsed line."""
    try:
        return whole(value["pid"], 2**31 - 1), whole(value["start_time"])
    except KeyError as error:
        raise Damaged(f"{error} is missing") from None


def time_of(value: dict[str, Any]) -> float:
    """Unix seconds of a parsed sample."""
    time = number(value.get("time"))
    if not 0 <= time <= LAST_TIME:
        raise Damaged(f"time {time!r}")
    return time


def process_of(value: dict[str, Any]) -> Process:
    """The process of a parsed line; of a sample (``memtop batch``) what that knows."""
    pid, start_time = key_of(value)
    names = ("boot_id", "comm", "cmdline", "user", "host")
    boot_id, comm, cmdline, user, host = (text(value.get(name, "")) for name in names)
    started = number(value.get("started", 0))
    return Process(pid, start_time, boot_id, comm, cmdline, user or "?", host or "?", started=started)


def whole(value: object, most: int = 2**64 - 1) -> int:
    """A whole number from 0 on."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Damaged(f"{value!r:.40} where a whole number should be")
    return value


def number(value: object) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Damaged(f"{value!r:.40} where a number should be")
    return float(value)


def _maybe(value: object) -> float | None:
    return None if value is None else number(value)


def _hex(value: object) -> int:
    if not isinstance(value, str) or len(value) > 18:
        raise Damaged(f"{value!r:.40} where an address should be")
    return int(value, 16)


class Decoder:
    """Rebuilds the samples of one process; lines go in as parsed, a whole one first."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, Any]] = {}
        self._order: list[int] = []
        self._at: dict[int, int] = {}
        self._table = MappingTable()
        self._counts = bytearray()
        self._coverage = bytearray()
        self._runs: dict[int, bytes] = {}

    def sample(self, value: dict[str, Any], process: Process) -> Sample:
        """The sample of a parsed ``sample`` or ``delta`` line.

        Raises:
            Damaged: it contradicts the format, or a delta comes before any whole sample.
        """
        try:
            if value["type"] == "sample":
                self._whole(value["mappings"])
            else:
                self._patch(value["changed"], value["gone"])
            return self._sample(value, process)
        except KeyError as error:
            raise Damaged(f"{error} is missing or unknown") from None
        except Damaged:
            raise
        except (TypeError, ValueError, AttributeError, IndexError, OverflowError, struct.error) as error:
            raise Damaged(f"a value is not of its kind ({error})") from None

    # ---- mappings ----------------------------------------------------------------------------------

    def _whole(self, rows: list[dict[str, Any]]) -> None:
        # Streams of before had no identities: there the address stands for them.
        self._rows = {whole(row.get("id", index + 1)): dict(row) for index, row in enumerate(rows)}
        if len(self._rows) != len(rows):
            raise Damaged("an id twice")
        self._lay_out()

    def _patch(self, changed: list[dict[str, Any]], gone: list[int]) -> None:
        if not self._order:
            raise Damaged("a delta without a whole sample before it")
        anew = bool(gone)
        for mapping_id in gone:
            del self._rows[mapping_id]
        for patch in changed:
            row = self._rows.get(patch["id"])
            if row is None:
                self._rows[whole(patch["id"])] = dict(patch)
                anew = True
            else:
                row.update(patch)
                anew = anew or not _TABLE_FIELDS.isdisjoint(patch)
        if anew:
            self._lay_out()
        else:
            for patch in changed:
                self._count(self._at[patch["id"]], patch["id"])

    def _lay_out(self) -> None:
        """Packs the table and all counts anew."""
        rows = self._rows
        ranges = {mapping_id: (_hex(row["start"]), _hex(row["end"])) for mapping_id, row in rows.items()}
        self._order = sorted(rows, key=ranges.__getitem__)
        self._at = {mapping_id: i for i, mapping_id in enumerate(self._order)}
        packed, names, last = [], bytearray(), 0
        for mapping_id in self._order:
            row, (start, end) = rows[mapping_id], ranges[mapping_id]
            if not last <= start < end or (start | end) % PAGE:
                raise Damaged(f"mapping {start:#x}–{end:#x}")
            last = end
            name = text(row["name"]).encode()
            perms = sum(_PERM[c] for c in row["perms"] if c not in "-p")
            major, minor = (int(part, 16) for part in row["dev"].split(":"))
            packed.append(
                MAPPING.pack(
                    start, end, row["offset"], row["inode"], major, minor,
                    len(names), len(name), perms, _KIND[row["kind"]],
                )
            )  # fmt: skip
            names += name
        self._table = MappingTable(b"".join(packed), bytes(names), array("Q", self._order))
        self._counts = bytearray(COUNT.size * len(self._order))
        self._coverage = bytearray(len(self._order))
        self._runs = {}
        for i, mapping_id in enumerate(self._order):
            self._count(i, mapping_id)

    def _count(self, i: int, mapping_id: int) -> None:
        """Packs the counts of one row; where its runs stand is known when all are."""
        row = self._rows[mapping_id]
        start, end = self._table.range_of(i)
        flags = sum(int(FLAGS[word]) for word in row.get("flags", ()))
        flags |= CountFlag.SCANNED if row["resident"] is not None else 0
        flags |= CountFlag.ZERO if row["zero"] is not None else 0
        runs, last = [], start
        for address, pages in row.get("written", ()):
            first = _hex(address)
            if first < last or pages < 1 or first + pages * PAGE > end or first % PAGE:
                raise Damaged(f"written pages {address} outside of their mapping, or out of order")
            last = first + pages * PAGE
            runs.append(RUN.pack(first, pages, 0))
        if runs:
            self._runs[i] = b"".join(runs)
        else:
            self._runs.pop(i, None)
        sizes = [(row.get(name) or 0) // PAGE for name in ("resident", "huge", "zero", "guard")]
        resident, huge, zero, guard = sizes
        COUNT.pack_into(
            self._counts, i * COUNT.size, resident, huge, zero, 0, guard, row["written_pages"] or 0,
            _hex(row.get("resident_map", "0x0")), _hex(row.get("written_map", "0x0")), 0, len(runs), flags, 0,
        )  # fmt: skip
        self._coverage[i] = (
            _COVERAGE[row["coverage"]] if "coverage" in row else _BY_REASON.get(row["reason"], Coverage.OFF)
        )

    # ---- the rest ----------------------------------------------------------------------------------

    def _sample(self, value: dict[str, Any], process: Process) -> Sample:
        first = 0
        for i in sorted(self._runs):
            struct.pack_into("<I", self._counts, i * COUNT.size + FIRST_RUN_AT, first)
            first += len(self._runs[i]) // RUN.size
        tracker, cost = value["tracker"], value["cost"]
        split = tracker["huge_split"]
        swapped = {
            mapping_id: whole(row["swapped"])
            for mapping_id, row in self._rows.items()
            if row["swapped"] is not None
        }
        pages, rate = value["written_pages"], _maybe(value["written_bytes_per_s"])
        return Sample(
            time=time_of(value),
            interval=max(number(value["interval"]), 0.0),
            process=process,
            tracker=TrackerInfo(
                text(tracker["name"]),
                Exactness(tracker["exact"]),
                text(tracker["note"]),
                whole(tracker["armed"]),
                whole(tracker.get("mappings", len(self._order))),
                None if split is None else whole(split),
            ),
            table=self._table,
            counts=bytes(self._counts),
            coverage=bytes(self._coverage),
            runs=PageRuns(b"".join(self._runs[i] for i in sorted(self._runs))),
            totals=Totals(
                whole(value.get("size", 0)),
                whole(value["resident"]),
                None if value["huge"] is None else whole(value["huge"]),
                None if value["swapped"] is None else whole(value["swapped"]),
                None if pages is None else whole(pages),
                rate,
            ),
            faults=Faults(_maybe(value["minor_faults_per_s"]), _maybe(value["major_faults_per_s"])),
            cost=Cost(
                number(cost["scan_s"]),
                number(cost["cpu_s"]),
                whole(cost["target_faults"]),
                number(cost["stop_s"]),
                number(cost["target_s"]),
            ),
            life=Life(value["state"]),
            baseline=bool(value["baseline"]),
            swapped=swapped or None,
            message=text(value["message"]),
            stretched=bool(value["stretched"]),
        )
