"""Builds the C test of the injection under ASan and UBSan, and runs it where injecting is possible."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parent.parent / "memtop" / "native"
SOURCES = [
    "inject.c",
    "tracee.c",
    "turn.c",
    "stops.c",
    "frame.c",
    "filter.c",
    "moment.c",
    "code.c",
    "child.c",
    "maps.c",
    "uffd.c",
    "probe.c",
]


def test_injection(needs_write_protect: None, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("missing capability: a C compiler")
    program = tmp_path / "inject_test"
    options = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-pthread", "-Wall", "-Wextra", "-Werror"]
    options += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I", NATIVE, "-I", HERE]
    sources = [HERE / "inject_test.c", *(NATIVE / source for source in SOURCES)]
    subprocess.run([compiler, *options, *sources, "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
