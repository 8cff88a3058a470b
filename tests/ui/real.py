"""What memtop really says where something can't be had: made by the code that says it.

Only what no machine here has is made up: what the kernel answers to probes, and Yama's setting.
"""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from fake_world import process

from memtop.linux import features, ptrace
from memtop.linux.features import Feature, KernelFeatures
from memtop.model.actions import Method, Notice
from memtop.model.layout import Category
from memtop.model.sample import TrackerInfo
from memtop.sampler.telling import tracking_notice
from memtop.tracking import choose


def kernel(*, scan: bool, soft_dirty: bool) -> KernelFeatures:
    """A kernel with or without PAGEMAP_SCAN and soft-dirty, as probing would describe it."""
    codes = dict.fromkeys((0, *Category), 0 if scan else errno.ENOTTY)
    pagemap, userfaultfd = Feature("pagemap", True), features._userfaultfd(1)
    return KernelFeatures(
        release="5.10.0",
        pagemap=pagemap,
        pagemap_scan=features._pagemap_scan(pagemap, codes),
        guard_bit=features._category("guard category", Category.GUARD, codes),
        soft_dirty_bit=features._category("soft-dirty category", Category.SOFT_DIRTY, codes),
        soft_dirty=features._soft_dirty(int(soft_dirty)),
        userfaultfd=userfaultfd,
        wp_async=features._wp_async(int(scan), userfaultfd, codes),
        ptrace=features._ptrace(1),
        injection=Feature("injection", True),
        pidfd=Feature("pidfd", True),
        anon_names=Feature("names of anonymous mappings", True),
    )


def tracking(has: KernelFeatures) -> tuple[TrackerInfo, Notice]:
    """What ``auto`` comes to on this kernel for a user who may not trace, and what is said of it."""
    who = process()

    def refused(_: Any) -> Any:
        with (
            patch("memtop.linux.ptrace.yama_scope", lambda: 1),
            patch("memtop.linux.ptrace.has_capability", lambda _: False),
        ):
            what = ptrace._WHAT.format(pid=who.pid, comm=who.comm)
            raise ptrace.refused_attach(who.pid, what, errno.EPERM)

    with (
        patch("memtop.tracking.choose.require_action", lambda _: None),
        patch("memtop.tracking.choose.check_clear", lambda *_: None),
        patch("memtop.tracking.choose.injected", refused),
    ):
        nothing: Any = None
        handle: Any = SimpleNamespace(pid=who.pid)
        armed = choose.arm(Method.AUTO, handle, nothing, has)
    info = armed.tracker.info
    target: Any = SimpleNamespace(
        process=who, key=(who.pid, who.start_time), tracker_info=info, refused=armed.refused
    )
    return info, tracking_notice(target, Method.AUTO, None, None)
