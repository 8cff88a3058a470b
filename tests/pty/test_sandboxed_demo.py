"""The demo in a sandbox that gives less: it opens on what is left, with the reason on screen."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from harness import memtop
from terminal import Terminal

CONTAINER = ["userfaultfd", "ptrace", "process_vm_readv", "pidfd_getfd"]


@pytest.mark.parametrize(
    ("less", "reason"),
    [
        # The workload is in the same sandbox: that it has a filter at all may be the reason.
        pytest.param(["userfaultfd"], "userfaultfd|seccomp|sandbox", id="userfaultfd"),
        pytest.param(["userfaultfd=ENOSYS"], "userfaultfd|seccomp|sandbox", id="userfaultfd-enosys"),
        pytest.param(["ptrace"], "ptrace|seccomp|sandbox", id="ptrace"),
        pytest.param(["process_vm_readv"], "process_vm_readv|seccomp|sandbox", id="process_vm_readv"),
        pytest.param(["pidfd_getfd"], "pidfd_getfd|seccomp|sandbox", id="pidfd_getfd"),
        pytest.param(["pagemap"], "page tables|pagemap", id="pagemap"),
        pytest.param([*CONTAINER, "pagemap"], "page tables|pagemap", id="all"),
    ],
)
def test_the_demo_opens_on_what_is_left(
    less: list[str], reason: str, sandbox: Callable[..., list[str]]
) -> None:
    with Terminal(sandbox(less, memtop("demo", "-d", "0.2"))) as terminal:
        terminal.wait_for_text("memtop-demo", "64M", "64G")
        missing = "not (possible|permitted)|can.t be tracked"
        terminal.wait_for(lambda s: re.search(missing, s.text), "that something is missing")
        terminal.wait_for(lambda s: re.search(reason, s.text), f"the reason: {reason}")
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()
