"""CRIU images as crit reads them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PAGE = 4096


def crit(*words: str | Path) -> str:
    if shutil.which("crit") is None:
        pytest.skip("missing capability: crit (criu)")
    return subprocess.run(["crit", *words], capture_output=True, text=True, check=True).stdout


def decode(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(crit("decode", "-i", path))["entries"])


class Images:
    """Read by crit; only the pages file, which has no messages, is read here."""

    def __init__(self, path: Path, pid: int) -> None:
        self.path = path
        self.head, *self.entries = decode(path / f"pagemap-{pid}.img")
        (self.mm,) = decode(path / f"mm-{pid}.img")
        self.files = {f["id"]: f["reg"]["name"] for f in decode(path / "files.img")}
        self.pages: dict[int, int] = {}
        at = last = 0
        for entry in self.entries:
            assert entry["vaddr"] >= last, "by rising address"
            assert entry["flags"] == 4  # PE_PRESENT
            last = entry["vaddr"] + entry["nr_pages"] * PAGE
            for page in range(entry["nr_pages"]):
                self.pages[entry["vaddr"] + page * PAGE] = at
                at += PAGE
        self.contents = (path / f"pages-{self.head['pages_id']}.img").read_bytes()
        assert len(self.contents) == at

    def read(self, start: int, size: int) -> bytes:
        """What CRIU does not have is zeros, in private memory of no file."""
        parts = []
        for address in range(start, start + size, PAGE):
            at = self.pages.get(address)
            parts.append(bytes(PAGE) if at is None else self.contents[at : at + PAGE])
        return b"".join(parts)
