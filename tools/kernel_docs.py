"""docs/kernels.md and docs/permissions.md, from what the tests recorded on each kernel."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import marked

COLUMNS = {"maps": "mappings", "pages": "pages", "write-protect": "write-protect", "soft-dirty": "soft-dirty"}


@dataclass
class Recorded:
    """What one kernel's tests recorded (``record_property``).

    Attributes:
        kernel: as people say it; the machine's own has its release.
        package: its version, or where it comes from.
    """

    kernel: str
    package: str
    matrix: dict[str, str] = field(default_factory=dict)
    shares: dict[str, str] = field(default_factory=dict)
    permissions: list[dict[str, Any]] = field(default_factory=list)


def read(kernel: str, package: str, report: ElementTree.Element) -> Recorded:
    """From a junit file."""
    recorded = Recorded(kernel, package)
    for item in report.iter("property"):
        name, value = item.get("name", ""), item.get("value", "")
        if name == "matrix":
            recorded.matrix = json.loads(value)
        elif name == "permission":
            recorded.permissions.append(json.loads(value))
        else:
            recorded.shares[name] = value
    return recorded


def write(docs: Path, runs: Sequence[Recorded], date: str, took: str) -> None:
    """Fills both files."""
    marked.put(docs / "kernels.md", "kernels", kernels(runs, date, took))
    marked.put(docs / "permissions.md", "permissions", permissions(runs, date))


# ---- kernels --------------------------------------------------------------------------------------------


def kernels(runs: Sequence[Recorded], date: str, took: str) -> str:
    """Kernel × capability × exactness."""
    names = list(dict.fromkeys(name for run in runs for name in run.matrix))
    head = ["", *(run.kernel for run in runs)]
    rows = [["package", *(run.package for run in runs)]]
    rows += [[name, *(run.matrix.get(name, "") for run in runs)] for name in names]
    measured = (
        ("soft_dirty_running", "soft-dirty, a writer that never pauses"),
        ("soft_dirty_frozen", "soft-dirty --freeze, a writer that runs on"),
    )
    for key, title in measured:
        rows.append([title, *(_share(run.shares.get(key, "–")) for run in runs)])
    notes = [f"{run.kernel}: {run.shares['agreement']}" for run in runs if "agreement" in run.shares]
    text = f"Written by `make test-kernels` on {date}; {took}.\n\n{marked.table(head, rows, '---')}"
    return text + "".join(f"\nBoth trackers on the same writer, {note}.\n" for note in notes)


def _share(text: str) -> str:
    found = re.match(r"(\d+) of (\d+) missed in (\d+) ticks", text)
    if not found:
        return text
    lost, all_, ticks = map(int, found.groups())
    return (
        f"{lost / all_:.1%} of {all_:,} pages missed, {ticks} ticks"
        if lost
        else f"0 of {all_:,} pages missed, {ticks} ticks"
    )


# ---- permissions ------------------------------------------------------------------------------------------


def permissions(runs: Sequence[Recorded], date: str) -> str:
    """Who × what, all kernels in one table; where they differ, the cell says it."""
    order = list(dict.fromkeys(p["who"] for run in runs for p in run.permissions))
    by_case = {
        who: {run.kernel: p for run in runs for p in run.permissions if p["who"] == who} for who in order
    }
    reasons: dict[str, int] = {}
    rows = []
    for who, told in by_case.items():
        row = [who]
        for name in COLUMNS:
            row.append(_cell({kernel: p["cells"][name] for kernel, p in told.items()}, reasons))
        row.append(_agree({kernel: _choice(p["auto"]) for kernel, p in told.items() if p["auto"]}))
        rows.append(row)
    head = ["who looks", *COLUMNS.values(), "`--track auto` takes"]
    kernels = ", ".join(f"{run.kernel} ({run.package})" for run in runs if run.permissions)
    text = f"Written by `make test-kernels` on {date}, on {kernels}.\n\n{marked.table(head, rows, '---')}"
    listed = "".join(f"{number}. {reason}\n" for reason, number in reasons.items())
    return f"{text}\nWhat memtop says (N: a number):\n\n{listed}"


def _cell(told: dict[str, dict[str, str]], reasons: dict[str, int]) -> str:
    """yes or no, and why not; kernels that can't at all, whoever asks, do not count."""
    able = {kernel: cell for kernel, cell in told.items() if cell["can"] != "kernel"}

    def answer(cell: dict[str, str]) -> str:
        if cell["can"] == "yes":
            return "yes"
        return f"no ({reasons.setdefault(cell['says'], len(reasons) + 1)})"

    return _agree({kernel: answer(cell) for kernel, cell in able.items()})


def _choice(auto: str) -> str:
    return auto if auto in ("write-protect", "soft-dirty") else "–"


def _agree(answers: dict[str, str]) -> str:
    different: dict[str, list[str]] = {}
    for kernel, text in answers.items():
        different.setdefault(text, []).append(kernel)
    if len(different) < 2:
        return next(iter(different), "–")
    return "; ".join(f"{text}: {_list(kernels)}" for text, kernels in different.items())


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
