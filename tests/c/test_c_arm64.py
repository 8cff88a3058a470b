"""The C core compiles for arm64, and what needs no kernel of that kind runs under qemu's user emulation."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from test_c import HERE, NATIVE, SOURCES
from test_c import STRICT as WARNINGS

COMPILER = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64"
STRICT = [*WARNINGS, "-Wno-unused-parameter"]  # of what is refused there, as in memtop/native/build.py


@pytest.fixture(scope="module")
def compiler() -> str:
    if not shutil.which(COMPILER):
        pytest.skip(f"missing capability: {COMPILER} (gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)")
    return COMPILER


@pytest.mark.parametrize("source", sorted(p.name for p in NATIVE.glob("*.c") if not p.name.startswith("_")))
def test_it_compiles(source: str, compiler: str, tmp_path: Path) -> None:
    subprocess.run(
        [compiler, *STRICT, "-O2", "-I", NATIVE, "-c", NATIVE / source, "-o", tmp_path / "out.o"], check=True
    )


@pytest.mark.parametrize("name", ["identity_test", "runs_test", "dump_test"])
def test_it_runs(name: str, compiler: str, tmp_path: Path) -> None:
    if not shutil.which(EMULATOR):
        pytest.skip(f"missing capability: {EMULATOR} (qemu-user)")
    sources = [HERE / f"{name}.c", *(NATIVE / source for source in SOURCES[name])]
    command = [compiler, *STRICT, "-static", "-I", NATIVE, "-I", HERE, *sources, "-o", tmp_path / name]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [EMULATOR, tmp_path / name], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_injection_is_refused_there(compiler: str, tmp_path: Path) -> None:
    """What is not proven is refused, and says that: no line of it runs on a target."""
    if not shutil.which(EMULATOR):
        pytest.skip(f"missing capability: {EMULATOR} (qemu-user)")
    program = tmp_path / "refuse.c"
    program.write_text(
        '#include "core.h"\n'
        "int main(void) {\n"
        "    mt_injection out;\n"
        "    if (mt_inject_uffd(1, 1, -1, 10, &out) != MT_INJECT_ARCH || out.uffd != -1) return 1;\n"
        "    return mt_standstill_stop(mt_standstill_start(1, -1, 10, 10, 0))->stage != MT_STANDSTILL_ARCH;\n"
        "}\n"
    )
    sources = [program, NATIVE / "inject.c", NATIVE / "standstill.c"]
    subprocess.run(
        [compiler, *STRICT, "-static", "-I", NATIVE, *sources, "-o", tmp_path / "refuse"], check=True
    )
    assert subprocess.run([EMULATOR, tmp_path / "refuse"], check=False).returncode == 0
