"""A recording's lines: now and then a whole sample, between them only what changed.

Of 30 000 mappings a tick changes a few dozen. A ``delta`` line names those, each with its changed fields
only; whoever reads from a whole line on can rebuild every sample between (``decode``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memtop.model.layout import COUNT, FIRST_RUN_AT
from memtop.model.sample import Life, Process, Sample
from memtop.stream.jsonl import head_object, line_of, mapping_object, process_object, sample_object

WHOLE_EVERY = 64
"""Lines of one process from one whole sample to the next: what a reader must decode at most to show one."""

_SLICE = 64
"""Records that are compared in one piece before one by one."""


class DeltaWriter:
    """Turns the samples of some processes into the lines of a recording.

    Args:
        interval: nominal seconds between samples, if they have one.
    """

    def __init__(self, interval: float | None = None) -> None:
        self._interval = interval
        self._last: dict[tuple[int, int], Sample] = {}
        self._since_whole: dict[tuple[int, int], int] = {}
        self._said: dict[tuple[int, int], Process] = {}

    def process_line(self, process: Process) -> str:
        """Who it is; empty if the last such line said the same."""
        key = process.pid, process.start_time
        if self._said.get(key) == process:
            return ""
        self._said[key] = process
        return line_of({**process_object(process), "interval": self._interval})

    def lines(self, sample: Sample) -> str:
        """The next lines: a sample, before it the process if it has changed (exec)."""
        key, last = sample.key, self._last.get(sample.key)
        self._last[key] = sample
        intro = self.process_line(sample.process)
        since = self._since_whole.get(key, 0) + 1
        if last is None or sample.life is Life.EXECED or since >= WHOLE_EVERY:
            self._since_whole[key] = 0
            return intro + line_of(sample_object(sample, pages=True))
        self._since_whole[key] = since
        return intro + line_of(delta_object(last, sample))


def delta_object(last: Sample, sample: Sample) -> dict[str, Any]:
    """What changed, as plain values: ``changed`` mappings with their changed fields, ``gone`` ones by id."""
    before = {mapping_id: i for i, mapping_id in enumerate(last.table.ids)}
    same = sample.table is last.table
    candidates = _touched(last, sample) if same else range(len(sample.table))
    changed = []
    for i in candidates:
        row = mapping_object(sample.mappings[i], True)
        at = before.get(row["id"])
        if at is None:
            changed.append(row)
            continue
        old = mapping_object(last.mappings[at], True)
        patch = {name: value for name, value in row.items() if old[name] != value}
        if patch:
            changed.append({"id": row["id"], **patch})
    gone = [] if same else sorted(before.keys() - set(sample.table.ids))
    return {**head_object(sample), "type": "delta", "changed": changed, "gone": gone}


def _touched(last: Sample, sample: Sample) -> list[int]:
    """Rows of an unchanged table that may say something else than before."""
    found = set(_differing(_without_place(last), _without_place(sample), COUNT.size))
    found.update(_differing(last.coverage, sample.coverage, 1))
    for each in (last, sample):  # the same counts do not make the same pages
        counts = memoryview(each.counts).cast("I")[17 :: COUNT.size // 4].tolist()
        found.update(i for i, runs in enumerate(counts) if runs)
    if last.swapped != sample.swapped or last.baseline != sample.baseline:
        return list(range(len(sample.table)))
    return sorted(found)


def _without_place(sample: Sample) -> bytes:
    """The counts without where a mapping's runs begin: one run more moves those of all mappings behind it."""
    counts = bytearray(sample.counts)
    for byte in range(FIRST_RUN_AT, FIRST_RUN_AT + 4):
        counts[byte :: COUNT.size] = bytes(len(counts) // COUNT.size)
    return bytes(counts)


def _differing(a: bytes, b: bytes, size: int) -> Iterator[int]:
    """Indexes of the records that differ; slices that are equal cost a memcmp."""
    step = size * _SLICE
    for at in range(0, len(b), step):
        if a[at : at + step] == b[at : at + step]:
            continue
        for i in range(at, min(at + step, len(b)), size):
            if a[i : i + size] != b[i : i + size]:
                yield i // size
