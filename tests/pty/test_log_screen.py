"""``--log`` with the screen: what keys did to the process."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Writer, armed_mappings, memtop, wait_for
from terminal import Terminal


@pytest.mark.usefixtures("needs_write_protect")
def test_what_keys_did(writer: Writer, tmp_path: Path) -> None:
    writer.map("area", "anon", 64 * 256).fill()
    log = tmp_path / "log"
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2", "--log", str(log))) as terminal:
        terminal.wait_for_text("writer", "64M")
        terminal.send("w")
        terminal.wait_for_text("Enter", "Esc")
        assert "asked for" not in log.read_text(), "the question is no action"
        terminal.send("\r")
        wait_for(lambda: (terminal.read(0.05), armed_mappings(writer.pid))[1], "armed mappings")
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()
    said = log.read_text()
    for part in ("looks at writer", "is asked for", "stood still", "verified", "closed its userfaultfd"):
        assert f"{writer.pid}: " in said
        assert part in said, said
    assert said.endswith("memtop ends\n")
