"""``make screenshots``: pictures of real runs: the demo, redis under load, a JVM, CPython.

memtop runs on a real pty, as a user starts it; after a while its own picture key is pressed at each size.
Every picture is written to screenshots/ as SVG, as memtop has saved it, and as PNG (rsvg-convert).

usage: screenshots.py [NAME ...]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests" / "pty"))
sys.path.insert(0, str(ROOT))
from terminal import Terminal  # noqa: E402

from tools.scenes import missing, scene  # noqa: E402

PICTURES = ROOT / "screenshots"
SIZES = ((120, 40), (80, 24))


def photograph(
    name: str, command: Sequence[str], keys: str, sizes: Sequence[tuple[int, int]], scratch: Path
) -> None:
    """Runs memtop, presses keys, waits, and takes its picture at each size."""
    inside = ["sh", "-c", 'cd "$0" && exec "$@"', str(scratch), *command]
    with Terminal(inside, *sizes[0], PYTHONPATH=str(ROOT)) as terminal:
        terminal.wait_for_text(
            "memtop", "written" if "--track" in command or "demo" in command else "resident"
        )
        for key in keys.split():
            if key.isdigit():
                terminal.watch(int(key))
                continue
            terminal.send(
                {"down": "\x1b[B", "up": "\x1b[A", "left": "\x1b[D", "f5": "\x1b[15~"}.get(key, key)
            )
            terminal.watch(0.5)
        for columns, rows in sizes:
            if (columns, rows) != sizes[0]:
                terminal.resize(columns, rows)
                terminal.watch(3)
            before = set(scratch.glob("*.svg"))
            terminal.send("s")
            terminal.wait_for(lambda _, b=before: set(scratch.glob("*.svg")) - b, "a picture", 10)
            terminal.watch(0.5)  # written whole
            (taken,) = set(scratch.glob("*.svg")) - before
            keep(taken.read_text(encoding="utf-8"), f"{name}-{columns}x{rows}")
            terminal.watch(6)  # its notice goes
        terminal.send("q")
        terminal.end()


def keep(svg: str, name: str) -> None:
    """Writes SVG and PNG."""
    assert "url(http" not in svg, "memtop.ui.picture takes out what is from elsewhere"
    PICTURES.mkdir(exist_ok=True)
    target = PICTURES / f"{name}.svg"
    target.write_text(svg, encoding="utf-8")
    subprocess.run(["rsvg-convert", target, "-o", target.with_suffix(".png")], check=True)
    print(target.relative_to(ROOT), target.with_suffix(".png").relative_to(ROOT))


PHOTOGRAPHS = {
    # name: scene, options, keys (a number: seconds to wait), sizes
    "demo": ("", "", "45", SIZES),
    "redis": ("redis", "--track auto", "45", SIZES),
    "redis-since-mark": ("redis", "--track auto", "20 m 15 t", SIZES[:1]),
    "leak": ("leak", "--track auto", "15 m 20 f5 f5 t t", SIZES[:1]),
    "huge": ("huge", "", "25 i", SIZES[:1]),
    "collect": ("collect", "--track auto", "3 t 40", SIZES[:1]),
    "jvm": ("jvm", "--track auto", "3 t 40", SIZES[:1]),
}


def main() -> int:
    """Entry point; returns the exit code."""
    wanted = sys.argv[1:] or list(PHOTOGRAPHS)
    if lacking := missing([PHOTOGRAPHS[name][0] for name in wanted]):
        print(lacking, file=sys.stderr)
        return 1
    memtop = [sys.executable, "-m", "memtop"]
    for name in wanted:
        about, options, keys, sizes = PHOTOGRAPHS[name]
        with tempfile.TemporaryDirectory(prefix="memtop-pictures-") as directory:
            if not about:
                photograph(name, [*memtop, "demo"], keys, sizes, Path(directory))
                continue
            with scene(about, Path(directory)) as pid:
                photograph(name, [*memtop, "-p", str(pid), *options.split()], keys, sizes, Path(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
