"""The demo in a sandbox that gives less: it opens on what is left, with the reason on screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import memtop
from terminal import Terminal

CONTAINER = ["userfaultfd", "ptrace", "process_vm_readv", "pidfd_getfd"]


@pytest.mark.parametrize(
    ("less", "reason"),
    [
        pytest.param(["userfaultfd"], "userfaultfd", id="userfaultfd"),
        pytest.param(["userfaultfd=ENOSYS"], "userfaultfd", id="userfaultfd-enosys"),
        pytest.param(["ptrace"], "ptrace", id="ptrace"),
        pytest.param(["process_vm_readv"], "process_vm_readv", id="process_vm_readv"),
        pytest.param(["pidfd_getfd"], "pidfd_getfd", id="pidfd_getfd"),
        pytest.param(["pagemap"], "pagemap", id="pagemap"),
        pytest.param([*CONTAINER, "pagemap"], "pagemap", id="all"),
    ],
)
def test_the_demo_opens_on_what_is_left(
    less: list[str], reason: str, sandbox: Callable[..., list[str]]
) -> None:
    with Terminal(sandbox(less, memtop("demo", "-d", "0.2"))) as terminal:
        terminal.wait_for_text("memtop-demo", ".journal", reason)  # a name that every kernel keeps
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()
