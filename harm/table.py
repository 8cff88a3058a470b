"""Results of injections, one JSON object a line, and the tables made of them."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.marked import table

MOST_ROWS = 20
KEY = "harm"
"""Of the part of docs/safety.md that ``--write`` fills."""
Record = dict[str, Any]

COLUMNS = (
    ("nobody", ("nobody",), None),
    ("injector, at a call", ("injector",), "step"),
    ("injector, random", ("injector",), "random"),
    ("memtop", ("memtop",), None),
    ("both", ("both",), None),
)


def read(path: Path) -> list[Record]:
    """All records so far; a line cut short by the end of a run is left out."""
    records = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
    return records


def _cell(records: Sequence[Record]) -> str:
    return f"{sum(r['harm'] is not None for r in records)} / {len(records)}" if records else "–"


def _belongs(record: Record, who: tuple[str, ...], when: str | None) -> bool:
    if record["who"] not in who:
        return False
    return when is None or (record["when"] == "step") == (when == "step")


def render(records: Sequence[Record]) -> str:
    """By target, by kill point, and what the harm was."""
    harmed = [r for r in records if r["harm"] is not None]
    fell = sum(bool(r["fell"]) for r in records)
    parts = [
        f"{len(records)} injections, {fell} of them with a SIGKILL before their end; "
        f"**harmed: {len(harmed)}**, one EINTR seen: {_interrupted(records)}. {_machine()}\n",
        _by_target(records),
        _by_point(records),
    ]
    if harmed:
        parts.append(_by_kind(harmed))
    refused = Counter((r["target"], r["words"]) for r in records if r["who"] == "nobody" and r["words"])
    if refused:
        rows = [(target, words, n) for (target, words), n in sorted(refused.items())]
        parts.append("Refused, with nobody killed:\n\n" + table(("target", "why", "times"), rows))
    return "\n".join(parts)


def _interrupted(records: Iterable[Record]) -> int:
    return sum(r["eintr"] for r in records)


def _by_target(records: Sequence[Record]) -> str:
    rows = []
    names = list(dict.fromkeys(r["target"] for r in records))
    for name in [*names, "all"]:
        own = [r for r in records if name in (r["target"], "all")]
        cells = [_cell([r for r in own if _belongs(r, who, when)]) for _, who, when in COLUMNS]
        rows.append([name, *cells, _cell(own), _interrupted(own), sum(r["left"] for r in own)])
    head = ["killed:", *(title for title, _, _ in COLUMNS), "all", "EINTR seen", "descriptors left"]
    return "Harmed / injections, by target and by who was killed:\n\n" + table(head, rows)


def _by_point(records: Sequence[Record]) -> str:
    """The points that harmed most, and the rest in sum."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record["fell"] and record["who"] in ("injector", "both"):
            groups[record["point"]].append(record)

    def pooled(points: Iterable[str]) -> list[Record]:
        return [record for point in points for record in groups[point]]

    harms = {point: sum(r["harm"] is not None for r in group) for point, group in groups.items()}
    told = [point for point, group in groups.items() if harms[point] or _interrupted(group)]
    told.sort(key=lambda point: (-harms[point], -_interrupted(groups[point])))
    parts = {point: groups[point] for point in told[:MOST_ROWS]}
    parts[f"{len(told[MOST_ROWS:])} more points with harm or EINTR"] = pooled(told[MOST_ROWS:])
    parts[f"all other {len(groups) - len(told)} points"] = pooled(p for p in groups if p not in told)
    rows = [
        (point, _cell(group), _interrupted(group), sum(r["left"] for r in group))
        for point, group in parts.items()
        if group
    ]
    head = ["injector killed", "harmed", "EINTR seen", "descriptors left"]
    return "By kill point (the n-th call of that name that the injector makes):\n\n" + table(head, rows)


def _by_kind(harmed: Sequence[Record]) -> str:
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for record in harmed:
        kinds[record["harm"]][record["point"]] += 1
    rows = []
    for kind, points in sorted(kinds.items(), key=lambda item: -sum(item[1].values())):
        rows.append([kind, sum(points.values()), ", ".join(f"{p} ({n})" for p, n in points.most_common(4))])
    return "What the harm was:\n\n" + table(("harm", "times", "where most"), rows)


def _machine() -> str:
    release = ".".join(platform.release().split("-")[0].split(".")[:2])
    return f"Linux {release}, {platform.machine()}, {len(os.sched_getaffinity(0))} CPUs."
