"""Real Debian kernels to test on: which there are, and the newest of each, unpacked in a cache.

Packages come from the mirrors that this machine's own apt knows, through a private apt configuration: the
machine's sources and package lists stay as they are. The cache is ``$MEMTOP_KERNELS``, or memtop/kernels in
the user's cache directory; what is in it already is not downloaded again, and does without a network.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITES = ("bullseye", "bookworm", "bookworm-backports")
SECURITY_SUITES = ("bullseye-security", "bookworm-security")


@dataclass(frozen=True)
class Series:
    """Kernels of one version, as packages are called.

    Attributes:
        name: as people say it.
        packages: pattern of the package names; the numbers in one say how new it is.
        required: without it there is no run.
    """

    name: str
    packages: str
    required: bool = True

    def fits(self, package: str) -> bool:
        """Whether a package is one of these."""
        return re.fullmatch(self.packages, package) is not None


SERIES = (
    Series("5.10", r"linux-image-5\.10\.0-\d+-amd64-unsigned", required=False),
    Series("6.1", r"linux-image-6\.1\.0-\d+-amd64-unsigned"),
    Series("6.12", r"linux-image-6\.12\.\d+\+deb12-amd64-unsigned"),
)


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package.

    Attributes:
        version: of the package.
        image: what boots; its modules are beside it.
    """

    series: str
    version: str
    image: Path

    @property
    def release(self) -> str:
        """As ``uname -r``."""
        return self.image.name.removeprefix("vmlinuz-")


class Missing(Exception):
    """Something that the run can't do without; the message says what and what to do."""


def cache_directory() -> Path:
    """Where kernels are kept."""
    own = os.environ.get("MEMTOP_KERNELS")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(own) if own else base / "memtop" / "kernels"


def newest_kernels() -> list[Kernel]:
    """The newest kernel of each series, downloaded if need be.

    Raises:
        Missing: a required one is neither in the archive nor in the cache.
    """
    cache = cache_directory()
    apt = _Apt(cache)
    kernels = []
    for series in SERIES:
        package = apt.newest(series)
        if package is not None:
            kernels.append(_unpack(series, apt.fetch(package), cache))
        elif series.required:
            raise Missing(f"no package {series.packages} in the archive or in {cache}")
        else:
            print(f"no {series.name} kernel in the archive: left out", flush=True)
    return kernels


class _Apt:
    """apt with sources, lists and cache of its own."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        private = cache / "apt"
        (private / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        sources = private / "sources.list"
        sources.write_text("".join(_sources()), encoding="utf-8")
        places = {
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": private / "lists",
            "Dir::Cache": private,
            "APT::Sandbox::User": "root",  # the cache is the caller's, not _apt's
            "Acquire::Check-Valid-Until": "false",  # an archive that gets no updates any more
        }
        self._options = [word for name, value in places.items() for word in ("-o", f"{name}={value}")]
        # A suite that is gone from the mirror, or no network: what is there must do.
        self._run("apt-get", "-q", "update", check=False)
        self._names = self._run("apt-cache", "pkgnames", "linux-image-").split()

    def newest(self, series: Series) -> str | None:
        """Name of the newest package; None if there is none."""
        cached = [p.name.split("_")[0] for p in self._cache.glob("*.deb")]
        fitting = (name for name in (*self._names, *cached) if series.fits(name))
        return max(fitting, key=lambda name: [int(n) for n in re.findall(r"\d+", name)], default=None)

    def fetch(self, package: str) -> Path:
        """Its newest version, from the cache if it is there."""
        shown = self._run("apt-cache", "show", "--no-all-versions", package, check=False)
        version = re.search(r"^Version: (\S+)", shown, re.M)
        name = f"{package}_{version[1].replace(':', '%3a')}_*.deb" if version else f"{package}_*.deb"
        if not (found := sorted(self._cache.glob(name))):
            print(f"downloading {package}", flush=True)
            self._run("apt-get", "-q", "download", package)
            found = sorted(self._cache.glob(name))
        for old in set(self._cache.glob(f"{package}_*.deb")) - {found[-1]}:
            old.unlink()
        return found[-1]

    def _run(self, tool: str, *words: str, check: bool = True) -> str:
        command = [tool, *self._options, *words]
        done = subprocess.run(command, cwd=self._cache, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise Missing(f"{tool} {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout


def _sources() -> list[str]:
    """One line a suite, on the mirrors that this machine uses itself."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(ORIGIN)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    main = security = ""
    for line in listed.splitlines():
        uri, codename, origin = line.split(maxsplit=2)
        if origin == "Debian" and codename.endswith("-security"):
            security = security or uri
        elif origin == "Debian":
            main = main or uri
    if not main:
        raise Missing("apt knows no Debian mirror here: add one to its sources, and apt-get update")
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    lines = [f"deb {signed}{main} {suite} main\n" for suite in SUITES]
    return lines + [f"deb {signed}{security} {suite} main\n" for suite in SECURITY_SUITES if security]


def _unpack(series: Series, package: Path, cache: Path) -> Kernel:
    """Unpacks it once; older ones of the series go."""
    where = cache / package.stem
    if not where.exists():
        half = cache / f"{package.stem}.new"
        subprocess.run(["rm", "-rf", half], check=True)
        subprocess.run(["dpkg", "-x", package, half], check=True)
        half.rename(where)
    (image,) = (where / "boot").glob("vmlinuz-*")
    return Kernel(series.name, package.stem.split("_")[1], image)


if __name__ == "__main__":
    for kernel in newest_kernels():
        print(kernel.series, kernel.release, kernel.version, kernel.image)
