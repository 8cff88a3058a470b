"""Sample → one JSON object a line (JSON Lines); the format is described in docs/stream.md.

Version 1. Fields are only ever added within a version; None becomes ``null`` and means "not known".
"""

from __future__ import annotations

import json
from typing import Any

from memtop.model.sample import MappingSample, Sample

VERSION = 1


def sample_object(sample: Sample, *, pages: bool = False) -> dict[str, Any]:
    """The sample as plain values.

    Args:
        pages: add ``written`` to each mapping: ``[address, pages]`` per run.
    """
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
            "huge_split": sample.tracker.huge_split,
        },
        "baseline": sample.baseline,
        "stretched": sample.stretched,
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
        "mappings": [_mapping(row, pages) for row in sample.mappings],
    }


def sample_line(sample: Sample, *, pages: bool = False) -> str:
    """The sample as one line of ASCII JSON, newline included."""
    return json.dumps(sample_object(sample, pages=pages), separators=(",", ":")) + "\n"


def _mapping(row: MappingSample, pages: bool) -> dict[str, Any]:
    mapping = row.mapping
    answer: dict[str, Any] = {
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
        answer["written"] = [[f"{run.start:#x}", run.pages] for run in row.written]
    return answer


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
