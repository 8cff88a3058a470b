"""What the kernel, a sandbox and a target allow: as found without memtop, and with a reason if not."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from harness import Writer, armed_mappings, descriptors, spawned, status

from memtop.linux.access import is_filtered
from memtop.linux.features import Feature, KernelFeatures, probe_kernel, probe_target
from memtop.linux.process import ProcessHandle

SHOW = """
import json
from dataclasses import asdict
from memtop.linux.features import probe_kernel
print(json.dumps(asdict(probe_kernel())))
"""

Features = dict[str, dict[str, Any]]
Sandbox = Callable[..., list[str]]


def probe_in(sandbox: Sandbox, *less: str) -> Features:
    """The features that a memtop sees in there."""
    command = sandbox(list(less), [sys.executable, "-c", SHOW])
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    features: Features = json.loads(done.stdout)
    return features


def kernel_configuration() -> str:
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}")):
        if path.exists():
            raw = path.read_bytes()
            return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    pytest.skip("missing capability: reading this kernel's configuration")


def test_every_lack_has_a_reason() -> None:
    features = probe_kernel().features()
    assert len({f.name for f in features}) == len(features)
    for feature in features:
        assert feature.works or (feature.reason and feature.remedy), feature


def test_as_found_without_memtop(capabilities: dict[str, str]) -> None:
    kernel = probe_kernel()
    for name in ("pagemap", "pagemap_scan", "userfaultfd", "ptrace"):
        feature: Feature = getattr(kernel, name)
        assert bool(feature.works) == (capabilities[name] == "ok"), feature
    if kernel.userfaultfd.works and kernel.pagemap_scan.works:
        assert kernel.wp_async.works == (capabilities["wp_async"] == "ok")
    needed = ("ptrace", "process_vm_readv", "pidfd_getfd", "userfaultfd")
    if os.uname().machine == "x86_64" and all(capabilities[name] == "ok" for name in needed):
        # Under a filter of its own memtop can't suspend the test process's: then it can't tell.
        assert kernel.injection.works or (kernel.injection.works is None and is_filtered()), kernel.injection


def test_as_the_kernel_was_configured(needs_pagemap: None) -> None:
    configuration = kernel_configuration()
    kernel = probe_kernel()
    assert kernel.soft_dirty.works == ("CONFIG_MEM_SOFT_DIRTY=y" in configuration)
    assert kernel.anon_names.works == ("CONFIG_ANON_VMA_NAME=y" in configuration)
    assert kernel.release == os.uname().release


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
@pytest.mark.parametrize("call", ["userfaultfd", "ptrace", "process_vm_readv", "pidfd_getfd", "pidfd_open"])
def test_system_call_that_a_sandbox_refuses(call: str, error: str, sandbox: Sandbox) -> None:
    features = probe_in(sandbox, f"{call}={error}")
    said = {
        "userfaultfd": "userfaultfd",
        "ptrace": "ptrace",
        "process_vm_readv": "injection",
        "pidfd_getfd": "injection",
        "pidfd_open": "pidfd",
    }
    feature = features[said[call]]
    assert feature["works"] is False
    assert feature["reason"]
    assert not features["injection"]["works"]
    assert features["injection"]["reason"]
    if call == "userfaultfd":  # the target may still be allowed what memtop is not
        assert features["wp_async"]["works"] is None
    assert features["pagemap"] == asdict(probe_kernel())["pagemap"]


def test_no_pagemap(sandbox: Sandbox) -> None:
    features = probe_in(sandbox, "pagemap")
    for name in ("pagemap", "pagemap_scan"):
        assert features[name]["works"] is False
        assert features[name]["reason"]
    for name in ("soft_dirty", "wp_async"):  # both need it to be tried
        assert not features[name]["works"]
        assert features[name]["reason"]


def test_probing_leaves_nothing() -> None:
    before = descriptors(os.getpid())
    probe_kernel.cache_clear()
    kernel = probe_kernel()
    assert isinstance(kernel, KernelFeatures)
    assert descriptors(os.getpid()) == before
    assert probe_kernel() is kernel


# ---- targets ----------------------------------------------------------------------------------------


def target_features(pid: int) -> dict[str, Feature]:
    with ProcessHandle.open(pid) as process:
        features = probe_target(process).features()
    for feature in features:
        assert feature.works or feature.reason, feature
    return {feature.name: feature for feature in features}


def test_own_child_allows_all(needs_write_protect: None, writer: Writer) -> None:
    features = target_features(writer.pid)
    assert [name for name, feature in features.items() if not feature.works] == []
    assert armed_mappings(writer.pid) == 0
    assert status(writer.pid, "TracerPid") == "0"


def test_traced_target(needs_write_protect: None, writer: Writer, build: Callable[[str], Path]) -> None:
    command = [build("tracer"), str(writer.pid)]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout.readline() == b"ok\n"
        features = target_features(writer.pid)
    assert features["maps"].works
    assert features["injection"].works is False
    assert f"pid {tracer.pid}" in features["injection"].reason


def test_filtered_target(needs_root: None, needs_write_protect: None, writer: Writer) -> None:
    writer.ask("seccomp")
    assert "seccomp" in target_features(writer.pid)["injection"].reason


def test_another_users_target(needs_root: None, writer: Writer) -> None:
    reader, end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            features = target_features(writer.pid)
            os.write(end, json.dumps({n: f.works for n, f in features.items()}).encode())
        finally:
            os._exit(0)
    os.close(end)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        works = json.loads(pipe.read())
    assert not any(works[name] for name in ("pagemap", "clear_refs", "ptrace attach", "injection"))
