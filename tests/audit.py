"""What memtop does to other processes, taken down call by call; and which capabilities it has."""

from __future__ import annotations

from pathlib import Path

from harness import memtop, status

O_ACCMODE = 0o3
WP_MATCHING = 1


class Audit:
    """The log of one run."""

    def __init__(self, program: Path, log: Path) -> None:
        self._program, self._log = program, log

    def command(self, *words: str) -> list[str]:
        return [str(self._program), str(self._log), *memtop(*words)]

    def lines(self, word: str) -> list[str]:
        text = self._log.read_text(encoding="utf-8")
        return [line.removeprefix(word + " ") for line in text.splitlines() if line.startswith(word + " ")]

    def opened_to_write(self) -> list[str]:
        return [line for line in self.lines("open") if int(line.split()[0], 8) & O_ACCMODE]

    def assert_only_looked(self, pid: int) -> None:
        assert any(f"/proc/{pid}/maps" in line for line in self.lines("open")), "it looked at the process"
        assert self.opened_to_write() == []
        assert self.lines("call") == []
        assert not [flags for flags in self.lines("scan") if int(flags) & WP_MATCHING]


def capabilities_of(pid: int, field: str) -> set[int]:
    bits = int(status(pid, field), 16)
    return {bit for bit in range(64) if bits >> bit & 1}
