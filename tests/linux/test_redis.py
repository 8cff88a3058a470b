"""A real database under load: rates are shown, and it never notices."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Batch, armed_mappings, descriptors, spawned, status, wait_for

pytestmark = pytest.mark.usefixtures("needs_write_protect")

TRACK = ("--track", "write-protect", "--max-cost", "0")


class Redis:
    """A redis-server on a socket of its own."""

    def __init__(self, pid: int, socket: Path) -> None:
        self.pid = pid
        self.socket = socket

    def ask(self, *words: str) -> str:
        command = ["redis-cli", "-s", str(self.socket), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def answers(self) -> bool:
        """Whether it listens by now: its socket exists before that."""
        try:
            return self.ask("PING") == "PONG"
        except subprocess.CalledProcessError:
            return False

    def benchmark(self, *words: str) -> list[str]:
        """Command line of a load."""
        return ["redis-benchmark", "-s", str(self.socket), "-q", *words]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    for program in ("redis-server", "redis-benchmark", "redis-cli"):
        if shutil.which(program) is None:
            pytest.skip(f"missing capability: {program} is not installed")
    socket = tmp_path / "redis.sock"
    if len(str(socket)) > 100:
        pytest.skip("missing capability: the temporary directory's path is too long for a socket")
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--enable-debug-command", "local"]
    command = ["redis-server", *options, "--dir", str(tmp_path), "--daemonize", "no"]
    with spawned(command, stdout=subprocess.DEVNULL) as process:
        server = Redis(process.pid, socket)
        wait_for(socket.exists, "redis-server listens")
        wait_for(server.answers, "redis-server answers")
        yield server


def test_redis_under_load(redis: Redis) -> None:
    redis.ask("DEBUG", "POPULATE", "200000", "key", "256")
    redis.ask("SET", "known", "value")
    before, fds, threads = digest(redis), lasting(redis), status(redis.pid, "Threads")
    load = redis.benchmark("-t", "set", "-n", "100000000", "-r", "100000", "-d", "256")
    with Batch(redis.pid, "-d", "0.2", "--pages", *TRACK) as batch:
        baseline = batch.sample()
        assert baseline["tracker"]["name"] == "write-protect"
        assert baseline["written_pages"] == 0
        quiet = batch.sample()
        assert 0 <= quiet["written_pages"] < 5000
        assert digest(redis) == before, "tracked, but unchanged"
        with spawned(load, stdout=subprocess.DEVNULL):
            # Samples of before may still be in the pipe, and the load takes a moment to begin.
            wait_for(lambda: batch.sample()["written_pages"] > 1000, "the load")
            busy = [batch.sample() for _ in range(8)]
        for sample in busy:
            assert sample["written_pages"] > 100
            assert sample["written_bytes_per_s"] > 100 * 4096
            assert sample["cost"]["target_faults"] > 0
            pages = [run for mapping in sample["mappings"] for run in mapping.get("written") or ()]
            assert sum(count for _, count in pages) == sample["written_pages"]
        resident = int(status(redis.pid, "VmRSS").split()[0]) * 1024
        assert busy[-1]["resident"] == pytest.approx(resident, rel=0.2)
        assert armed_mappings(redis.pid)
        batch.process.terminate()
        assert batch.end().code == 128 + 15

    wait_for(lambda: armed_mappings(redis.pid) == 0, "all given back")
    assert redis.ask("GET", "known") == "value"
    assert int(redis.ask("DBSIZE")) >= 200_001
    assert redis.ask("MEMORY", "DOCTOR")
    assert "used_memory:" in redis.ask("INFO", "memory")
    assert status(redis.pid, "Threads") == threads
    assert lasting(redis) == fds
    assert status(redis.pid, "TracerPid") == "0"


def lasting(redis: Redis) -> dict[str, str]:
    """Its descriptors but for clients' connections, which end when redis finds the time."""
    return {fd: what for fd, what in descriptors(redis.pid).items() if not what.startswith("socket:")}


def digest(redis: Redis) -> str:
    """A checksum over all data."""
    return redis.ask("DEBUG", "DIGEST")


def test_data_is_intact_through_arming_and_disarming(redis: Redis) -> None:
    """The same load with and without memtop leaves the same data."""
    redis.ask("DEBUG", "POPULATE", "50000", "key", "500")
    before = digest(redis)
    for _ in range(3):
        with Batch(redis.pid, "-d", "0.1", *TRACK) as batch:
            batch.sample()
            subprocess.run(
                redis.benchmark("-t", "incr", "-n", "20000", "-r", "1"), check=True, stdout=subprocess.DEVNULL
            )
            assert batch.sample()["tracker"]["name"] == "write-protect"
        wait_for(lambda: armed_mappings(redis.pid) == 0, "all given back")
    counter = redis.ask("KEYS", "counter:*")
    assert redis.ask("GET", counter) == "60000"
    redis.ask("DEL", counter)
    assert digest(redis) == before
