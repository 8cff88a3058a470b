"""Pictures of the screen: ``memtop-COMM-PID-TIME.svg``, never over a file that exists."""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from pathlib import Path

from memtop.model.sample import Process

MOST_TRIES = 100

FONTS = "'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace"
"""Fonts whose block glyphs fill their cells."""


def portable(svg: str) -> str:
    """The picture as Rich draws it, made to look the same everywhere.

    No font is fetched from the network when somebody opens it, and spaces stay where they are in
    renderers that would fold them (librsvg).
    """
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg)
    svg = re.sub(r"font-family: Fira Code, monospace", f"font-family: {FONTS}", svg)
    # DejaVu's advance is 0.602 of its size; Rich lays out cells of 12.2 for a size of 20.
    svg = svg.replace("font-size: 20px", "font-size: 20.26px")
    return svg.replace("<svg ", '<svg xml:space="preserve" ', 1)


def stem(process: Process, when: float) -> str:
    """A file name without its ending; the process chose its own name, so only plain characters stay."""
    comm = re.sub(r"[^A-Za-z0-9_.-]+", "_", process.comm).strip("._") or "process"
    time = datetime.fromtimestamp(when, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return f"memtop-{comm}-{process.pid}-{time}"


def save(svg: str, process: Process, when: float, folder: Path) -> Path:
    """Writes a picture under a name that is free.

    Args:
        when: unix seconds of the sample that it shows.

    Raises:
        OSError: it could not be written.
    """
    for n in range(1, MOST_TRIES):
        path = folder / f"{stem(process, when)}{f'-{n}' if n > 1 else ''}.svg"
        try:
            # O_EXCL: neither a file that exists nor a link that somebody laid there is written to.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            continue
        with open(fd, "w", encoding="utf-8") as file:
            file.write(svg)
        return path
    raise FileExistsError(f"{MOST_TRIES} pictures of this moment exist already")
