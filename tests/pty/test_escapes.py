"""Nothing that a target, a file or a recording calls itself reaches the terminal as anything but text."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from harness import memtop
from hostile import NAMES, SIGNS, assert_stream, assert_terminal, assert_text, hostile_process, run
from terminal import Terminal

TEXT = {label: name.decode("utf-8", "surrogateescape") for label, name in NAMES.items()}
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    with hostile_process(tmp_path_factory.mktemp("hostile")) as process:
        yield process


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working directory with such a name, and files in it."""
    folder = tmp_path / TEXT["clipboard"]
    folder.mkdir()
    for name in TEXT.values():
        (folder / name).write_bytes(b"no recording\n")
    return folder


# ---- the judges ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", sorted(set(NAMES) - {"wide", "markup", "xml", "shell"}))
def test_the_judges_see_each_attack(label: str) -> None:
    for judge in (assert_terminal, assert_stream):
        with pytest.raises((AssertionError, UnicodeDecodeError)):
            judge(b"before " + NAMES[label] + b" behind")


def test_the_judges_let_pass_what_is_harmless() -> None:
    assert assert_terminal(b"\x1b[1;38;2;1;22;255;48;5;7mbold\x1b[0m\x1b[12;1H\xe6\xbc\xa2 \x1b[39;49m") == 4
    assert assert_stream("漢字 – ░▒▓ [red]\n".encode())


# ---- the live screen -------------------------------------------------------------------------------------

KEYS = (
    *("\x1b[B" * 12, "t", "t", "t"),
    *("[", "[", "]", "]", "]", "\r", "\r", "r", "\x1b", "\x1b"),  # zooms, into the map, a page in hex, back
    *("\x1b[15~", "\r", "\x1b[B", "\x1b[15~", "\x1b[15~"),  # groups: by file, opened, by kind, none
    *("\x1bOQ", "\x1b[B", " ", " ", "\x1b"),  # columns
    *("/", "owned", "\r", "f", "name~owned", "\r", "f", "\x15", "\r"),
    *("?", "\x1b[6~", "\x1b", ":", "pic", "\x1b", "\x1b"),
    *(" ", "\x1b[D", "\x1b[D", " ", "m", "i", "\x1b", "T", "T", "T"),
    *("w", "\x1b", "c", "1", "\x1b", "\x1b", "d", "\x1b", "s"),
)


@pytest.mark.parametrize(("size", "options"), [((120, 40), ()), ((80, 24), ("--ascii",))])
def test_every_view(
    target: subprocess.Popen[bytes], here: Path, size: tuple[int, int], options: tuple[str, ...]
) -> None:
    command = memtop("-p", str(target.pid), "-d", "0.2", *options)
    inside = ["sh", "-c", 'cd "$0" && exec "$@"', str(here), *command]
    with Terminal(inside, *size, PYTHONPATH=os.getcwd(), XDG_CONFIG_HOME=str(here)) as terminal:
        terminal.wait_for_text(r"\x1b]52;c;b3duZ", str(target.pid))
        for key in KEYS:
            if key == "\x1b":
                terminal.escape()
            else:
                terminal.send(key)
                terminal.watch(0.1)
        terminal.wait_for_text("saved memtop-")
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()
    assert assert_terminal(bytes(terminal.output)) > 1000
    shots = sorted(here.glob("memtop-*"))
    assert [path.suffix for path in shots] == [".svg", ".txt"]
    for path in shots:
        assert_text(path.name)
        assert path.name.isascii()
        assert_stream(path.read_bytes())
    ElementTree.parse(shots[0])


@pytest.mark.parametrize("typed", ["", "owned"])
def test_the_list_of_processes(target: subprocess.Popen[bytes], typed: str) -> None:
    with Terminal(memtop(), 160, 40) as terminal:
        terminal.wait_for_text("which process?", "PID")
        terminal.send(typed or str(target.pid))
        terminal.wait_for_text(r"\x1b]52;c;b3duZ")
        terminal.escape()
        terminal.send("\x1b")
        assert terminal.end() == 0
    assert_terminal(bytes(terminal.output))


def test_a_paste_is_text(target: subprocess.Popen[bytes]) -> None:
    with Terminal(memtop("-p", str(target.pid), "-d", "0.5")) as terminal:
        terminal.wait_for_text(r"\x1b]52;c;b3duZ")
        for key in ("/", "f"):
            terminal.send(key)
            terminal.wait_for_text("as before")
            terminal.send("\x1b[200~a\u202eb\x9b5m\u0336c\x1b[201~")
            terminal.wait_for_text(r"a\u202eb")
            terminal.send("\x1b")
            terminal.wait_for(lambda s: "as before" not in s.text, "the prompt gone")
        terminal.send("q")
        assert terminal.end() == 0
    assert_terminal(bytes(terminal.output))


def poisoned(value: Any, name: str) -> Any:
    """The same line of a recording with a name in every text, but for what must be as it is to be read."""
    if isinstance(value, dict):
        kept = {
            "type",
            "coverage",
            "state",
            "perms",
            "kind",
            "start",
            "end",
            "exact",
            "exactness",
            "dev",
            "reason",
        }
        return {key: each if key in kept else poisoned(each, name) for key, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, name) if isinstance(each, dict) else each for each in value]
    return name if isinstance(value, str) and not value.startswith("0x") else value


@pytest.mark.parametrize("label", ["clipboard", "c1", "bidi", "lines", "strike", "bytes"])
def test_a_recording(tmp_path: Path, label: str) -> None:
    file = tmp_path / "poisoned.jsonl"
    lines = gzip.decompress((DATA / "demo.jsonl.gz").read_bytes()).splitlines()[:5]
    file.write_text("".join(json.dumps(poisoned(json.loads(line), TEXT[label])) + "\n" for line in lines))
    code, out, err = run("shot", "--replay", str(file), "-o", "-")
    assert (code, err) == (0, "")
    assert "memtop " in out
    with Terminal(memtop("replay", str(file))) as terminal:
        terminal.wait_for_text("▸ replay")
        terminal.send("?")
        terminal.wait_for_text("any other key closes")
        terminal.send("q")
        terminal.wait_for(lambda screen: "any other key" not in screen.text, "the help page closed")
        terminal.send("q")
        terminal.end()
    assert_terminal(bytes(terminal.output))


def test_a_recording_without_a_readable_sample_is_an_error_not_a_wait(tmp_path: Path) -> None:
    head, first, *_ = gzip.decompress((DATA / "demo.jsonl.gz").read_bytes()).splitlines()
    sample = json.loads(first)
    sample["mappings"][0]["perms"] = TEXT["clipboard"]
    file = tmp_path / "damaged.jsonl"
    file.write_bytes(head + b"\n" + json.dumps(sample).encode() + b"\n")
    code, out, err = run("shot", "--replay", str(file), "-o", "-")
    assert (code, out) == (1, "")
    assert "can't be shown: line 2" in err


# ---- streams, files, errors ------------------------------------------------------------------------------

VERBS = {
    "batch": ["batch", "-p", "PID", "-n", "2", "-d", "0.1"],
    "batch-json": ["batch", "-p", "PID", "-n", "2", "-d", "0.1", "--json", "--pages"],
    "scan": ["scan", "-p", "PID", "--match", "present"],
    "scan-json": ["scan", "-p", "PID", "--match", "present", "--json"],
    "doctor": ["doctor", "-p", "PID"],
    "record": ["record", "-p", "PID", "-n", "2", "-d", "0.1", "-o", "-"],
    "shot": ["shot", "-p", "PID", "--after", "0.2", "--size", "200x60", "-o", "-"],
    "dump": ["dump", "-p", "PID", "--freeze", "none", "-o", "OUT"],
    "snapshot": ["dump", "-p", "PID", "--format", "snapshot", "--freeze", "none", "-o", "OUT"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_stream(
    target: subprocess.Popen[bytes], verb: str, here: Path, request: pytest.FixtureRequest
) -> None:
    if verb in ("dump", "snapshot"):
        request.getfixturevalue("needs_reading")
    elif verb.startswith("scan"):
        request.getfixturevalue("needs_pagemap_scan")
    out_name = str(here / (TEXT["strike"] + "-out"))
    words = [{"PID": str(target.pid), "OUT": out_name}.get(word, word) for word in VERBS[verb]]
    code, out, err = run(*words)
    assert code == 0, err
    if not verb.startswith(("dump", "snapshot", "doctor")):
        assert any(sign in out for sign in SIGNS), out[:2000]
    if "json" in verb or verb == "record":
        for line in out.splitlines():
            each_text(json.loads(line))


@pytest.mark.parametrize("label", ["clipboard", "c1-raw", "bidi", "combining", "lines", "markup"])
def test_an_expression(target: subprocess.Popen[bytes], label: str) -> None:
    for options in ([], ["--json"], ["--explain"]):
        run("scan", "-p", str(target.pid), "--match", f"present & name~{TEXT[label]}", *options)


def each_text(value: Any) -> None:
    """All keys and values: who reads JSON prints what is in it."""
    if isinstance(value, dict):
        for key, each in value.items():
            assert_text(key, "")
            each_text(each)
    elif isinstance(value, list):
        for each in value:
            each_text(each)
    elif isinstance(value, str):
        assert_text(value, "")


@pytest.mark.usefixtures("needs_reading")
def test_snapshots_and_what_is_said_of_them(target: subprocess.Popen[bytes], here: Path) -> None:
    base, core = str(here / (TEXT["title"] + ".mts")), str(here / (TEXT["bidi"] + ".core"))
    dump = ["dump", "-p", str(target.pid), "--format", "snapshot", "--freeze", "none"]
    code, _, err = run(*dump, "-o", base)
    assert code == 0, err
    child = str(here / (TEXT["strike"] + ".mts"))
    assert run(*dump, "--parent", base, "-o", child)[0] == 0
    code, out, _ = run("verify", child)
    assert code == 0
    assert r"\x1b[9mstruck" in out
    assert run("core", child, "-o", core)[0] == 0
    for options in ([], ["--runs", "--hex"], ["--json"]):
        code, out, err = run("diff", base, child, *options)
        assert code in (0, 6), err
    os.rename(base, base + "-moved")
    assert run("verify", child)[0] == 1
    Path(child).write_bytes(Path(child).read_bytes()[:5000])
    assert run("verify", child)[0] == 1


@pytest.mark.parametrize("label", ["clipboard", "c1-raw", "bidi", "combining", "lines"])
def test_files_that_errors_are_about(target: subprocess.Popen[bytes], here: Path, label: str) -> None:
    name, pid = TEXT[label], str(target.pid)
    path = str(here / name)
    for words in (
        ["verify", path],
        ["replay", path],
        ["shot", "--replay", path, "-o", "-"],
        ["shot", "-p", pid, "-o", path + ".svg/x.svg"],
        ["record", "-p", pid, "-o", path],
        ["batch", "-p", pid, "--log", path + "/x", "-n", "1"],
        [name],
        ["batch", name],
        ["-p", name],
        ["--name", name],
    ):
        code, _, err = run(*words)
        assert code != 0
        assert err.startswith(("memtop: ", "usage: ")), err


@pytest.mark.parametrize(
    "line",
    [
        'theme = "{}"',
        'columns = ["{}"]',
        'sort = "{}"',
        'group = "{}"',
        '"{}" = 1',
        '[keys]\n"{}" = "x"',
        '[keys]\nfreeze = "{}"',
        '[keys]\nfreeze = "ctrl+{}"',
    ],
)
def test_settings(tmp_path: Path, line: str) -> None:
    evil = r"\u001b]52;c;eA==\u0007\u202e"
    file = tmp_path / "memtop" / "config.toml"
    file.parent.mkdir()
    file.write_text(line.format(evil) + "\n")
    with Terminal(memtop("demo"), XDG_CONFIG_HOME=str(tmp_path)) as terminal:
        assert terminal.end() == 2
    assert_terminal(bytes(terminal.output))
    assert b"config.toml" in terminal.output


@pytest.fixture
def users() -> Iterator[pytest.MonkeyPatch]:
    """To set what a user's name is; names are asked for anew, and after the test once more."""
    from memtop.linux.process import user_name

    with pytest.MonkeyPatch.context() as patch:
        user_name.cache_clear()
        yield patch
    user_name.cache_clear()


def test_a_user_without_a_name_is_a_number(users: pytest.MonkeyPatch) -> None:
    from memtop.linux import process

    def nobody(uid: int) -> Any:
        raise KeyError(uid)

    users.setattr(process.pwd, "getpwuid", nobody)
    assert process._user(os.getpid()) == str(os.getuid())


@pytest.mark.parametrize("label", NAMES)
def test_user_names(label: str, users: pytest.MonkeyPatch) -> None:
    from memtop.linux import process

    class Somebody:
        def __init__(self, uid: int) -> None:
            self.pw_name = TEXT[label]

    users.setattr(process.pwd, "getpwuid", Somebody)
    assert_text(process._user(os.getpid()), "")
    shown = process.user_name(12345)  # as the list of processes asks for it
    assert shown
    assert_text(shown, "")
