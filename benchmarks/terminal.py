"""What a terminal and a host see of memtop, beside top, htop and btop on the same processes in the same run.

Each viewer runs on a pty of its own, all in turn, several times over. Bytes are counted as they leave the
pty; processor time and memory are read from /proc, of all threads. memtop looks at its demo's workload,
tracked, of which something is written in every part all the time, and at a process that does nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from _common import ROOT, Report, options, times

sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests" / "pty"))
from terminal import Terminal

EMPTY = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    def compose(self):
        yield Static("one word")
Empty().run()
"""
TOP, NOTHING, FIRST_OF_OURS = "top -d1", "an empty Textual app", "memtop, 1 Hz"
IDLE = "memtop, 2 Hz, idle process"
MEMTOP = [sys.executable, "-m", "memtop"]
COLUMNS = [
    "viewer", "screen", "bytes/s", "to top", "CPU %", "of it drawing", "RSS MiB", "PSS MiB",
    "first picture ms", "to empty app",
]  # fmt: skip
NOTE = (
    "First picture: from exec to the first cell drawn, with byte code cached; drawing: the thread that has "
    "the screen. memtop looks at the demo's workload, which writes everywhere, or at a process that sleeps. "
    "Beside that one the picture stands from ten seconds on, which is what is measured. "
    "256 colours: the terminal does not say that it has more, as over most ssh connections."
)


@dataclass(frozen=True)
class Viewer:
    """What is run, what is added to its environment, and what is typed once it shows something."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    keys: str = ""
    settles: float = 4.0
    """Seconds from its first picture on: what starts up is not what runs."""


class Seen:
    """One run of one viewer."""

    def __init__(self, viewer: Viewer, size: tuple[int, int], seconds: float, home: str) -> None:
        began = time.monotonic()
        cached = {"PYTHONPYCACHEPREFIX": f"{home}/pyc", "PYTHONDONTWRITEBYTECODE": ""}  # as when installed
        env = {"XDG_CONFIG_HOME": home, "HOME": home} | cached | viewer.env
        with Terminal(viewer.command, *size, **env) as terminal:
            terminal.wait_for(lambda screen: screen.text.strip(), "a picture", 30)
            self.first = time.monotonic() - began
            terminal.watch(viewer.settles)
            terminal.send(viewer.keys)
            terminal.watch(1)
            pid, sent, at = terminal.process.pid, len(terminal.output), time.monotonic()
            cpu, main = cpu_of(pid)
            terminal.watch(seconds)
            span = time.monotonic() - at
            now, main_now = cpu_of(pid)
            self.bytes_s = (len(terminal.output) - sent) / span
            self.cpu = 100 * (now - cpu) / span
            self.drawing = 100 * (main_now - main) / span
            self.rss, self.pss = memory_of(pid)


def cpu_of(pid: int) -> tuple[float, float]:
    """Seconds on a processor so far: of all threads, and of the main one (schedstat counts nanoseconds)."""
    threads = {
        int(task.name): int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    }
    return sum(threads.values()), threads[pid]


def memory_of(pid: int) -> tuple[float, float]:
    """MiB: resident, and with shared pages divided among those who share them."""
    fields = dict(line.split()[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Rss:"]) / 1024, int(fields["Pss:"]) / 1024


@contextmanager
def workload(*command: str) -> Iterator[int]:
    """A process to look at; its pid, once it says that it is ready."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield child.pid
        finally:
            child.kill()


def viewers(busy: int, idle: int) -> list[Viewer]:
    """All that are here; top, which the others are compared with, first, and the empty application last."""
    live = [*MEMTOP, "-p", str(busy), "--track", "auto"]
    others = [Viewer("htop -d10", ["htop", "-d10"]), Viewer("btop, 1 Hz", ["btop"])]
    return [
        Viewer(TOP, ["top", "-d1"]),
        *(viewer for viewer in others if shutil.which(viewer.command[0])),
        Viewer(FIRST_OF_OURS, [*live, "-d1"]),
        Viewer("memtop, 2 Hz", [*live, "-d0.5"]),
        Viewer("memtop, 2 Hz, 256 colours", [*live, "-d0.5"], {"COLORTERM": ""}),
        Viewer("memtop, 2 Hz, frozen", [*live, "-d0.5"], keys=" "),
        Viewer(IDLE, [*MEMTOP, "-p", str(idle), "--track", "auto", "-d0.5"], settles=15.0),
        Viewer(NOTHING, [sys.executable, "-c", EMPTY]),
    ]


def main() -> None:
    chosen = options(__doc__, repeat=3, seconds=12)
    report = Report("terminal", "On the terminal, beside top, htop and btop", COLUMNS, NOTE)
    with (
        tempfile.TemporaryDirectory() as home,
        workload(sys.executable, "-m", "memtop.demo.workload") as busy,
    ):
        sleeper = "import sys; print('ready', flush=True); sys.stdin.read()"
        with workload(sys.executable, "-c", sleeper) as idle:
            settings = Path(home) / "btop" / "btop.conf"
            settings.parent.mkdir()
            settings.write_text("update_ms = 1000\n")
            for viewer in viewers(busy, idle):
                if viewer.name in (FIRST_OF_OURS, NOTHING):  # after which byte code is cached
                    Seen(viewer, (80, 24), 1, home)
            for size in ((80, 24), (120, 40)):
                every = viewers(busy, idle)
                # All in turn, so that a busy moment of the machine meets them alike.
                turns = [
                    [Seen(viewer, size, chosen.seconds, home) for viewer in every]
                    for _ in range(chosen.repeat)
                ]
                rows(report, size, {viewer.name: seen for viewer, *seen in zip(every, *turns, strict=True)})
    report.finish(chosen.write)


def rows(report: Report, size: tuple[int, int], seen: dict[str, list[Seen]]) -> None:
    """One row a viewer."""

    def of(name: str, what: str) -> float:
        return median(getattr(each, what) for each in seen[name])

    top, empty = (of(name, what) for name, what in ((TOP, "bytes_s"), (NOTHING, "first")))
    for name in seen:
        first = of(name, "first")
        report.add(
            name,
            f"{size[0]}x{size[1]}",
            f"{of(name, 'bytes_s'):,.0f}",
            times(of(name, "bytes_s") / top),
            *(f"{of(name, what):.2f}" for what in ("cpu", "drawing")),
            *(f"{of(name, what):.0f}" for what in ("rss", "pss")),
            f"{first * 1000:,.0f}",
            times(first / empty),
        )


if __name__ == "__main__":
    main()
