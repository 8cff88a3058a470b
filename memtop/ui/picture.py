"""Pictures of the screen: ``memtop-COMM-PID-HOST-TIME.svg`` and ``.txt``, never over a file that exists."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
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
    """A file name without its ending; process and host chose their names, so only plain characters stay."""
    comm, host = _plain(process.comm) or "process", _plain(process.host)
    time = datetime.fromtimestamp(when, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return "-".join(part for part in ("memtop", comm, str(process.pid), host, time) if part)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._-")


def save(forms: Mapping[str, str], process: Process, when: float, folder: Path) -> Path:
    """Writes a picture under a name that is free.

    Args:
        forms: its content by the ending of the file; all get the same name.
        when: unix seconds of the sample that it shows.

    Returns:
        The path of the first.

    Raises:
        OSError: it could not be written.
    """
    for n in range(1, MOST_TRIES):
        base = folder / f"{stem(process, when)}{f'-{n}' if n > 1 else ''}"
        paths = [base.with_name(base.name + ending) for ending in forms]
        if any(os.path.lexists(path) for path in paths):
            continue
        made: list[Path] = []
        try:
            for path, content in zip(paths, forms.values(), strict=True):
                _write_new(path, content, made)
        except OSError as error:
            for path in made:  # half a picture is none
                path.unlink(missing_ok=True)
            if isinstance(error, FileExistsError):  # somebody was faster
                continue
            raise
        return paths[0]
    raise FileExistsError(f"{MOST_TRIES} pictures of this moment exist already")


def _write_new(path: Path, content: str, made: list[Path]) -> None:
    # O_EXCL: neither a file that exists nor a link that somebody laid there is written to.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    made.append(path)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(content)
