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
from dataclasses import dataclass
from statistics import median

from _common import ROOT, Helper, Report, options, programs

sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests" / "pty"))
from terminal import Screen, Terminal

GIB = 1 << 30
COLUMNS = ["process", "key", "median ms", "95 % ms", "longest ms"]
NOTE = (
    "Tracked, -d 0.5, 120x40, keys at random moments. t opens timelines and the map in turn, < and > sort by "
    "another column, F5 groups by file, by kind and not; the letters are typed into an open line."
)
SELECTED = re.compile(r"^[▸>] *([0-9a-f]+)", re.MULTILINE)
ESCAPE, ENTER, UP, DOWN, LEFT, RIGHT = "\x1b", "\r", "\x1b[A", "\x1b[B", "\x1b[D", "\x1b[C"
PAGE_UP, PAGE_DOWN, HOME, END, F2, F5 = "\x1b[5~", "\x1b[6~", "\x1b[H", "\x1b[F", "\x1bOQ", "\x1b[15~"


def selected(screen: Screen) -> str:
    """Address of the row that is selected."""
    found = SELECTED.search(screen.text)
    return found[1] if found else ""


def title(screen: Screen) -> str:
    """The line between table and pane says which one it is."""
    return next((line[:50] for line in screen.lines if line.startswith("──")), "")


def heads(screen: Screen) -> str:
    """Columns, order, groups and filter."""
    return next((line for line in screen.lines if "ADDRESS" in line), "")


def found(pattern: str) -> Callable[[Screen], str]:
    """What is on the screen of this form; empty: nothing."""
    form = re.compile(pattern, re.MULTILINE)
    return lambda screen: match[0] if (match := form.search(screen.text)) else ""


@dataclass(frozen=True)
class Keys:
    """Keys that are pressed in turn.

    Attributes:
        label: what the table calls them.
        keys: each is timed.
        shows: what such a key changes, and no sample does.
        first, undo: what is pressed before and behind each of them, and not timed.
        open: what is on the screen between the two.
    """

    label: str
    keys: tuple[str, ...]
    shows: Callable[[Screen], str]
    first: str = ""
    undo: str = ""
    open: Callable[[Screen], str] | None = None


SEARCH, FILTER, QUESTION, CURSOR = (
    found("^ search( .*)?$"),
    found("^ filter( .*)?$"),
    found(r"^ \? [A-Z]"),
    found(" · page .*"),
)
KEYS = [
    Keys("down, up", (DOWN, DOWN, UP), selected),
    Keys("PgDn, PgUp", (PAGE_DOWN, PAGE_UP), selected),
    Keys("End, Home", (END, HOME), selected),
    Keys("t", ("t",) * 3, title),
    Keys("i", ("i",) * 2, title),
    Keys("[, ]", ("[", "]"), title),
    Keys("→, ← in the map", (RIGHT, LEFT), CURSOR, ENTER, ESCAPE, CURSOR),
    Keys(">", (">",), heads),
    Keys("<", ("<",), heads),
    Keys("r", ("r",) * 2, heads),
    Keys("F5", (F5,) * 3, heads),
    Keys("/", ("/",), SEARCH, undo=ESCAPE),
    Keys("a digit to search for", ("7",), found("rows? match.*"), "/", ESCAPE, SEARCH),
    Keys("f", ("f",), FILTER, undo=ESCAPE),
    Keys("the last letter of written", ("n",), heads, "fwritte", ESCAPE, FILTER),
    Keys("m, M", ("m", "M"), heads),
    Keys("w", ("w",), QUESTION, undo=ESCAPE),
    Keys("c", ("c",), QUESTION, undo=ESCAPE),
    Keys("F2", (F2,), found("space on, off"), undo=ENTER),
    Keys("T", ("T",) * 5, found("^ +theme .*")),
    Keys("space", (" ",) * 2, found("● live|‖ frozen")),
    Keys("?", ("?",), found("any other key closes"), undo="x"),
]


def timed(terminal: Terminal, key: str, shows: Callable[[Screen], str]) -> float:
    """Seconds until the screen shows something else."""
    before = shows(terminal.screen)
    began = time.monotonic()
    terminal.send(key)
    while shows(terminal.screen) == before:
        terminal.read_all(0.5)
        if time.monotonic() - began > 10:
            raise SystemExit(f"{key!a} did nothing:\n{terminal.screen.text}")
    return time.monotonic() - began


def pressed(terminal: Terminal, keys: Keys, times: int, write: Callable[[], object]) -> Iterator[float]:
    """Presses them in turn, at random moments; the screen is as before in the end."""
    rng, opened = random.Random(1), keys.open or keys.shows
    for i in range(times - times % len(keys.keys)):
        write()
        if keys.first:
            terminal.send(keys.first)
            terminal.wait_for(opened, f"what {keys.first!a} opens")
        terminal.watch(rng.uniform(0.1, 0.6))
        yield timed(terminal, keys.keys[i % len(keys.keys)], keys.shows)
        if keys.undo:
            terminal.send(keys.undo)
            terminal.wait_for(lambda screen: not opened(screen), f"nothing of {keys.label} any more")


@contextmanager
def shapes() -> Iterator[dict[str, tuple[int, Callable[[], object]]]]:
    """Processes: pid, and what makes one write."""
    with (
        programs("target") as (program,),
        Helper(program, "many", 30_000) as many,
        Helper(program, "sparse", 1 << 40) as sparse,
        Helper(program, "reserve", 1 << 40) as reserve,
        Helper(program, "small", GIB) as small,
    ):
        for helper in (many, sparse, reserve, small):
            helper.answer()
        yield {
            "30 000 mappings": (many.pid, lambda: many.ask(1000)),
            "1 TiB, 1000 pages there": (sparse.pid, lambda: sparse.ask(100)),
            "1 TiB, 4 GiB there": (reserve.pid, lambda: reserve.ask(5000)),
            "1 GiB in 4 KiB pages": (small.pid, lambda: small.ask(5000)),
        }


def main() -> None:
    chosen = options(__doc__, keys=40)
    report = Report("keys", "From a key to the screen, while sampling", COLUMNS, NOTE)
    with shapes() as processes:
        for name, (pid, write) in processes.items():
            command = [sys.executable, "-m", "memtop", "-p", str(pid), "-d0.5", "--track", "write-protect"]
            with Terminal([*command, "--max-cost", "0"], 120, 40) as terminal:
                terminal.wait_for_text("write-protect", "▸", seconds=60)
                terminal.watch(3)
                for keys in KEYS:
                    spans = sorted(pressed(terminal, keys, chosen.keys, write))
                    at95 = spans[int(0.95 * len(spans))]
                    report.add(
                        name, keys.label, *(f"{1000 * s:.0f}" for s in (median(spans), at95, spans[-1]))
                    )
    report.finish(chosen.write)


if __name__ == "__main__":
    main()
