"""What the benchmarks share: C programs, medians, and one table on the terminal and in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import IO, Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ROOT = HERE.parent
LOAD = os.getloadavg()[0]
sys.path.insert(0, str(ROOT))
from tools import marked  # noqa: E402


@contextmanager
def programs(*names: str) -> Iterator[list[Path]]:
    """benchmarks/NAME.c, compiled into a directory that is gone afterwards."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the benchmarks need a C compiler")
    with tempfile.TemporaryDirectory() as directory:
        built = []
        for name in names:
            program = Path(directory) / name
            subprocess.run([compiler, "-std=gnu11", "-O2", HERE / f"{name}.c", "-o", program], check=True)
            built.append(program)
        yield built


class Helper:
    """A child that answers each line on stdin with a line on stdout."""

    def __init__(self, *command: str | Path | int) -> None:
        self._process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def __enter__(self) -> Helper:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def answer(self) -> str:
        line = _stream(self._process.stdout).readline()
        if not line:
            raise SystemExit(f"{self._process.args}: ended with {self._process.wait()}")
        return str(line)

    def ask(self, line: object) -> str:
        stdin = _stream(self._process.stdin)
        stdin.write(f"{line}\n")
        stdin.flush()
        return self.answer()


def _stream(stream: IO[Any] | None) -> IO[Any]:
    assert stream is not None
    return stream


def milliseconds(seconds: Sequence[float]) -> str:
    """The median, with as many digits as mean something."""
    value = median(seconds) * 1000
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def busy_note() -> str:
    """What a reader has to know where the machine had other work when this benchmark was started."""
    if LOAD < 0.5:
        return ""
    return (
        f" **The machine had other work (load average {LOAD:.1f} at the start): ratios mean something, "
        "milliseconds little.**"
    )


def times(ratio: float) -> str:
    """``12.3 ×``."""
    return f"{ratio:.2f} ×" if ratio < 10 else f"{ratio:,.0f} ×"


def vm_kib(pid: int, field: str) -> int:
    """A size of /proc/PID/status in KiB."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


class Report:
    """One table with a title and a note, printed and, if asked for, put into a Markdown file."""

    def __init__(self, key: str, title: str, columns: Sequence[str], note: str = "") -> None:
        self.key, self.title, self.columns, self.note = key, title, list(columns), note
        self.rows: list[list[str]] = []

    def add(self, *cells: object) -> None:
        self.rows.append([str(cell) for cell in cells])

    def finish(self, where: Path | None) -> None:
        """Prints, and writes if asked to."""
        table = Table(title=self.title, title_justify="left", caption=self.note, caption_justify="left")
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*row)
        Console(width=None if sys.stdout.isatty() else 140).print(table)
        if where is not None:
            self._write(where)

    def _write(self, path: Path) -> None:
        """Replaces this table's section of the file, or adds it."""
        if not path.exists():
            path.write_text("# Benchmarks\n\n`make bench` makes them.\n", encoding="utf-8")
        marked.put(path, self.key, self._markdown())

    def _markdown(self) -> str:
        return f"## {self.title}\n\n{marked.table(self.columns, self.rows)}\n{self.note}\n\n{machine()}\n"


def machine() -> str:
    """One sentence on where the numbers come from."""
    release = ".".join(platform.release().split("-")[0].split(".")[:2])
    return (
        f"Linux {release}, {platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, "
        f"Python {platform.python_version()}; medians, all of a row measured in turn in one run."
    )


def options(description: str | None, **numbers: int) -> argparse.Namespace:
    """Command line of a benchmark: ``--write FILE`` and its numbers."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--write", type=Path, metavar="FILE", help="put the table into this Markdown file")
    for name, value in numbers.items():
        p.add_argument(f"--{name}", type=int, default=value, metavar="N", help=f"(default: {value})")
    return p.parse_args()
