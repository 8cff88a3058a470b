"""make test-kernels: what counts as failed, and the documents that it makes."""

from __future__ import annotations

import json
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import guests
import kernel_docs
import marked
from guests import Run, _command, _path, _read_results, run_guest
from kernels import SERIES, Kernel, Missing

KERNEL = Kernel("6.1", "6.1.192-2", Path("/cache/boot/vmlinuz-6.1.0-56-amd64"))


def left(
    results: Path, *, tests: int = 3, failures: int = 0, ended: bool = True, report: bool = True
) -> None:
    """What a guest leaves."""
    suite = f'<testsuite tests="{tests}" failures="{failures}" errors="0" skipped="1"/>'
    if report:
        (results / "junit.xml").write_text(f"<testsuites>{suite}</testsuites>")
    if ended:
        (results / "exit").write_text("0" if report else "4")


def judged(results: Path, boot_s: float = 9.0) -> Run:
    run = Run(KERNEL, boot_s=boot_s)
    _read_results(run, results)
    return run


def test_a_guest_that_ran_its_tests(tmp_path: Path) -> None:
    left(tmp_path)
    run = judged(tmp_path)
    assert run.passed
    assert "6.1 (6.1.0-56-amd64): 2 passed, 0 failed, 1 skipped" in run.line()


def test_what_is_no_kernel_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real virtme-ng and qemu: nothing boots, and that is no reason to skip."""
    if shutil.which("vng", path=_path()) is None or shutil.which("qemu-system-x86_64") is None:
        pytest.skip("missing capability: virtme-ng and qemu-system-x86_64")
    monkeypatch.setattr(guests, "BOOT_LIMIT_S", 5)
    image, disk = tmp_path / "vmlinuz-0.0.0", tmp_path / "disk"
    image.write_bytes(bytes(4096))
    disk.write_bytes(bytes(4096))
    (tmp_path / "config-0.0.0").touch()
    run = run_guest(Kernel("0.0", "0", image), disk, tmp_path / "results", ["tests/vm"])
    assert not run.passed
    assert "did not boot" in run.line()


def test_a_path_that_virtme_can_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="TMPDIR"):
        _command(KERNEL, tmp_path / "disk", tmp_path / "a place")


def test_a_guest_that_did_not_boot_fails(tmp_path: Path) -> None:
    run = judged(tmp_path, boot_s=0)
    assert not run.passed
    assert "did not boot" in run.line()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"ended": False}, "ended before"),
        ({"report": False}, "did not start (pytest: 4)"),
        ({"tests": 0}, "no tests"),
        ({"failures": 1}, "1 failed"),
    ],
)
def test_a_guest_whose_tests_did_not_all_pass_fails(
    options: dict[str, int], word: str, tmp_path: Path
) -> None:
    left(tmp_path, **options)  # type: ignore[arg-type]
    run = judged(tmp_path)
    assert not run.passed
    assert word in run.line()


def recorded(kernel: str, exact: str, says: str = "") -> kernel_docs.Recorded:
    cell = {"can": exact, "says": says}
    permission = {"who": "root", "cells": dict.fromkeys(kernel_docs.COLUMNS, cell), "auto": "off"}
    properties = {
        "matrix": json.dumps({"write-protect": "exact" if exact == "yes" else "–"}),
        "permission": json.dumps(permission),
        "soft_dirty_running": "25 of 1000 missed in 4 ticks",
    }
    root = ElementTree.Element("testsuites")
    for name, value in properties.items():
        ElementTree.SubElement(root, "property", name=name, value=value)
    return kernel_docs.read(kernel, "1.0-1", root)


def test_tables_say_where_kernels_differ(tmp_path: Path) -> None:
    runs = [
        recorded("6.1", "no", "is refused"),
        recorded("6.12", "yes"),
        recorded("5.10", "kernel", "no such call"),
    ]
    kernel_docs.write(tmp_path, runs, "2026-01-31", "3 kernels in 9 s")
    permissions = (tmp_path / "permissions.md").read_text()
    assert "| root | no (1): 6.1; yes: 6.12 |" in permissions
    assert "1. is refused" in permissions
    assert "no such call" not in permissions
    kernels = (tmp_path / "kernels.md").read_text()
    assert "| write-protect | – | exact | – |" in kernels
    assert "2.5% of 1,000 pages missed, 4 ticks" in kernels
    assert "2026-01-31" in kernels


def test_only_the_part_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# By people\n")
    marked.put(page, "key", "one\n")
    page.write_text(page.read_text() + "more by people\n")
    marked.put(page, "key", "two\n")
    assert page.read_text() == "# By people\n\n<!-- key -->\ntwo\n<!-- /key -->\nmore by people\n"


def test_series_do_not_overlap() -> None:
    names = {
        "linux-image-5.10.0-46-amd64-unsigned": "5.10",
        "linux-image-6.1.0-56-amd64-unsigned": "6.1",
        "linux-image-6.12.117+deb12-amd64-unsigned": "6.12",
        "linux-image-6.1.0-0.deb11.52-amd64-unsigned": None,
        "linux-image-6.1.0-56-cloud-amd64-unsigned": None,
        "linux-image-6.12.117+deb12-rt-amd64-unsigned": None,
    }
    for name, series in names.items():
        assert [s.name for s in SERIES if s.fits(name)] == ([series] if series else [])
