"""Tries a wheel as a user would: every CPython from 3.10 on found here, a fresh venv, no compiler.

usage: try_wheel.py WHEEL
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def pythons() -> dict[str, str]:
    """One interpreter per version: from the PATH, or from pyenv."""
    found: dict[str, str] = {}
    for version in VERSIONS:
        here = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        for candidate in (shutil.which(f"python{version}"), *map(str, here)):
            if candidate and answers(candidate, version):
                found[version] = candidate
                break
    return found


def answers(python: str, version: str) -> bool:
    """Whether it runs, is that version, and can make a venv."""
    say = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", say], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version


def tries(wheel: Path, python: str, scratch: Path) -> str:
    """Installs and runs it; returns what ``memtop --version`` says.

    Raises:
        subprocess.CalledProcessError: a step failed; its output is in the exception.
    """
    subprocess.run([python, "-m", "venv", scratch], check=True, capture_output=True)
    bin_ = scratch / "bin"
    # Nothing but the venv in the PATH: whoever wants to compile will not find a compiler.
    env = {"PATH": str(bin_), "CC": "false", "HOME": str(scratch), "LANG": "C.UTF-8"}
    env |= {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.lower().endswith("_proxy")}

    def run(*command: str | Path) -> str:
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=env, cwd=scratch, timeout=300
        ).stdout

    run(bin_ / "pip", "install", "--quiet", "--only-binary", ":all:", wheel)
    run(bin_ / "python", "-c", "import memtop.native, memtop.ui")
    target = subprocess.Popen(["sleep", "600"])
    try:
        sample = run(bin_ / "memtop", "batch", "-p", str(target.pid), "-n", "1", "-d", "0.1", "--json")
    finally:
        target.kill()
        target.wait()
    record = json.loads(sample.splitlines()[0])
    if record["pid"] != target.pid or not record["mappings"]:
        raise SystemExit(f"{python}: this is no sample of process {target.pid}: {sample[:200]}")
    return run(bin_ / "memtop", "--version").strip()


def main() -> int:
    """Entry point; returns the exit code."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    wheel = Path(sys.argv[1]).resolve()
    if "-cp310-abi3-linux_" not in wheel.name:
        print(f"{wheel.name}: not tagged cp310-abi3-linux", file=sys.stderr)
        return 1
    found = pythons()
    for version in VERSIONS:
        if version not in found:
            print(f"Python {version}: not on this machine, skipped")
            continue
        with tempfile.TemporaryDirectory(prefix="memtop-wheel-") as scratch:
            try:
                said = tries(wheel, found[version], Path(scratch))
            except subprocess.CalledProcessError as error:
                print(f"Python {version}: {error}\n{error.stdout}\n{error.stderr}", file=sys.stderr)
                return 1
        print(f"Python {version}: {said} from {wheel.name}, without a compiler")
    if not found:
        print("no Python from 3.10 on found", file=sys.stderr)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
