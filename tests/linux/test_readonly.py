"""``--readonly``: what memtop does to other processes, taken down call by call by tests/targets/audit.c."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from audit import Audit, capabilities_of
from harness import Batch, Writer, run, spawned

from memtop.linux import access
from memtop.linux.access import ACTING, LOOKING, Capability
from memtop.linux.errors import NotPermitted
from memtop.linux.features import probe_kernel
from memtop.linux.pagemap import Scanner
from memtop.linux.procfs import MapsReader
from memtop.model.layout import Mode

pytestmark = pytest.mark.usefixtures("needs_ptrace", "needs_pagemap")


@pytest.fixture
def audit(build: Callable[[str], Path], tmp_path: Path) -> Audit:
    return Audit(build("audit"), tmp_path / "log")


def test_batch_only_looks(audit: Audit, writer: Writer) -> None:
    writer.map("area", "anon", 100).fill()
    with spawned(audit.command("batch", "-p", str(writer.pid), "-n", "3", "-d", "0.1", "--readonly")) as ran:
        assert ran.wait(60) == 0
    audit.assert_only_looked(writer.pid)


@pytest.mark.usefixtures("needs_pagemap_scan")
def test_scan_only_looks(audit: Audit, writer: Writer) -> None:
    writer.map("area", "anon", 100).fill()
    words = ["scan", "-p", str(writer.pid), "--match", "file | huge & present", "--readonly"]
    with spawned(audit.command(*words)) as ran:
        assert ran.wait(60) == 0
    audit.assert_only_looked(writer.pid)


@pytest.mark.parametrize("method", ["auto", "write-protect", "soft-dirty"])
def test_tracking_is_refused(audit: Audit, writer: Writer, method: str) -> None:
    words = ["batch", "-p", str(writer.pid), "-n", "1", "--readonly", "--track", method]
    with spawned(audit.command(*words)) as ran:
        assert ran.wait(60) == (0 if method == "auto" else 4)
    audit.assert_only_looked(writer.pid)
    run(*words).said("--readonly")


@pytest.mark.usefixtures("needs_write_protect")
def test_the_audit_sees_what_acts(audit: Audit, writer: Writer) -> None:
    """The same run without --readonly, so that the tests above prove something."""
    command = audit.command("batch", "-p", str(writer.pid), "-n", "1", "--track", "write-protect")
    with spawned(command) as ran:
        assert ran.wait(60) == 0
    assert {line.split()[0] for line in audit.lines("call")} >= {"ptrace", "userfaultfd", "pidfd_getfd"}
    assert "1" in audit.lines("scan")
    assert any("clear_refs" in line for line in audit.opened_to_write())


@pytest.fixture
def readonly() -> Iterator[None]:
    access.set_readonly(True)
    yield
    access.set_readonly(False)


@pytest.mark.usefixtures("needs_pagemap_scan", "readonly")
def test_a_protecting_scan_is_refused_where_the_kernel_is_touched(writer: Writer) -> None:
    with MapsReader(writer.pid) as maps, Scanner(writer.pid, use_ioctl=True, guard_bit=False) as scanner:
        table = maps.read()
        for mode in (Mode.ARMED, Mode.ARMED_FILE):
            with pytest.raises(NotPermitted, match="--readonly"):
                scanner.scan(table, bytes([mode]) * len(table))
        assert len(scanner.scan(table, bytes([Mode.CENSUS]) * len(table)).counts)


@pytest.mark.usefixtures("readonly")
def test_nothing_is_probed_that_acts() -> None:
    kernel = probe_kernel.__wrapped__()
    for feature in (kernel.soft_dirty, kernel.userfaultfd, kernel.wp_async, kernel.ptrace, kernel.injection):
        assert feature.works is None
        assert "--readonly" in feature.reason


# ---- capabilities ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("needs_root")
@pytest.mark.parametrize(("words", "kept"), [((), ACTING), (("--readonly",), LOOKING)])
def test_capabilities_are_dropped(
    writer: Writer, words: tuple[str, ...], kept: tuple[Capability, ...]
) -> None:
    before = capabilities_of(writer.pid, "CapEff")
    with Batch(writer.pid, "-d", "0.1", *words) as batch:
        batch.sample()
        for field in ("CapEff", "CapPrm"):
            assert capabilities_of(batch.process.pid, field) == before & set(kept)
        assert not capabilities_of(batch.process.pid, "CapInh")
        bounding = capabilities_of(batch.process.pid, "CapBnd")
        assert bounding <= set(kept), "a program that it starts gets no more"


@pytest.mark.usefixtures("needs_root", "needs_write_protect")
def test_what_is_kept_is_enough_for_another_users_process(new_writer: Callable[[], Writer]) -> None:
    """Looking with --readonly, and tracking without; the process belongs to user 65534."""
    with spawned(["sleep", "60"], user=65534, group=65534) as other:
        looked = run("batch", "-p", str(other.pid), "-n", "1", "--json", "--readonly")
        assert looked.code == 0, looked.err
        assert looked.samples[0]["mappings"][0]["resident"] is not None
        tracked = run("batch", "-p", str(other.pid), "-n", "1", "--json", "--track", "write-protect")
        assert tracked.code == 0, tracked.err
        assert tracked.samples[0]["tracker"]["armed"] > 0
