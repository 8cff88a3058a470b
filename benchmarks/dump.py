"""How long a process stands still for a dump, and how long the dump takes: memtop and gcore in turn.

The stop is what the process itself sees: the largest gap in a loop that only looks at the clock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from _common import HERE, Helper, Report, milliseconds, options, times

ROUNDS, PAGES = 5, 131072
ROOT = HERE.parent


@contextmanager
def dumpee(pages: int, rate: int) -> Iterator[Helper]:
    """tests/targets/dumpee.c with one writing thread and one that looks at the clock."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("the benchmarks need a C compiler")
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "dumpee"
        source = ROOT / "tests/targets/dumpee.c"
        subprocess.run([compiler, "-std=gnu11", "-O2", "-pthread", source, "-o", program], check=True)
        with Helper(program, 1, pages, rate, "watch") as helper:
            helper.answer()
            yield helper


def memtop(*words: str) -> Callable[[int, Path], Path]:
    def make(pid: int, out: Path) -> Path:
        environment = dict(os.environ, PYTHONPATH=str(ROOT))
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed memtop is compiled
        command = [sys.executable, "-m", "memtop", "dump", "-p", str(pid), "-o", str(out), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        return out

    return make


def gcore(pid: int, out: Path) -> Path:
    subprocess.run(["gcore", "-o", out, str(pid)], check=True, capture_output=True)
    return out.with_name(f"{out.name}.{pid}")


def main() -> None:
    chosen = options(__doc__, rounds=ROUNDS, pages=PAGES)
    if shutil.which("gcore") is None:
        raise SystemExit("the comparison is with gcore, from gdb")
    ways = {
        "gcore": gcore,
        "memtop dump": memtop(),
        "memtop dump --format snapshot": memtop("--format", "snapshot"),
        "memtop dump --freeze none": memtop("--freeze", "none"),
    }
    load = os.getloadavg()[0]
    report = Report(
        "dump",
        f"A dump of {chosen.pages * 4096 / (1 << 30):.2g} GiB",
        [
            "",
            "written pages/s",
            "stop seen by the process (ms)",
            "gcore's / this",
            "total (ms)",
            "of gcore's",
            "file (MiB)",
        ],
        f"Medians of {chosen.rounds}, in turn; the stop is the largest gap in the process's own "
        "clock. memtop's "
        f"total has the start of Python and fsync in it, gcore's the start of gdb. "
        f"Load average at the beginning: {load:.1f}. `python benchmarks/dump.py`",
    )
    for rate in (1, 1000, 10000, 100000):
        stops: dict[str, list[float]] = defaultdict(list)
        totals: dict[str, list[float]] = defaultdict(list)
        sizes: dict[str, int] = {}
        with dumpee(chosen.pages, rate) as target, tempfile.TemporaryDirectory(dir=".") as directory:
            for _ in range(chosen.rounds):
                for name, make in ways.items():
                    target.ask("gap")
                    began = time.monotonic()
                    path = make(target.pid, Path(directory) / "dump")
                    totals[name].append(time.monotonic() - began)
                    stops[name].append(int(target.ask("gap")) / 1e6)
                    sizes[name] = path.stat().st_blocks * 512
                    with contextlib.suppress(FileNotFoundError):
                        path.unlink()
        for name in ways:
            ratio = times(median(stops["gcore"]) / median(stops[name]))
            report.add(
                name, f"{rate:,}", milliseconds(stops[name]), ratio, milliseconds(totals[name]),
                f"{median(totals[name]) / median(totals['gcore']):.2f}",
                f"{sizes[name] / (1 << 20):,.0f}",
            )  # fmt: skip
    report.finish(chosen.write)


if __name__ == "__main__":
    main()
