"""The file system that guests run the tests in: this Python with its packages, the project, compiled targets.

A guest sees the machine's own files over 9p, but under emulation each look at one takes a millisecond and
Python makes thousands. So what it needs is copied, to the same paths, into an ext4 image that all share.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPARE_MIB = 64
LEFT_OUT = shutil.ignore_patterns(
    "mypy*", "*__mypyc*", "ruff*", "virtme*", "pip", "setuptools", "textual*", "hypothesis*", "zstandard*",
    "idlelib", "tkinter", "ensurepip", "lib2to3", "test", "config-3*", "*.a",
)  # fmt: skip


def make_image(image: Path, staging: Path) -> None:
    """Writes the image; ``staging`` is an empty directory that may be thrown away afterwards."""
    for directory in ("proc", "sys", "dev", "tmp", "run", "root", "results", "etc", "bin"):
        (staging / directory).mkdir()
    for name in ("passwd", "group", "ld.so.cache"):
        shutil.copy2(f"/etc/{name}", staging / "etc")
    busybox = shutil.which("busybox") or "/bin/busybox"
    shutil.copy2(busybox, staging / "bin" / "busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in {*applets} - {"busybox"}:
        (staging / "bin" / applet).symlink_to("busybox")
    for path in _python():
        _copy(path, staging)
    _copy(ROOT / "memtop", staging)
    _copy(ROOT / "tests", staging)
    shutil.copy2(ROOT / "pyproject.toml", _inside(staging, ROOT))
    compile_targets(_inside(staging, ROOT / "tests" / "targets" / "built"))
    for library in _libraries(staging):
        _copy(library, staging)
    _format(image, staging)


def compile_targets(where: Path) -> None:
    """All tests/targets/*.c, as the tests' own fixture compiles them; some need what is not there."""
    where.mkdir(parents=True)
    for source in sorted((ROOT / "tests" / "targets").glob("*.c")):
        options = ["-std=gnu11", "-O2", "-pthread", str(source), "-o", str(where / source.stem)]
        subprocess.run([os.environ.get("CC", "cc"), *options], check=False, stderr=subprocess.DEVNULL)


def _python() -> Iterator[Path]:
    """The interpreter, its standard library and the packages of the virtual environment."""
    prefix, base = Path(sys.prefix), Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    yield Path(sys.executable).resolve()
    yield base / "lib" / version
    if prefix != base:  # then its packages are all there is
        yield prefix / "pyvenv.cfg"
        yield prefix / "lib"
        yield from (path for path in (prefix / "bin").glob("python*"))


def _inside(staging: Path, path: Path) -> Path:
    return staging / path.relative_to("/")


def _copy(path: Path, staging: Path) -> None:
    to = _inside(staging, path)
    to.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        outer = path.is_relative_to(sys.base_prefix) and sys.prefix != sys.base_prefix

        def left_out(directory: str, names: list[str]) -> set[str]:
            packages = {"site-packages", "dist-packages"} if outer else set()
            return LEFT_OUT(directory, names) | packages.intersection(names)

        shutil.copytree(path, to, symlinks=True, ignore=left_out, dirs_exist_ok=True)
    elif not to.is_symlink() and not to.exists():
        shutil.copy2(path, to, follow_symlinks=False)
        if path.is_symlink():
            _copy(path.parent / path.readlink(), staging)


def _libraries(staging: Path) -> set[Path]:
    """What the programs and modules in there are linked with, and the loader."""
    found: set[Path] = set()
    for batch in _batches(_binaries(staging)):
        listed = subprocess.run(["ldd", *batch], capture_output=True, text=True, check=False).stdout
        found.update(Path(name) for name in re.findall(r"(/\S+) \(0x", listed))
    # Python's own, found relative to the interpreter, and what ldd does not know: loaded by name.
    found.update(Path("/lib/x86_64-linux-gnu").glob("libgcc_s.so*"))
    return {path for path in found if path.exists() and not _inside(staging, path).exists()}


def _binaries(staging: Path) -> Iterator[Path]:
    for path in staging.rglob("*"):
        if path.is_file() and not path.is_symlink() and (os.access(path, os.X_OK) or ".so" in path.suffixes):
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _batches(paths: Iterable[Path], size: int = 100) -> Iterator[list[Path]]:
    every = list(paths)
    for at in range(0, len(every), size):
        yield every[at : at + size]


def _format(image: Path, staging: Path) -> None:
    """An ext4 of what is in staging, with some room."""
    used = int(
        subprocess.run(["du", "-sm", staging], capture_output=True, text=True, check=True).stdout.split()[0]
    )
    image.unlink(missing_ok=True)
    mke2fs = shutil.which("mke2fs") or "/sbin/mke2fs"  # not on every user's path
    subprocess.run(
        [mke2fs, "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-N", "60000", "-d", staging, image,
         f"{used + used // 8 + SPARE_MIB}M"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
