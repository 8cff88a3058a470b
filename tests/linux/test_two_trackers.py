"""Two that track one process: the second one knows nothing, and says so."""

from __future__ import annotations

from harness import Writer

from memtop.linux.features import probe_kernel
from memtop.model.actions import Method
from memtop.sampler.target import Target, open_target
from memtop.sampler.telling import tracking_notice
from memtop.sampler.working_set import WorkingSet


def armed(writer: Writer) -> Target:
    target = open_target(writer.pid, probe_kernel())
    target.tick()
    target.arm(Method.WRITE_PROTECT)
    target.tick()
    return target


def test_what_another_one_tracks_is_not_said_to_be_unwritten(
    writer: Writer, needs_write_protect: None
) -> None:
    area = writer.map("area", "anon", 64)
    area.fill()
    first, second = armed(writer), armed(writer)
    try:
        area.fill()
        assert (first.tick().totals.written_pages or 0) >= 64
        sample = second.tick()
        assert sample.tracker.armed == 0
        assert sample.totals.written_pages is None, "not known is not zero"
        assert sample.totals.written_bytes_per_s is None
        assert WorkingSet(10).add(sample) is None
        notice = tracking_notice(second, Method.WRITE_PROTECT, None, None)
        assert "nothing is tracked: another memtop, or another tracker, has" in notice.text
        assert notice.severity == "warning"
    finally:
        first.close()
        second.close()
