"""Two that track one process: the second one knows nothing, and says so."""

from __future__ import annotations

import re

from harness import Writer

from memtop.linux.features import probe_kernel
from memtop.model.actions import Method, Notice
from memtop.sampler.target import Target, open_target
from memtop.sampler.telling import tracking_notice
from memtop.sampler.working_set import WorkingSet


def armed(writer: Writer) -> Target:
    target = open_target(writer.pid, probe_kernel())
    target.tick()
    target.arm(Method.WRITE_PROTECT)
    target.tick()
    return target


def told(target: Target) -> Notice:
    return tracking_notice(target, Method.WRITE_PROTECT, None, None)


def test_what_another_one_tracks_is_not_said_to_be_unwritten(
    writer: Writer, needs_write_protect: None
) -> None:
    area = writer.map("area", "anon", 64)
    area.fill()
    first, second = armed(writer), armed(writer)
    try:
        # A picture that is taken later has this sentence on it, too.
        assert re.search(r"by write-protect since \d\d:\d\d:\d\dZ", told(first).text)
        area.fill()
        assert (first.tick().totals.written_pages or 0) >= 64
        sample = second.tick()
        assert sample.tracker.armed == 0
        assert sample.totals.written_pages is None, "not known is not zero"
        assert sample.totals.written_bytes_per_s is None
        assert WorkingSet(10).add(sample) is None
        notice = told(second)
        assert "nothing is tracked: another memtop, or another tracker, has" in notice.text
        assert notice.severity == "warning"
    finally:
        first.close()
        second.close()
