"""Real programs to take pictures of: what users of memtop look at, small enough for any machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
NEEDS = {"redis": ("redis-server", "redis-server"), "jvm": ("java", "default-jdk-headless")}
"""Scene: the program that it needs, and the package that has it."""


@contextmanager
def scene(name: str, scratch: Path) -> Iterator[int]:
    """The pid of what the scene looks at, while it runs."""
    with redis(scratch) if name == "redis" else _program(name) as pid:
        yield pid


@contextmanager
def _program(name: str) -> Iterator[int]:
    if name == "jvm":
        # A fixed heap, so that its parts stand in the same place from picture to picture.
        command = ["java", "-Xms600m", "-Xmx600m", "-XX:+UseSerialGC", "Collect.java"]
    else:
        command = ["python3", f"{name}.py"]
    process = subprocess.Popen(command, executable=None if name == "jvm" else sys.executable, cwd=HERE)
    try:
        time.sleep(6)  # so that it has what it works on
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextmanager
def redis(scratch: Path) -> Iterator[int]:
    """A redis-server with 600 MB of data under load: new keys all the time, old ones now and then."""
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


def missing(names: list[str]) -> str:
    """What is not installed for these scenes and their pictures, as a sentence; empty: nothing."""
    tools = [("rsvg-convert", "librsvg2-bin"), *(NEEDS[name] for name in names if name in NEEDS)]
    lacking = [(tool, package) for tool, package in tools if shutil.which(tool) is None]
    return "; ".join(f"pictures need {tool}: apt install {package}" for tool, package in lacking)
