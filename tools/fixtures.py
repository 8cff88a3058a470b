"""Makes the recordings in tests/data that the golden pictures are drawn from: real runs, made anonymous.

usage: fixtures.py [demo] [several]       (then: pytest tests/ui/test_golden.py --update-golden)
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
sys.path.insert(0, str(ROOT))
from memtop.cli.demo import workload  # noqa: E402

SAMPLES = 8
PIDS = (4711, 812, 9001)
"""In place of the real ones, in the order of the recording."""

LEAK = ROOT / "tools" / "scenes" / "leak.py"


def record(pids: Sequence[int], ticks: int, end: contextlib.ExitStack) -> list[bytes]:
    """So many ticks of these processes, then ``end``, which is in the recording too."""
    who = ",".join(map(str, pids))
    command = [sys.executable, "-m", "memtop", "record", "-p", who, "-o", "-", "--track", "auto"]
    recorder = subprocess.Popen([*command, "--max-cost", "0"], stdout=subprocess.PIPE, cwd=ROOT)
    assert recorder.stdout is not None
    lines = [recorder.stdout.readline() for _ in range(len(pids) * (1 + ticks))]
    end.close()
    lines += recorder.stdout.readlines()
    recorder.wait()
    return lines


@contextlib.contextmanager
def running(*command: str) -> Iterator[int]:
    """Pid of a program that runs until the end of the block."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with child:
        try:
            yield child.pid
        finally:
            child.terminate()


def demo(end: contextlib.ExitStack) -> tuple[list[int], list[bytes]]:
    """The demo's workload."""
    pids = [end.enter_context(workload())]
    return pids, record(pids, SAMPLES, end)


def several(end: contextlib.ExitStack) -> tuple[list[int], list[bytes]]:
    """The demo's workload, a leak, and one that does nothing and is the first to end."""
    pids = [
        end.enter_context(workload()),
        end.enter_context(running(sys.executable, str(LEAK))),
        end.enter_context(running("sleep", "3.5")),
    ]
    return pids, record(pids, 5, end)


def anonymous(value: Any, pids: dict[int, int]) -> Any:
    """The same with names of nowhere."""
    if isinstance(value, dict):
        made_up = {"host": "db-07", "user": "app", "boot_id": "0" * 32}
        if "pid" in value:
            made_up["pid"] = pids[value["pid"]]
        return {k: made_up.get(k) if k in made_up else anonymous(v, pids) for k, v in value.items()}
    if isinstance(value, list):
        return [anonymous(each, pids) for each in value]
    if isinstance(value, str):
        for pid, other in pids.items():
            value = re.sub(rf"\b{pid}\b", str(other), value)
        value = value.replace(str(LEAK), "/srv/leak.py").replace(str(ROOT), "/usr/lib/memtop")
        value = re.sub(r"/\S*/bin/python[\d.]*", "/usr/bin/python3", value)
        return re.sub(r"/(?:root|home|opt|work|srv|usr/local)/\S*?/lib/", "/usr/lib/", value)
    return value


def main() -> int:
    """Entry point; returns the exit code."""
    DATA.mkdir(exist_ok=True)
    wanted = sys.argv[1:] or ["demo", "several"]
    for name in wanted:
        with contextlib.ExitStack() as end:
            real, raw = {"demo": demo, "several": several}[name](end)
        pids = dict(zip(real, PIDS, strict=False))
        lines = [json.dumps(anonymous(json.loads(line), pids), separators=(",", ":")) for line in raw]
        text = "\n".join(lines) + "\n"
        for secret in (socket.gethostname() + '"', "/root", "/home", str(ROOT)):
            assert secret not in text, secret
        target = DATA / f"{name}.jsonl.gz"
        target.write_bytes(gzip.compress(text.encode(), mtime=0))
        print(target.relative_to(ROOT), len(lines), "lines", target.stat().st_size, "bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
