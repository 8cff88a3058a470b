"""Promises of the project around the code: Makefile, documents, layers, nothing that does not belong here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import memtop

from memtop import __version__

ROOT = Path(__file__).resolve().parents[2]
HOSTS = {"docs.kernel.org", "lwn.net", "man7.org", "www.apache.org", "www.textualize.io", "www.w3.org"}
"""What files of this project may point to; the last two stand in every SVG that Rich makes."""


def files(*suffixes: str) -> Iterator[Path]:
    """The project's own files, committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("missing capability: git (this is no clone)")
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if path.is_file() and (not suffixes or path.suffix in suffixes):
            yield path


def make(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("missing capability: make")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory", *words],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )


def test_make_alone_lists_every_target() -> None:
    shown = re.findall(r"^ +make ([\w-]+)", make().stdout, re.M)
    phony = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.M)
    assert phony
    assert sorted(shown) == sorted(phony[1].split())
    for target in shown:
        make("--dry-run", target)


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md"])
def test_what_documents_name_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"`make ([\w-]+)`", text):
        make("--dry-run", target)
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    links += re.findall(r"`((?:memtop|tests|docs|benchmarks|tools)/[\w/.]+\w)`", text)
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing


def test_change_log_begins_with_this_version() -> None:
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == __version__


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_no_textual_for_a_word_of_help(option: str) -> None:
    command = [sys.executable, "-X", "importtime", *memtop(option)[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.M))
    assert "memtop.cli" in imported
    assert not {name.split(".")[0] for name in imported} & {"textual", "rich", "psutil"}


def test_batch_needs_no_textual() -> None:
    command = [sys.executable, "-X", "importtime", *memtop("batch", "-p", str(os.getpid()), "-n", "1")[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not re.search(r"\| +textual", done.stderr)


def test_no_file_is_too_long_to_read() -> None:
    too_long = {}
    for path in files(".py", ".c", ".h"):
        name, lines = str(path.relative_to(ROOT)), len(path.read_bytes().splitlines())
        if lines > (420 if name.startswith("memtop/") else 600):
            too_long[name] = lines
    assert not too_long


def test_nothing_points_elsewhere() -> None:
    found = set()
    for path in files():
        text = path.read_bytes().decode("utf-8", "ignore") if path.suffix != ".png" else ""
        for host in re.findall(r"https?://([\w.-]+)", text):
            if host not in HOSTS:
                found.add((str(path.relative_to(ROOT)), host))
        for home in re.findall(r"(?<![\w~.])/(?:root|home)/\w+", text):
            found.add((str(path.relative_to(ROOT)), home))
    assert not found


def test_pictures_bring_no_fonts_from_elsewhere() -> None:
    for path in files(".svg"):
        text = path.read_text()
        assert "@font-face" not in text, path
        assert "url(http" not in text, path


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"CC": "no-such-compiler"}, ["C compiler", "apt install", "gcc"]),
        ({"PATH": "/nonexistent"}, ["there is no python3", "apt install python3"]),
    ],
    ids=["compiler", "python"],
)
def test_preflight_says_what_to_install(env: dict[str, str], said: list[str], tmp_path: Path) -> None:
    if "PATH" in env:
        env = {"PATH": str(tmp_path)}
        (tmp_path / "uname").symlink_to(shutil.which("uname") or "/bin/uname")
    sh = shutil.which("sh") or "/bin/sh"
    done = subprocess.run(
        [sh, ROOT / "tools/preflight", "python3"],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert not [part for part in said if part not in done.stderr], done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_benchmarks_start(path: Path) -> None:
    """They stand on helpers of the tests, which know nothing of them."""
    done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {path.name} ")
