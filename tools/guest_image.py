"""The file system that guests run the tests in: this Python with its packages, the project, compiled targets.

A guest sees the machine's own files over 9p, but under emulation each look at one takes a millisecond and
Python makes thousands. So what it needs is copied into an ext4 image that all share. There everything has a
fixed place that all users can reach, wherever checkout and interpreter are here: below /tmp, in a home, in a
directory with a space.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kernels import Missing

ROOT = Path(__file__).resolve().parents[1]
PROJECT, VENV, PYTHON_HOME, SCRATCH, RESULTS = "/memtop", "/venv", "/python", "/scratch", "/results"
"""Places in the image."""
PYTHON = f"{VENV}/bin/python"
SPARE_MIB = 64
LEFT_OUT = shutil.ignore_patterns(
    "mypy*", "*__mypyc*", "ruff*", "virtme*", "pip", "setuptools", "textual*", "zstandard*",
    "idlelib", "tkinter", "ensurepip", "lib2to3", "test", "config-3*", "*.a", "site-packages",
    "dist-packages",
)  # fmt: skip
"""Large, and not needed to run the tests: ``_check`` sees to it that this is so."""
ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/bin",
    "LC_ALL": "C.UTF-8",
    "TMPDIR": SCRATCH,
    "MEMTOP_GUEST": "1",
    "MEMTOP_TARGETS": f"{PROJECT}/tests/targets/built",
}
"""Of the tests in the guest."""


def make_image(image: Path, staging: Path, tests: Sequence[str]) -> None:
    """Writes the image; ``staging`` is an empty directory that may be thrown away afterwards.

    Raises:
        Missing: the tests would not start in there.
    """
    for directory in ("proc", "sys", "dev", "tmp", "run", "root", "etc", "bin", SCRATCH, RESULTS):
        _inside(staging, directory).mkdir()
    for name in ("passwd", "group", "ld.so.cache"):
        shutil.copy2(f"/etc/{name}", staging / "etc")
    busybox = shutil.which("busybox") or "/bin/busybox"
    shutil.copy2(busybox, staging / "bin" / "busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in {*applets} - {"busybox"}:
        (staging / "bin" / applet).symlink_to("busybox")
    shutil.copy2(_mke2fs(), staging / "bin" / "mkfs.ext4")  # a test makes a disk with quotas
    _copy_python(staging)
    project = _inside(staging, PROJECT)
    for name in ("memtop", "tests", "harm"):
        shutil.copytree(ROOT / name, project / name, symlinks=True)
    shutil.copy2(ROOT / "pyproject.toml", project)
    compile_targets(_inside(staging, ENVIRONMENT["MEMTOP_TARGETS"]))
    for library in _libraries(staging):
        _copy_library(library, staging)
    # Tests run as several users; how strict the umask was here is of no account.
    subprocess.run(["chmod", "-R", "a+rX", staging], check=True)
    for directory in ("tmp", SCRATCH):
        _inside(staging, directory).chmod(0o1777)
    _check(staging, tests)
    _format(image, staging)


def compile_targets(where: Path) -> None:
    """All tests/targets/*.c, as the tests' own fixture compiles them; some need what is not there."""
    where.mkdir(parents=True)
    for source in sorted((ROOT / "tests" / "targets").glob("*.c")):
        options = ["-std=gnu11", "-O2", "-pthread", str(source), "-o", str(where / source.stem)]
        subprocess.run([os.environ.get("CC", "cc"), *options], check=False, stderr=subprocess.DEVNULL)


def _copy_python(staging: Path) -> None:
    """The interpreter, its standard library, and a virtual environment of the packages that it has here."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    home, venv = _inside(staging, PYTHON_HOME), _inside(staging, VENV)
    for directory in (home / "bin", home / sys.platlibdir, venv / "bin"):
        directory.mkdir(parents=True)
    shutil.copy2(Path(sys.executable).resolve(), home / "bin" / version)
    standard = Path(os.__file__).parent
    shutil.copytree(standard, home / sys.platlibdir / version, symlinks=True, ignore=LEFT_OUT)
    for library in standard.parent.glob("libpython*.so*"):
        shutil.copy2(library, home / sys.platlibdir, follow_symlinks=False)
    (venv / "pyvenv.cfg").write_text(f"home = {PYTHON_HOME}/bin\n")
    (venv / "bin" / "python").symlink_to(f"{PYTHON_HOME}/bin/{version}")
    packages = venv / sys.platlibdir / version / "site-packages"
    for path in {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}:
        shutil.copytree(path, packages, symlinks=True, ignore=LEFT_OUT, dirs_exist_ok=True)


def _inside(staging: Path, path: str | Path) -> Path:
    return staging / str(path).lstrip("/")


def _copy_library(path: Path, staging: Path) -> None:
    """To the same place, and what it is a link to."""
    to = _inside(staging, path)
    to.parent.mkdir(parents=True, exist_ok=True)
    if not to.is_symlink() and not to.exists():
        shutil.copy2(path, to, follow_symlinks=False)
        if path.is_symlink():
            _copy_library(path.parent / path.readlink(), staging)


def _check(staging: Path, tests: Sequence[str]) -> None:
    """Whether the tests are found by the Python in there: it is told now, not after a guest has booted."""
    enter = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), f"--root={staging}"]
    if subprocess.run([*enter, "/bin/true"], capture_output=True, check=False).returncode:
        return  # no namespaces for this user: then the guest tells
    # Nothing captured: pytest does it with /dev/null. What it compiles here, the guests need not compile.
    collect = [PYTHON, "-m", "pytest", "--collect-only", "-q", "-s", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        [*enter, "/bin/sh", "-c", f"cd {PROJECT} && exec {shlex.join(collect)}"],
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Missing(f"the tests do not start in the guests' file system:\n{done.stdout[-4000:]}")


def _libraries(staging: Path) -> set[Path]:
    """What the programs and modules in there are linked with, and the loader."""
    found: set[Path] = set()
    for batch in _batches(_binaries(staging)):
        listed = subprocess.run(["ldd", *batch], capture_output=True, text=True, check=False).stdout
        found.update(Path(name) for name in re.findall(r"(/\S+) \(0x", listed))
    # What ldd does not know: loaded by name.
    found.update(Path("/lib/x86_64-linux-gnu").glob("libgcc_s.so*"))
    there = (path for path in found if path.exists() and not path.is_relative_to(staging))
    return {path for path in there if not _inside(staging, path).exists()}


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


def _mke2fs() -> str:
    return shutil.which("mke2fs") or "/sbin/mke2fs"  # not on every user's path


def _format(image: Path, staging: Path) -> None:
    """An ext4 of what is in staging, with some room."""
    used = int(
        subprocess.run(["du", "-sm", staging], capture_output=True, text=True, check=True).stdout.split()[0]
    )
    image.unlink(missing_ok=True)
    subprocess.run(
        [_mke2fs(), "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-N", "60000", "-d", staging, image,
         f"{used + used // 8 + SPARE_MIB}M"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
