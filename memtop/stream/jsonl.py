"""Sample → one JSON object a line (JSON Lines); the format is described in docs/stream.md.

Version 1. Fields are only ever added within a version; None becomes ``null`` and means "not known".
"""

from __future__ import annotations

import json
from typing import Any

from memtop import __version__
from memtop.model.coverage import Coverage
from memtop.model.layout import CountFlag
from memtop.model.sample import MappingSample, Process, Sample

VERSION = 1

FLAGS = {"written-huge": CountFlag.WRITTEN_HUGE, "too-sparse": CountFlag.TOO_SPARSE}
"""Words of ``flags``; the other bits follow from ``resident`` and ``zero`` being null or not."""


def coverage_word(coverage: Coverage) -> str:
    """The state of a mapping as one word."""
    return coverage.name.lower().replace("_", "-")


def process_object(process: Process) -> dict[str, Any]:
    """Who it is, as the first line of a recording has it."""
    return {
        "type": "process",
        "version": VERSION,
        "memtop": __version__,
        "pid": process.pid,
        "start_time": process.start_time,
        "boot_id": process.boot_id,
        "comm": process.comm,
        "cmdline": process.cmdline,
        "user": process.user,
        "host": process.host,
        "started": round(process.started, 3),
    }


def sample_object(sample: Sample, *, pages: bool = False) -> dict[str, Any]:
    """The sample as plain values.

    Args:
        pages: add to each mapping what only page-level readers want, ``written`` above all.
    """
    return {
        **head_object(sample),
        "mappings": [mapping_object(row, pages) for row in sample.mappings],
    }


def head_object(sample: Sample) -> dict[str, Any]:
    """All but the mappings."""
    process, totals = sample.process, sample.totals
    return {
        "type": "sample",
        "version": VERSION,
        "time": round(sample.time, 6),
        "interval": round(sample.interval, 6),
        "pid": process.pid,
        "start_time": process.start_time,
        "comm": process.comm,
        "state": sample.life.value,
        "message": sample.message,
        "tracker": {
            "name": sample.tracker.name,
            "exact": sample.tracker.exact.value,
            "note": sample.tracker.note,
            "armed": sample.tracker.armed,
            "mappings": sample.tracker.mappings,
            "huge_split": sample.tracker.huge_split,
        },
        "baseline": sample.baseline,
        "stretched": sample.stretched,
        "size": totals.size,
        "resident": totals.resident,
        "huge": totals.huge,
        "swapped": totals.swapped,
        "written_pages": totals.written_pages,
        "written_bytes_per_s": _round(totals.written_bytes_per_s),
        "minor_faults_per_s": _round(sample.faults.minor_per_s),
        "major_faults_per_s": _round(sample.faults.major_per_s),
        "cost": {
            "scan_s": round(sample.cost.scan_s, 6),
            "cpu_s": round(sample.cost.cpu_s, 6),
            "target_faults": sample.cost.target_faults,
            "target_s": round(sample.cost.target_s, 9),
            "stop_s": round(sample.cost.stop_s, 9),
        },
    }


def line_of(value: dict[str, Any]) -> str:
    """One line of ASCII JSON, newline included."""
    return json.dumps(value, separators=(",", ":")) + "\n"


def sample_line(sample: Sample, *, pages: bool = False) -> str:
    """The sample as one line."""
    return line_of(sample_object(sample, pages=pages))


def mapping_object(row: MappingSample, pages: bool) -> dict[str, Any]:
    """One mapping as plain values; see ``sample_object``."""
    mapping = row.mapping
    answer: dict[str, Any] = {
        "id": mapping.id,
        "start": f"{mapping.start:#x}",
        "end": f"{mapping.end:#x}",
        "perms": mapping.perms,
        "offset": mapping.offset,
        "dev": mapping.dev,
        "inode": mapping.inode,
        "name": mapping.name,
        "kind": mapping.kind.label,
        "resident": row.resident,
        "huge": row.huge,
        "zero": row.zero,
        "swapped": row.swapped,
        "written_pages": row.written_pages,
        "written_bytes_per_s": _round(row.written_bytes_per_s),
        "exactness": row.exactness.value,
        "reason": row.coverage.reason,
    }
    if pages:
        answer["guard"] = row.guard
        answer["coverage"] = coverage_word(row.coverage)
        answer["flags"] = [word for word, flag in FLAGS.items() if row.flags & flag]
        answer["resident_map"] = f"{row.resident_map:#x}"
        answer["written_map"] = f"{row.written_map:#x}"
        answer["written"] = [[f"{run.start:#x}", run.pages] for run in row.written]
    return answer


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
