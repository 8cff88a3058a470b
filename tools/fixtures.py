"""Makes the recordings in tests/data that the golden pictures are drawn from: real runs, made anonymous.

usage: fixtures.py        (then: pytest tests/ui/test_golden.py --update-golden)
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
sys.path.insert(0, str(ROOT))
from memtop.cli.demo import workload  # noqa: E402

SAMPLES = 8


def record(path: Path) -> None:
    """The demo's workload: some samples, then it ends, and that is in the recording too."""
    with workload() as pid:
        command = [sys.executable, "-m", "memtop", "record", "-p", str(pid), "-o", "-", "--track", "auto"]
        recorder = subprocess.Popen([*command, "--max-cost", "0"], stdout=subprocess.PIPE, cwd=ROOT)
        assert recorder.stdout is not None
        lines = [recorder.stdout.readline() for _ in range(1 + SAMPLES)]
    lines += recorder.stdout.readlines()
    recorder.wait()
    path.write_bytes(b"".join(lines))


def anonymous(value: Any) -> Any:
    """The same with names of nowhere."""
    if isinstance(value, dict):
        made_up = {"host": "db-07", "user": "app", "boot_id": "0" * 32, "pid": 4711}
        return {k: made_up.get(k) if k in made_up else anonymous(v) for k, v in value.items()}
    if isinstance(value, list):
        return [anonymous(each) for each in value]
    if isinstance(value, str):
        value = value.replace(str(ROOT), "/usr/lib/memtop")
        value = re.sub(r"memtop-demo \d+", "memtop-demo 4711", value)
        value = re.sub(r"/\S*/bin/python[\d.]*", "/usr/bin/python3", value)
        return re.sub(r"/(?:root|home|opt|work|srv|usr/local)/\S*?/lib/", "/usr/lib/", value)
    return value


def main() -> int:
    """Entry point; returns the exit code."""
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "demo.jsonl"
        record(raw)
        lines = [json.dumps(anonymous(json.loads(line)), separators=(",", ":")) for line in raw.open()]
    text = "\n".join(lines) + "\n"
    for secret in (socket.gethostname() + '"', "/root", "/home", str(ROOT)):
        assert secret not in text, secret
    target = DATA / "demo.jsonl.gz"
    target.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(target.relative_to(ROOT), len(lines), "lines", target.stat().st_size, "bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
