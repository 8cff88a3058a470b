"""The part of a Markdown file that a run writes, between two marks; the rest is written by people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def put(path: Path, key: str, text: str) -> None:
    """Replaces what is between ``<!-- KEY -->`` and ``<!-- /KEY -->``, or adds both at the end."""
    begin, end = f"<!-- {key} -->", f"<!-- /{key} -->"
    whole = path.read_text(encoding="utf-8") if path.exists() else ""
    section = f"{begin}\n{text}{end}"
    if begin in whole and end in whole:
        whole = whole[: whole.index(begin)] + section + whole[whole.index(end) + len(end) :]
    else:
        whole = f"{whole.rstrip()}\n\n{section}\n".lstrip()
    path.write_text(whole, encoding="utf-8")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], align: str = "---:") -> str:
    """A table whose columns but the first are aligned so."""
    lines = ["| " + " | ".join(map(str, head)) + " |", "|---" + f"|{align}" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"
