"""Names that attack a terminal, a process that bears them, and judges of what memtop prints of it.

The judges know nothing of memtop/model/names.py: one is a list of every control sequence that Textual may
send, the other a list of the Unicode categories that a line of text may hold. What is on neither fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES: dict[str, bytes] = {
    "clipboard": b"\x1b]52;c;b3duZWQ=\x07",
    "title": b"\x1b]0;owned\x1b\\",
    "clear": b"\x1b[2J\x1b[3J\x1bc",
    "strike": b"\x1b[9mstruck\x1b[5mblink",
    "device": b"\x1bP$qm\x1b\\\x1b_G\x1b\\\x1b^pm\x1b\\",
    "report": b"\x1b[6n\x1b[c\x05",
    "c1": "\x9b5m\x9d52;c;eA==\x9c\x90q\x9c".encode(),
    "c1-raw": b"\x9b5m\x9dx\x9c",
    "bidi": "\u202egnp.exe\u202c\u2066x\u2069\u200f".encode(),
    "zero-width": "a\u200bb\u200dc\ufeffd\u2060e\u00ad".encode(),
    "combining": ("Z" + "\u0336\u0354" * 20).encode(),
    "wide": "全角ファイル名".encode(),
    "tags": "\U000e0041\U000e0042\U000f0000".encode(),
    "separators": "a\u2028b\u2029c\u0085d".encode(),
    "markup": b"[red]bold[$red][@click=app.quit]quit[$click]",
    "xml": b"<b>&amp;\"'<!--",
    "bytes": b"\xff\xfe\xc3\x28\xed\xa0\x80",
    "lines": b"one\ntwo\rthree\tfour\x0bfive\x0csix\x08\x08\x7f",
    "shell": b"$(id)`id`;id|id\\x1b",
}
"""None holds a slash, so each is a file name."""

SIGNS = ("]52;c;b3duZWQ=", "[9mstruck", "gnp.exe", "owned")
"""Parts of names that are harmless by themselves: where one is seen, its name came through."""

# ---- what bears them ---------------------------------------------------------------------------------

_TARGET = """
import ctypes, mmap, os, pathlib, sys, threading
names = [bytes.fromhex(word) for word in sys.argv[1].split(",")]
folder = os.fsencode(sys.argv[2])
libc = ctypes.CDLL(None)
keep = []
os.chdir(folder)
deep = b"/".join([b"\\x1b]2;deep\\x07" + b"d" * 200] * 18)  # nearly PATH_MAX, from the root on
at = os.open(b".", os.O_RDONLY)
for part in deep.split(b"/"):
    os.mkdir(part, dir_fd=at)
    at = os.open(part, os.O_RDONLY, dir_fd=at)
fds = [os.open(b"\\x1b[9mend", os.O_RDWR | os.O_CREAT, dir_fd=at)]
fds += [os.open(name, os.O_RDWR | os.O_CREAT) for name in names]
fds += [libc.memfd_create(name[:240], 0) for name in names]
for fd in fds:
    os.ftruncate(fd, 1 << 18)
    area = mmap.mmap(fd, 1 << 18, mmap.MAP_SHARED)
    area[:] = (b"\\x1b[9mpage\\x07\\x9b5m\\xe2\\x80\\xae" * (1 << 15))[: 1 << 18]
    keep.append(area)
area = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
keep.append(area)
address = ctypes.addressof(ctypes.c_char.from_buffer(area))
for name in [*names, b"<b>&'\\"{red}"]:  # the kernel takes only what is printable, without brackets
    libc.prctl(0x53564D41, 0, ctypes.c_ulong(address), ctypes.c_ulong(1 << 20), name)
def thread(name):
    libc.prctl(15, name[:15], 0, 0, 0)
    threading.Event().wait()
for name in names:
    threading.Thread(target=thread, args=(name,), daemon=True).start()
libc.prctl(15, names[0][:15], 0, 0, 0)
print("ready", flush=True)
while sys.stdin.buffer.readline():
    area[:4096] = bytes(4096)
"""


@contextmanager
def hostile_process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose comm, arguments, environment, threads, files and memfds have such names."""
    folder.mkdir(exist_ok=True)
    words = [*NAMES.values(), b"x" * 4096 + b"\x1b[9mlate"]
    list_ = ",".join(name.hex() for name in NAMES.values())
    command = [sys.executable, "-c", _TARGET, list_, str(folder), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


# ---- judges ------------------------------------------------------------------------------------------

# Bold, dim, underline, reverse, on and off: neither blink (5) nor strike (9); colours.
_STYLE = rb"(?:[01247]|2[247]|[34][0-79]|9[0-7]|10[0-7]|[34]8;(?:5;\d{1,3}|2;\d{1,3};\d{1,3};\d{1,3}))"
_KNOWN = re.compile(
    rb"\x1b\[(?:" + _STYLE + rb"(?:;" + _STYLE + rb")*)?m"
    rb"|\x1b\[\d{1,4}(?:;\d{1,4})?H|\x1b\[\d{0,4}C"
    rb"|\x1b\[\?(?:7|25|1000|1003|1004|1006|1015|1049|2004|2026|2048)[hl]"
    rb"|\x1b\[\?20(?:26|48)\$p|\x1b\[>\d{1,2}u|\x1b\[<u"
    rb"|\x1b\]22;(?:default|text|pointer)\x07"
    rb"|\r\n?"
)
_SAFE = {"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "Sm", "Sc", "Sk", "So", "Zs"}
_SAFE |= {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"}


def assert_text(text: str, also: str = "\n") -> None:
    """Every character is one that shows itself where it stands, or one of ``also``.

    Raises:
        AssertionError: with the place.
    """
    for at, c in enumerate(text):
        if c not in also and (unicodedata.category(c) not in _SAFE or (c != " " and c.isspace())):
            raise AssertionError(f"U+{ord(c):04X} at {at}: {text[max(at - 60, 0) : at + 60]!r}")


def assert_terminal(raw: bytes) -> int:
    """All bytes are either control sequences that Textual sends, or harmless text.

    Returns:
        How many sequences there were.

    Raises:
        AssertionError: with the place.
    """
    assert_text(_KNOWN.sub(b"", raw).decode("utf-8"), also="\r\n")
    return len(_KNOWN.findall(raw))


def assert_stream(raw: bytes) -> str:
    """Text for a pipe or a file: no control character but newline; all of it UTF-8."""
    text = raw.decode("utf-8")
    assert_text(text)
    return text


def run(*words: str | bytes, cwd: Path | None = None, **env: str) -> tuple[int, str, str]:
    """Runs memtop; both its streams are harmless: exit code, stdout, stderr."""
    command = [sys.executable, "-m", "memtop", *words]
    done = subprocess.run(
        command, capture_output=True, timeout=60, check=False, cwd=cwd, env={**os.environ, **env}
    )
    out, err = assert_stream(done.stdout), assert_stream(done.stderr)
    assert "Traceback" not in err
    return done.returncode, out, err
