"""``make screenshots``: pictures of real runs, on the demo and on a redis-server under load.

memtop runs on a real pty, as a user starts it; after a while its own picture key is pressed at each size.
Every picture is written to screenshots/ as SVG, without web fonts, and as PNG (rsvg-convert).

usage: screenshots.py [demo] [redis]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "pty"))
from terminal import Terminal  # noqa: E402

PICTURES = ROOT / "screenshots"
SIZES = ((120, 40), (80, 24))
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
ADVANCE = 0.602
"""Width of a DejaVu Sans Mono character in em: with it, text that is not stretched fits its cells too."""


def local(svg: str) -> str:
    """The picture without anything from elsewhere: Rich's export brings a web font and its cell width."""
    svg = re.sub(r"@font-face\s*{.*?}\s*", "", svg, flags=re.S)
    svg = re.sub(r"font-family:[^;}]*", f"font-family: {FONTS}", svg)
    # Rich's cells are 0.61 em wide; a viewer that ignores textLength needs a font of that width.
    svg = re.sub(r"font-size: 20px", f"font-size: {20 * 0.61 / ADVANCE:.2f}px", svg)
    assert "url(http" not in svg
    return svg


def photograph(name: str, command: Sequence[str], keys: str, seconds: float, scratch: Path) -> None:
    """Runs memtop, presses keys, waits, and takes its picture at each size."""
    inside = ["sh", "-c", 'cd "$0" && exec "$@"', str(scratch), *command]
    with Terminal(inside, *SIZES[0], PYTHONPATH=str(ROOT)) as terminal:
        terminal.wait_for_text("memtop", "exact")
        for key in keys.split():
            terminal.send({"down": "\x1b[B", "up": "\x1b[A"}.get(key, key))
            terminal.watch(0.3)
        terminal.watch(seconds)
        for columns, rows in SIZES:
            if (columns, rows) != SIZES[0]:
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
    PICTURES.mkdir(exist_ok=True)
    target = PICTURES / f"{name}.svg"
    target.write_text(local(svg), encoding="utf-8")
    subprocess.run(["rsvg-convert", target, "-o", target.with_suffix(".png")], check=True)
    print(target.relative_to(ROOT), target.with_suffix(".png").relative_to(ROOT))


@contextmanager
def redis(scratch: Path) -> Iterator[int]:
    """Pid of a redis-server with 600 MB of data under load: new keys all the time, old ones now and then."""
    socket = scratch / "redis.sock"
    options = f"--port 0 --unixsocket {socket} --dir {scratch} --enable-debug-command yes --save"
    server = subprocess.Popen(["redis-server", *options.split(), ""], stdout=subprocess.DEVNULL)
    load: list[subprocess.Popen[bytes]] = []
    old = "return redis.call('get', 'key:' .. tonumber(ARGV[1]))"
    try:
        while not socket.exists():
            time.sleep(0.05)
        subprocess.run(
            ["redis-cli", "-s", socket, "debug", "populate", "450000", "key", "1024"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for words in ("-t set -d 1024 -r 30000 -n 2000", f'-r 450000 -n 10 eval "{old}" 0 __rand_int__'):
            again = f"while :; do redis-benchmark -s {socket} -c 1 {words}; sleep 0.3; done"
            load.append(
                subprocess.Popen(["sh", "-c", again], stdout=subprocess.DEVNULL, start_new_session=True)
            )
        yield server.pid
    finally:
        for process in load:
            os.killpg(process.pid, 9)
            process.wait()
        server.kill()
        server.wait()


def main() -> int:
    """Entry point; returns the exit code."""
    wanted = sys.argv[1:] or ["demo", "redis"]
    for tool, package in (("rsvg-convert", "librsvg2-bin"), ("redis-server", "redis-server")):
        if shutil.which(tool) is None:
            print(f"pictures need {tool}: apt install {package}", file=sys.stderr)
            return 1
    memtop = [sys.executable, "-m", "memtop"]
    with tempfile.TemporaryDirectory(prefix="memtop-pictures-") as directory:
        scratch = Path(directory)
        if "demo" in wanted:
            photograph("demo", [*memtop, "demo"], "", 45, scratch)
        if "redis" in wanted:
            with redis(scratch) as pid:
                command = [*memtop, "-p", str(pid), "--track", "auto"]
                photograph("redis", command, "", 45, scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
