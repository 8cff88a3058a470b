"""What resident memory is for: one bar, cut by kind, each part with its name and its share."""

from __future__ import annotations

from memtop.linux.pagemap import count_kinds
from memtop.model.layout import Kind
from memtop.model.sample import Sample
from memtop.ui.glyphs import BAR
from memtop.ui.lines import Run, width_of
from memtop.ui.theme import Palette

HEAD = " RSS is "
LEAST = 0.01
"""Share below which kinds are put together as "other"."""


def shares(sample: Sample) -> list[tuple[Kind | None, float]]:
    """Kinds and their share of what is resident, the largest first; None: the others together, at the end."""
    pages = count_kinds(sample.table, sample.counts)
    total = sum(pages)
    if not total:
        return []
    ranked = sorted(((n / total, kind) for kind, n in zip(Kind, pages, strict=True) if n), reverse=True)
    told: list[tuple[Kind | None, float]] = [(kind, share) for share, kind in ranked if share >= LEAST]
    rest = 1 - sum(share for _, share in told)
    return [*told, (None, rest)] if rest > 1e-9 else told


def kinds_runs(sample: Sample, width: int, p: Palette) -> list[Run]:
    """One line of exactly the room that the words leave to the bars; nothing where nothing was scanned."""
    parts = shares(sample)
    while True:
        words: list[tuple[Run, Run]] = [
            (
                (f"{'other' if kind is None else kind.label} ", p.dim),
                (" <1%" if share < LEAST / 2 else f" {100 * share:.0f}%", p.text),
            )
            for kind, share in parts
        ]
        room = width - len(HEAD) - 1 - sum(width_of(pair) for pair in words) - 2 * len(parts)
        if room >= max(width // 4, len(parts)) or len(parts) <= 1:
            break
        # Too many words: the smallest joins the others.
        at = -1 if parts[-1][0] is not None else -2
        lost = parts.pop(at)[1]
        if parts and parts[-1][0] is None:
            lost += parts.pop()[1]
        parts.append((None, lost))
        if len(parts) == 1:
            return []
    runs: list[Run] = [(HEAD, p.dim)]
    bars = [max(int(room * share), 1) for _, share in parts]
    if bars:
        bars[0] += max(room - sum(bars), 1 - bars[0])  # the largest takes what rounding left
    for (name, percent), (kind, _), cells in zip(words, parts, bars, strict=True):
        runs += [name, (BAR * cells, p.dim if kind is None else p.kinds[kind]), percent, ("  ", p.text)]
    return runs if parts else []
