"""One dump from a pid to a file: puts source, feed, sink and engine together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from memtop.dump.engine import Engine
from memtop.dump.feed import Feed, OwnFeed
from memtop.dump.image import Freeze
from memtop.dump.live import LiveSource
from memtop.dump.output import Output
from memtop.dump.plan import Range
from memtop.dump.progress import Progress, Result
from memtop.dump.rounds import Limits
from memtop.dump.source import PageSink
from memtop.linux.access import require_action
from memtop.linux.errors import Failed, KernelCannot, MemtopError, NotPermitted
from memtop.linux.features import KernelFeatures
from memtop.linux.process import ProcessHandle
from memtop.model.actions import Method

if TYPE_CHECKING:
    from memtop.dump.chain import Chain

DEFAULT = Limits()


class Format(str, Enum):
    """``--format``."""

    CORE = "core"
    SNAPSHOT = "snapshot"
    CRIU = "criu"


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be dumped, and how.

    Attributes:
        take_all: what coredump_filter and MADV_DONTDUMP leave out, too.
        read_swap: read swapped pages, which brings them back into memory.
        only: nothing but these ranges; empty: all.
    """

    path: str
    format: Format = Format.CORE
    parent: str | None = None
    freeze: Freeze = Freeze.FINAL
    limits: Limits = DEFAULT
    take_all: bool = False
    read_swap: bool = False
    only: tuple[Range, ...] = ()
    compress: bool = False


def dump(
    job: Job,
    handle: ProcessHandle,
    kernel: KernelFeatures,
    *,
    feed: Feed | None = None,
    since_parent: bool = False,
    method: Method = Method.AUTO,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Result:
    """Makes a dump; nothing is left of it, if that fails.

    Args:
        job: what and how.
        handle: the process; stays the caller's.
        kernel: what this kernel can.
        feed: what it writes, where somebody follows that already; stays the caller's.
        since_parent: the feed was taken from by the dump that is the parent now, and by nobody since: so it
            tells all that was written since, and what was not is not even read.
        method: which tracker to start, where not.
        watch: called now and then; raises ``progress.Cancelled`` to end it all.

    Raises:
        MemtopError: with the sentence.
    """
    require_action(f"dumping process {handle.pid}")
    with contextlib.ExitStack() as stack:
        source = LiveSource(handle, kernel, take_all=job.take_all, read_swap=job.read_swap, only=job.only)
        stack.callback(source.close)
        if job.only:
            _require_some(source, job)
        output = stack.enter_context(open_output(job.path, job.format))
        parent = stack.enter_context(_open_chain(job.parent)) if job.parent is not None else None
        if parent is not None:
            parent.require_process(handle)
        known = parent.known() if parent is not None and since_parent else None
        sink = make_sink(job.format, output, parent, compare=known is None, compress=job.compress)
        if feed is None and job.freeze is not Freeze.FULL:
            feed = _follow(job, handle, kernel, method)
            if feed is not None:
                stack.callback(feed.close)
        engine = Engine(
            source, feed, sink, output, freeze=job.freeze, limits=job.limits, known=known, watch=watch
        )
        return engine.run()


def open_output(path: str, format: Format) -> Output:
    """Where a dump of this format goes: a file, or a directory.

    Raises:
        MemtopError: it can't be made.
    """
    if format is not Format.CRIU:
        return Output(path)
    from memtop.dump.criu import PAGES
    from memtop.dump.output_directory import OutputDirectory

    return OutputDirectory(path, PAGES)


def make_sink(
    format: Format,
    output: Output,
    parent: Chain | None = None,
    *,
    compare: bool = False,
    compress: bool = False,
) -> PageSink:
    """What makes a dump of this format; see ``SnapshotSink`` for the options.

    Only this one is imported: all of them would take a tenth of the start.
    """
    if format is Format.CRIU:
        from memtop.dump.criu import CriuSink
        from memtop.dump.output_directory import OutputDirectory

        assert isinstance(output, OutputDirectory)
        return CriuSink(output)
    if format is Format.SNAPSHOT:
        from memtop.dump.snapshot import SnapshotSink

        return SnapshotSink(output, parent, compare=compare, compress=compress)
    from memtop.dump.core import CoreSink

    return CoreSink(output)


def _open_chain(path: str) -> Chain:
    from memtop.dump.chain import Chain

    return Chain(path)


def _require_some(source: LiveSource, job: Job) -> None:
    """A range that holds nothing is a mistake, or its mapping has gone."""
    plan = source.plan()
    if plan.ranges:
        return
    where = ", ".join(f"{only.start:x}-{only.end:x}" for only in job.only)
    why = sorted(
        {
            part.area.why
            for part in plan.parts
            if any(part.area.start < only.end and only.start < part.area.end for only in job.only)
        }
    )
    raise Failed(f"there is nothing to dump in {where}", "; ".join(why) or "nothing is mapped there")


def _follow(job: Job, handle: ProcessHandle, kernel: KernelFeatures, method: Method) -> Feed | None:
    """A tracker for this dump; None: there is none, and ``--freeze none`` can do without."""
    try:
        return OwnFeed(handle, kernel, method, files=job.take_all)
    except (KernelCannot, NotPermitted) as error:
        if job.freeze is Freeze.NONE:
            return None
        remedy = "--freeze full stops the process for the whole copy, --freeze none never"
        raise _more(error, remedy) from error


def _more(error: MemtopError, remedy: str) -> MemtopError:
    return type(error)(error.what, error.why, "; ".join(filter(None, (error.remedy, remedy))))
