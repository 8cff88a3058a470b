"""From a key to the screen, while samples are taken, of processes that are large in one way or another.

A key is sent at a random moment of the interval; what is timed is until the screen shows what it did.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from _common import ROOT, Helper, Report, options, programs

sys.path.insert(0, str(ROOT / "tests" / "pty"))
from terminal import Screen, Terminal

GIB = 1 << 30
COLUMNS = ["process", "key", "median ms", "95 % ms", "longest ms"]
NOTE = (
    "Tracked, -d 0.5, 120x40, keys at random moments. Down and up select a row of the table, t opens "
    "timelines and the map in turn, > sorts by another column."
)
SELECTED = re.compile(r"^[▸>] *([0-9a-f]+)", re.MULTILINE)


def selected(screen: Screen) -> str:
    found = SELECTED.search(screen.text)
    return found[1] if found else ""


def title(screen: Screen) -> str:
    """The line between table and pane says which one it is."""
    return next((line[:50] for line in screen.lines if line.startswith("──")), "")


def heads(screen: Screen) -> str:
    return next((line for line in screen.lines if "ADDRESS" in line), "")


KEYS: list[tuple[str, list[str], Callable[[Screen], str]]] = [
    ("down, up", ["\x1b[B", "\x1b[B", "\x1b[A"], selected),
    ("t", ["t"], title),
    (">", [">"], heads),
]


def timed(terminal: Terminal, key: str, what: Callable[[Screen], str]) -> float:
    """Seconds until the screen shows something else."""
    before = what(terminal.screen)
    began = time.monotonic()
    terminal.send(key)
    while what(terminal.screen) == before:
        terminal.read(0.5)
        if time.monotonic() - began > 10:
            raise SystemExit(f"{key!a} did nothing:\n{terminal.screen.text}")
    return time.monotonic() - began


@contextmanager
def shapes() -> Iterator[dict[str, tuple[int, Callable[[], object]]]]:
    """Processes: pid, and what makes one write."""
    with (
        programs("target") as (program,),
        Helper(program, "many", 30_000) as many,
        Helper(program, "sparse", 1 << 40) as sparse,
        Helper(program, "small", GIB) as small,
    ):
        for helper in (many, sparse, small):
            helper.answer()
        yield {
            "30 000 mappings": (many.pid, lambda: many.ask(1000)),
            "1 TiB, sparse": (sparse.pid, lambda: sparse.ask(100)),
            "1 GiB in 4 KiB pages": (small.pid, lambda: small.ask(5000)),
        }


def main() -> None:
    chosen = options(__doc__, keys=40)
    report = Report("keys", "From a key to the screen, while sampling", COLUMNS, NOTE)
    rng = random.Random(1)
    with shapes() as processes:
        for name, (pid, write) in processes.items():
            command = [sys.executable, "-m", "memtop", "-p", str(pid), "-d0.5", "--track", "write-protect"]
            with Terminal([*command, "--max-cost", "0"], 120, 40) as terminal:
                terminal.wait_for_text("write-protect", "▸", seconds=60)
                terminal.watch(3)
                for label, keys, what in KEYS:
                    spans = []
                    for i in range(chosen.keys):
                        write()
                        terminal.watch(rng.uniform(0.1, 0.6))
                        spans.append(timed(terminal, keys[i % len(keys)], what))
                    spans.sort()
                    at95 = spans[int(0.95 * len(spans))]
                    report.add(name, label, *(f"{1000 * s:.0f}" for s in (median(spans), at95, spans[-1])))
    report.finish(chosen.write)


if __name__ == "__main__":
    main()
