"""The lines of the detail pane: history, smaps, flags, huge pages, NUMA; each with its label."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style

from memtop.model.detail import ORDINARY_FLAGS, Detail, Numa, Smaps, flag_words
from memtop.model.layout import PAGE
from memtop.model.sample import MappingSample
from memtop.model.units import DASH, clock, count, duration, rate, size
from memtop.ui.lines import Run, sparkline, width_of, wrap
from memtop.ui.story import Story
from memtop.ui.theme import Palette

LABEL = 10
"""Cells of a label, with its margins."""

SPARK_CELLS = (16, 40)
"""Of the sparkline, on a narrow and on a wide screen."""

_PAGE_SIZES = ("KernelPageSize", "MMUPageSize")

MOST = 99
"""Lines of one text: the pane scrolls."""


def detail_lines(
    p: Palette, width: int, m: MappingSample, story: Story | None, answer: Detail | None, why: str
) -> list[list[Run]]:
    """All of it.

    Args:
        width: cells of a line.
        story: None: no kept sample has it.
        answer: None: not read yet.
        why: why it was not read, or not again.
    """
    lines = _history(p, width, m, story)
    smaps = answer.smaps if answer is not None else None
    if smaps is None:
        lines += _paragraph(p, width, "smaps", why or "reading …", p.warn if why else p.dim)
    else:
        if why:
            lines += _paragraph(p, width, "", why, p.warn)
        lines += _sizes(p, width, smaps)
    reason = why or "not read yet"
    lines += _flags(p, width, smaps) if smaps is not None else _unknown(p, width, "flags", reason)
    huge = answer.huge if answer is not None else ""
    lines += _paragraph(p, width, "huge", huge) if huge else _unknown(p, width, "huge", reason)
    if answer is not None and answer.numa is not None:
        lines += _paragraph(p, width, "numa", numa_words(answer.numa))
    else:
        lines += _unknown(p, width, "numa", (answer.numa_why if answer is not None else "") or reason)
    return lines


def _label(p: Palette, text: str) -> Run:
    return f" {text:<{LABEL - 1}}", p.dim


def _unknown(p: Palette, width: int, label: str, why: str) -> list[list[Run]]:
    """A dash; why it is one stands once, at the smaps."""
    return [[_label(p, label), (DASH, p.faint)]]


def _paragraph(p: Palette, width: int, label: str, text: str, style: Style | None = None) -> list[list[Run]]:
    """A text over as many lines as it takes, below its label."""
    parts = wrap(text, max(width - LABEL - 1, 10), MOST)
    return [[_label(p, label if i == 0 else ""), (part, style or p.text)] for i, part in enumerate(parts)]


def _joined(p: Palette, width: int, label: str, parts: Sequence[Sequence[Run]]) -> list[list[Run]]:
    """Parts side by side, on as many lines as they take; none is broken."""
    lines: list[list[Run]] = [[_label(p, label)]]
    gap: Run = (" · ", p.faint)
    for part in parts:
        full = width_of(lines[-1]) + width_of([gap]) + width_of(part) > width
        if len(lines[-1]) > 1 and full:
            lines.append([_label(p, "")])
        lines[-1] += [*([gap] if len(lines[-1]) > 1 else []), *part]
    return lines


# ---- what memtop has seen ------------------------------------------------------------------------------


def _history(p: Palette, width: int, m: MappingSample, story: Story | None) -> list[list[Run]]:
    if story is None:
        return [[_label(p, "history"), (DASH, p.faint), (" no kept sample has it", p.dim)]]
    when = ("appeared by " if story.appeared else "there before ") + clock(story.since)
    parts: list[Sequence[Run]] = [[(when, p.text)]]
    if story.written is None:
        parts.append([("written ", p.dim), (DASH, p.faint), (f" ({m.coverage.reason})", p.dim)])
    else:
        more = "≥" if story.at_least else ""
        total = f"{more}{size(story.written)} in {duration(story.tracked_s)}"
        parts.append([("written ", p.dim), (total, p.strong)])
        if story.peak is not None:
            parts.append(
                [("most ", p.dim), (rate(story.peak[0]), p.strong), (f" at {clock(story.peak[1])}", p.dim)]
            )
            cells = SPARK_CELLS[width >= 100]
            parts.append([(sparkline(story.rates, min(cells, len(story.rates))), p.spark)])
    lines = _joined(p, width, "history", parts)
    if story.events:
        told = [[(clock(event.time) + " ", p.dim), (event.text, p.text)] for event in reversed(story.events)]
        lines += _joined(p, width, "changed", told)
    return lines


# ---- what the kernel says ------------------------------------------------------------------------------


def _sizes(p: Palette, width: int, smaps: Smaps) -> list[list[Run]]:
    """A grid of what tells something; then the names of what is 0, and ordinary page sizes."""
    plain = [name for name in _PAGE_SIZES if smaps.sizes.get(name) == PAGE]
    fields = {name: size(value) for name, value in smaps.sizes.items() if value and name not in plain}
    fields |= {name: str(value) for name, value in smaps.numbers.items()}
    names, values = (max(map(len, each), default=0) for each in (fields, fields.values()))
    each, room = names + 1 + values, width - LABEL - 1
    columns = max((room + 3) // (each + 3), 1)
    rows = -(-len(fields) // columns)
    items = list(fields.items())
    lines = []
    for row in range(rows):
        runs: list[Run] = [_label(p, "smaps" if row == 0 else "")]
        for at in range(row, len(items), rows):
            name, value = items[at]
            runs += [(name.ljust(names + 1), p.dim), (value.rjust(values) + "   ", p.strong)]
        lines.append(runs)
    zero = [name for name, value in smaps.sizes.items() if not value]
    rest = [f"{text}: {' '.join(of)}" for text, of in (("0", zero), (size(PAGE), plain)) if of]
    return lines + (_paragraph(p, width, "", " · ".join(rest), p.dim) if rest else [])


def _flags(p: Palette, width: int, smaps: Smaps) -> list[list[Run]]:
    """What is out of the ordinary in words, the rest as the kernel writes it."""
    parts: list[Sequence[Run]] = [
        [(f"{code} ", p.dim), (flag_words(code), p.text)]
        for code in smaps.flags
        if code not in ORDINARY_FLAGS
    ]
    ordinary = [code for code in smaps.flags if code in ORDINARY_FLAGS]
    parts.append([(" ".join(ordinary), p.dim)])
    return _joined(p, width, "flags", [part for part in parts if part[0][0]])


def numa_words(numa: Numa) -> str:
    """Policy and placement in words."""
    name, _, nodes = numa.policy.partition(":")
    name, _, how = name.partition("=")
    words = {
        "default": "no policy of its own",
        "local": "from the node that touches it first",
        "prefer": f"from node {nodes} if it has room",
        "prefer (many)": f"from nodes {nodes} if they have room",
        "bind": f"bound to nodes {nodes}",
        "interleave": f"page by page over nodes {nodes}",
        "weighted interleave": f"page by page over nodes {nodes}, by weight",
    }.get(name, numa.policy)
    text = words + (f" ({how})" if how else "")
    text += ": " + (
        ", ".join(f"{size(n * numa.page_bytes)} on node {node}" for node, n in numa.nodes.items())
        or "nothing resident"
    )
    page = numa.page_bytes
    facts = {
        "anon": "anonymous", "mapped": "of a file", "dirty": "dirty", "swapcache": "in the swap cache",
        "active": "active", "writeback": "being written back",
    }  # fmt: skip
    said = [f"{size(numa.counts[key] * page)} {word}" for key, word in facts.items() if numa.counts.get(key)]
    if (mappers := numa.counts.get("mapmax", 1)) > 1:
        said.append(f"a page is mapped {count(mappers)} times at most")
    return text + (f" · {', '.join(said)}" if said else "")
