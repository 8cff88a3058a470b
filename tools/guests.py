"""``make test-kernels``: the tests of real processes inside guests with real Debian kernels.

Each kernel boots under software emulation (virtme-ng, qemu), runs ``tests/vm`` and a part of ``tests/linux``,
and leaves its results as files. A guest that does not boot or does not come to its end fails the run.
``tests/vm`` runs on this machine's own kernel, too. A whole run that passes writes docs/kernels.md and
docs/permissions.md.

usage: guests.py [--kernel SERIES]… [--jobs N] [--keep DIRECTORY] [-- PYTEST-ARGUMENT…]
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import kernel_docs
from guest_image import ENVIRONMENT, PROJECT, PYTHON, RESULTS, ROOT, SCRATCH, make_image
from kernels import Kernel, Missing, newest_kernels

LIMIT_S = 1500
"""For one guest, from power on to power off: three to five minutes, and thrice that on a loaded machine."""
BOOT_LIMIT_S = 240
"""Of these; it takes some ten seconds, and a minute on a loaded machine."""

TESTS = (
    "tests/vm",
    *(f"tests/linux/test_{name}.py" for name in ("features", "clear_refs", "freeze", "scan", "lifecycle")),
)
"""What fits the time under emulation."""

MODULES = ("virtio_blk", "ext4", "zram", "loop", "quota_v2")

BOOT = """\
stop() {{ echo "guest: $*"; exit 1; }}
for module in {modules}; do modprobe "$module" || echo "guest: no module $module"; done
mkdir -p /run/box && mount -t ext4 /dev/vda /run/box || stop "its disk can not be mounted"
for place in proc sys dev; do mount --rbind /$place /run/box/$place; done
mount -t tmpfs -o mode=1777 none /run/box{scratch}
mount --bind /run/results /run/box{results} || stop "no place for results"
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
mkdir -p /run/box/boot && cp /run/results/config-* /run/box/boot/
echo {booted}
cd /run/box && mkdir -p old && exec bin/busybox unshare -m bin/sh .{results}/tests.sh
"""
"""Run by what virtme-ng boots into, which sees this machine's files."""

TESTS_IN_GUEST = """\
bin/pivot_root . old || exit # not chroot: in one, nobody may have a user namespace
cd {project} && export {environment} PYTHONDONTWRITEBYTECODE=1
{pytest} >{results}/pytest.log 2>&1
echo $? >{results}/exit
"""
BOOTED = "guest: up"
FAILURE_CHARACTERS = 3000
"""Shown of each failed test: the assertion and the lines that lead to it."""

running: set[int] = set()
"""Process groups of guests: each has a session of its own, and must not outlive this run."""

scratch_places: set[str] = set()
"""Directories of this run, gone when it ends, by a signal as well."""


def _end(number: int, _frame: object) -> None:
    """Ends all at once: threads wait for guests, and what they have started last may still be writing."""
    for group in running:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    until = time.monotonic() + 10
    while any(map(os.path.exists, scratch_places)) and time.monotonic() < until:
        for place in scratch_places:
            shutil.rmtree(place, ignore_errors=True)
    os._exit(128 + number)


@dataclass
class Run:
    """What a guest left.

    Attributes:
        failure: why the guest itself failed; empty if its tests ran to their end.
        report: the results, as pytest's junit file has them.
    """

    kernel: Kernel | None
    seconds: float = 0.0
    boot_s: float = 0.0
    failure: str = ""
    report: ElementTree.Element | None = None
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """All tests ran, and none failed."""
        return not self.failure and not self.counts.get("failures") and not self.counts.get("errors")

    @property
    def name(self) -> str:
        """Whose kernel it was."""
        return f"{self.kernel.series} ({self.kernel.release})" if self.kernel else "this machine"

    def line(self) -> str:
        """The outcome in one line."""
        if self.failure:
            return f"{self.name}: {self.failure}"
        c = self.counts
        good = c["tests"] - c["failures"] - c["errors"] - c["skipped"]
        return (
            f"{self.name}: {good} passed, {c['failures'] + c['errors']} failed, {c['skipped']} skipped"
            f" in {self.seconds:.0f} s" + (f" (up after {self.boot_s:.0f} s)" if self.kernel else "")
        )

    def failures(self) -> list[str]:
        """Of each failed test: its name and error in one line, then what pytest said of it."""
        cases = self.report.iter("testcase") if self.report is not None else ()
        return [
            f"{case.get('classname')}::{case.get('name')}: {(said.get('message') or '?').splitlines()[0]}\n"
            f"{(said.text or '').strip()[-FAILURE_CHARACTERS:]}"
            for case in cases
            for said in case
            if said.tag in ("failure", "error")
        ]

    def recorded(self) -> kernel_docs.Recorded:
        """What goes into the documents."""
        assert self.report is not None
        if self.kernel:
            return kernel_docs.read(self.kernel.series, self.kernel.version, self.report)
        own = ".".join(os.uname().release.split("-")[0].split(".")[:2])
        return kernel_docs.read(own, "this machine's own", self.report)


def run_guest(kernel: Kernel, image: Path, results: Path, tests: Sequence[str]) -> Run:
    """Boots the kernel, runs the tests in it, and reads what they left."""
    run = Run(kernel)
    results.mkdir(parents=True)
    _write_scripts(results, tests)
    shutil.copy2(kernel.image.with_name(f"config-{kernel.release}"), results)
    began = time.monotonic()
    with (results / "console.log").open("wb") as console:
        guest = subprocess.Popen(
            _command(kernel, image, results),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**os.environ, "PATH": _path(), "PYTHONPATH": str(image.parent / "vng")},
            start_new_session=True,  # qemu is a grandchild: all end together
        )
        running.add(guest.pid)
        try:
            while guest.poll() is None and time.monotonic() - began < (
                LIMIT_S if run.boot_s else BOOT_LIMIT_S
            ):
                time.sleep(0.5)
                if not run.boot_s and BOOTED.encode() in (results / "console.log").read_bytes():
                    run.boot_s = time.monotonic() - began
        finally:
            run.seconds = time.monotonic() - began
            running.discard(guest.pid)
            if guest.poll() is None:
                os.killpg(guest.pid, signal.SIGKILL)
                guest.wait()
                run.failure = f"{'not done' if run.boot_s else 'did not boot'} after {run.seconds:.0f} s"
    run.seconds = time.monotonic() - began
    _read_results(run, results)
    return run


def _write_scripts(results: Path, tests: Sequence[str]) -> None:
    """What boots, and what then runs the tests in the image."""
    pytest = [
        PYTHON,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        f"--junitxml={RESULTS}/junit.xml",
    ]
    places = {"project": PROJECT, "results": RESULTS, "scratch": SCRATCH}
    (results / "boot.sh").write_text(BOOT.format(modules=" ".join(MODULES), booted=BOOTED, **places))
    (results / "tests.sh").write_text(
        TESTS_IN_GUEST.format(
            environment=" ".join(f"{name}={value}" for name, value in ENVIRONMENT.items()),
            pytest=shlex.join([*pytest, *tests]),
            **places,
        )
    )


def _command(kernel: Kernel, image: Path, results: Path) -> list[str]:
    vng = shutil.which("vng", path=_path())
    if vng is None:
        raise Missing("vng is not there: pip install virtme-ng")
    for path in (kernel.image, results):
        if re.search(r"[^\w./+~%-]", str(path)):  # vng makes a shell's command line of them
            raise Missing(
                f"virtme-ng does not take a path like {path}: choose another ($MEMTOP_KERNELS, $TMPDIR)"
            )
    disk = f"-drive if=virtio,format=raw,snapshot=on,file={image}"
    return [
        vng, "--run", str(kernel.image), "--disable-kvm", "--cpus", "2", "--memory", "4G", "--user", "root",
        "--append", "hugepagesz=1G hugepages=1", "--force-9p", "--verbose", f"--rwdir=/run/results={results}",
        f"--qemu-opts={disk}", "--", "sh /run/results/boot.sh",
    ]  # fmt: skip


def _copy_vng(to: Path) -> None:
    """virtme-ng's own package: a guest boots into a program of it, whose place must have no space in it."""
    for name in ("virtme", "virtme_ng"):
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise Missing("virtme-ng is not there: pip install virtme-ng")
        shutil.copytree(spec.submodule_search_locations[0], to / name)


def _path() -> str:
    """Where virtme-ng's own programs are, too."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def run_here(results: Path) -> Run:
    """tests/vm on this machine's own kernel."""
    results.mkdir(parents=True)
    began = time.monotonic()
    with (results / "pytest.log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"--junitxml={results}/junit.xml", "tests/vm"],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    (results / "exit").write_text(str(done.returncode))
    run = Run(None, time.monotonic() - began)
    _read_results(run, results)
    return run


def _read_results(run: Run, results: Path) -> None:
    report, left = results / "junit.xml", results / "exit"
    if run.kernel and not run.boot_s and not run.failure:
        run.failure = "did not boot"
    elif not left.exists():
        run.failure = run.failure or "ended before its tests did"
    elif not report.exists():
        run.failure = f"its tests did not start (pytest: {left.read_text().strip()})"
    if report.exists():
        run.report = ElementTree.parse(report).getroot()
        suite = run.report.find("testsuite")
        assert suite is not None
        run.counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
        if not run.counts["tests"]:
            run.failure = "ran no tests"


def _show_failure(run: Run, results: Path) -> None:
    """The guest's own words if it did not come to its end, else those of the failed tests alone: what a run
    prints may be kept by its end only, which skipped tests would fill."""
    for name in ("console.log", "pytest.log") if run.failure else ():
        text = (results / name).read_text(errors="replace") if (results / name).exists() else "(none)"
        print(f"---- {results.name}: {name}", text[-6000:], sep="\n", flush=True)
    for said in run.failures():
        print(f"---- {results.name}: {said}", flush=True)


def main(argv: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="guests.py")
    parser.add_argument("--kernel", action="append", help="5.10, 6.1 or 6.12; may be repeated (default: all)")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 3), help="guests at a time")
    parser.add_argument("--keep", type=Path, help="leave results in this new directory")
    parser.add_argument("tests", nargs="*", default=TESTS)
    options = parser.parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="memtop-guests-") as scratch:
        scratch_places.add(scratch)
        base = options.keep.absolute() if options.keep else Path(scratch) / "results"
        base.mkdir(parents=True)
        try:
            kernels = [k for k in newest_kernels() if not options.kernel or k.series in options.kernel]
            kernels.reverse()  # the newest has most to do: it must not be what the run ends with
            print(f"kernels: {', '.join(f'{k.release} ({k.version})' for k in kernels)}", flush=True)
            staging, image = Path(scratch) / "staging", Path(scratch) / "image"
            staging.mkdir()
            make_image(image, staging, options.tests)
            shutil.rmtree(staging)
            _copy_vng(Path(scratch) / "vng")
            print(f"ready to boot after {time.monotonic() - began:.0f} s", flush=True)
            with ThreadPoolExecutor(options.jobs) as pool:
                jobs = [pool.submit(run_guest, k, image, base / k.series, options.tests) for k in kernels]
                runs = [
                    _told(job.result(), base / kernel.series)
                    for job, kernel in zip(jobs, kernels, strict=True)
                ]
            whole = options.tests == TESTS and not options.kernel
            if whole:
                runs.append(_told(run_here(base / "here"), base / "here"))
        except Missing as error:
            print(f"make test-kernels: {error}", file=sys.stderr)
            return 1
    took = f"{len(runs)} kernels in {time.monotonic() - began:.0f} s"
    print(took)
    passed = all(run.passed for run in runs)
    for run in runs:
        for said in run.failures():
            print(f"FAILED {run.name}: {said.splitlines()[0]}")
    if whole and passed:
        today = datetime.date.today().isoformat()
        recorded = sorted(
            (run.recorded() for run in runs), key=lambda r: [int(n) for n in r.kernel.split(".")]
        )
        kernel_docs.write(ROOT / "docs", recorded, today, took)
    return 0 if passed else 1


def _told(run: Run, results: Path) -> Run:
    print(run.line(), flush=True)
    if not run.passed:
        _show_failure(run, results)
    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
