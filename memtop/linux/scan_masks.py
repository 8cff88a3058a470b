"""From a filter expression to the masks of PAGEMAP_SCAN, in as few scans as possible.

One scan matches a page whose categories, after some were inverted, contain all of ``mask`` and any of
``anyof`` (Documentation/admin-guide/mm/pagemap.rst). So it can say ``a & !b & (c | !d)``, and nothing more:
no category may stand in it both inverted and not. What takes more becomes several scans, whose union is the
answer. The way there: a disjunctive normal form (the union of cubes, each an "and" of literals), then cubes
that differ in one literal are joined into one scan's ``anyof``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from memtop.linux.errors import Failed, KernelCannot, MemtopError
from memtop.linux.features import Feature, KernelFeatures
from memtop.model.filter import All, Not, Page, Tree
from memtop.model.layout import Category

MOST = 16
"""Scans of the same memory at most."""

SOMETHING = Category.PRESENT | Category.SWAPPED
_NEVER_HOLES = SOMETHING | Category.FILE | Category.PFNZERO | Category.GUARD
ENTRIES = Category.PRESENT | Category.SWAPPED | Category.FILE | Category.SOFT_DIRTY
"""What can be told without PAGEMAP_SCAN, from the entries of /proc/PID/pagemap."""

EVERY_KERNEL = Category(0x7F)
"""What PAGEMAP_SCAN has known from the start (Linux 6.7)."""


@dataclass(frozen=True, slots=True)
class Masks:
    """What one scan matches: the fields of the kernel's ``struct pm_scan_arg``."""

    inverted: Category
    mask: Category
    anyof: Category

    def matches(self, categories: int) -> bool:
        """As the kernel decides it."""
        now = categories ^ self.inverted
        return now & self.mask == self.mask and (not self.anyof or bool(now & self.anyof))


@dataclass(frozen=True, slots=True)
class _Cube:
    """All of ``has`` and none of ``lacks``."""

    has: Category
    lacks: Category

    def __and__(self, other: _Cube) -> _Cube:
        return _Cube(self.has | other.has, self.lacks | other.lacks)

    @property
    def possible(self) -> bool:
        return not self.has & self.lacks

    def covers(self, other: _Cube) -> bool:
        return self.has & other.has == self.has and self.lacks & other.lacks == self.lacks

    def without(self, category: Category) -> _Cube:
        return _Cube(self.has & ~category, self.lacks & ~category)

    def literals(self) -> Iterator[Category]:
        return (category for category in Category if category & (self.has | self.lacks))


_ALWAYS = _Cube(Category(0), Category(0))


def compile_masks(tree: Tree, known: Category, *, protect: bool = False) -> tuple[Masks, ...]:
    """The scans whose union is what the tree matches, holes left out; none: it can match no page.

    Args:
        tree: without mapping atoms (``filter.within``).
        known: categories of this kernel; ``usable`` tells them, and refuses those that it lacks.
        protect: matching pages will be write-protected: tracked ones only, never a guard or a hole.

    Raises:
        Failed: it takes too many scans.
    """
    cubes = _cubes(tree, False, known)
    if protect:
        guards = Category.GUARD & known
        cubes = _smallest(cube & _Cube(Category.WPALLOWED, guards) & extra for cube in cubes
                          for extra in _not_holes(cube))  # fmt: skip
    scans = tuple(_without_holes(scan) for scan in _joined(cubes))
    if len(scans) > MOST:
        raise Failed(
            f"the expression takes {len(scans)} scans of the same memory", f"{MOST} is the limit", "split it"
        )
    return scans


def usable(wanted: Category, kernel: KernelFeatures) -> tuple[Category, list[str]]:
    """The categories that this kernel can tell, and what is to be said about the answer.

    Args:
        wanted: those that an expression names.
        kernel: what was probed.

    Raises:
        MemtopError: one of those wanted is never set here, or not known: an empty answer would be a lie.
    """
    notes = []
    if not kernel.pagemap_scan.works:
        missing = next((c for c in Category if c & wanted & ~ENTRIES), None)
        if missing is not None:
            raise _cannot(missing, kernel.pagemap_scan)
        notes.append(
            "no PAGEMAP_SCAN here: the entries of pagemap are read, and mappings of more than 16 GiB left out"
        )
    if Category.SOFT_DIRTY in wanted:
        if kernel.soft_dirty.works is False:
            raise _cannot(Category.SOFT_DIRTY, kernel.soft_dirty)
        if kernel.pagemap_scan.works and not kernel.soft_dirty_bit.works:
            raise _cannot(Category.SOFT_DIRTY, kernel.soft_dirty_bit)
        if kernel.soft_dirty.works is None:
            notes.append(f"whether soft_dirty is ever set here is not known: {kernel.soft_dirty.reason}")
    if Category.GUARD in wanted and not kernel.guard_bit.works:
        raise _cannot(Category.GUARD, kernel.guard_bit)
    if not kernel.pagemap_scan.works:
        return ENTRIES, notes
    late = (Category.SOFT_DIRTY, kernel.soft_dirty_bit), (Category.GUARD, kernel.guard_bit)
    known = EVERY_KERNEL
    for category, feature in late:
        known |= category if feature.works else Category(0)
    return known, notes


def _cannot(category: Category, feature: Feature) -> MemtopError:
    name = str(category.name).lower()
    return KernelCannot(f"{name!r} can't be matched here", feature.reason, feature.remedy)


# ---- the normal form -------------------------------------------------------------------------------


def _cubes(tree: Tree, inverted: bool, known: Category) -> list[_Cube]:
    if isinstance(tree, Page):
        return _literal(tree.category, inverted, known)
    if isinstance(tree, Not):
        return _cubes(tree.part, not inverted, known)
    assert not hasattr(tree, "field"), "mapping atoms are gone by now"
    if isinstance(tree, All) is not inverted:
        answer = [_ALWAYS]
        for part in tree.parts:
            factor = _cubes(part, inverted, known)
            answer = _smallest(a & b for a in answer for b in factor)
        return answer
    return _smallest(cube for part in tree.parts for cube in _cubes(part, inverted, known))


def _literal(category: Category, inverted: bool, known: Category) -> list[_Cube]:
    """See ``filter.page_truth`` for what ``written`` means."""
    nothing = Category(0)
    if category is not Category.WRITTEN:
        return [_Cube(nothing, category) if inverted else _Cube(category, nothing)]
    never = (Category.PFNZERO | Category.GUARD) & known
    if not inverted:
        return [_Cube(Category.WPALLOWED | Category.WRITTEN, never)]
    tracked = _Cube(Category.WPALLOWED, nothing)
    return [
        tracked & _Cube(nothing, Category.WRITTEN),
        *(tracked & _Cube(c, nothing) for c in Category if c & never),
    ]


def _smallest(cubes: Iterable[_Cube]) -> list[_Cube]:
    """The same set in fewer and larger cubes."""
    found = {cube for cube in cubes if cube.possible}
    while True:
        found = {c for c in found if not any(o.covers(c) for o in found if o != c)}
        larger = {joined for a, b in combinations(found, 2) if (joined := _either(a, b)) is not None}
        if not larger:
            return sorted(found, key=lambda c: (int(c.has), int(c.lacks)))
        found |= larger


def _either(a: _Cube, b: _Cube) -> _Cube | None:
    """The union of two cubes that differ in the sign of one literal: it no longer matters."""
    opposed = (a.has & b.lacks) | (a.lacks & b.has)
    joined = a.without(opposed)
    return joined if _is_one(opposed) and joined == b.without(opposed) else None


def _is_one(categories: Category) -> bool:
    return bool(categories) and not categories & (categories - 1)


# ---- from cubes to scans ---------------------------------------------------------------------------


def _not_holes(cube: _Cube) -> list[_Cube]:
    """To be multiplied with a cube, so that it matches no hole."""
    if cube.has & _NEVER_HOLES:
        return [_ALWAYS]
    return [_Cube(Category.PRESENT, Category(0)), _Cube(Category.SWAPPED, Category(0))]


def _joined(cubes: list[_Cube]) -> Iterator[Masks]:
    """Cubes that are the same but for one literal each fit into one scan; largest groups first."""
    left = list(cubes)
    while left:
        best, group = left[0], [left[0]]
        for cube in left:
            for category in cube.literals():
                common = cube.without(category)
                alike = _one_apart(common, left)
                if len(alike) > len(group):
                    best, group = common, alike
        nothing = Category(0)
        if len(group) == 1:
            best, any_has, any_lacks = group[0], nothing, nothing
        else:
            any_has = any_lacks = nothing
            for cube in group:
                any_has |= cube.has & ~best.has
                any_lacks |= cube.lacks & ~best.lacks
        yield Masks(best.lacks | any_lacks, best.has | best.lacks, any_has | any_lacks)
        left = [cube for cube in left if cube not in group]


def _one_apart(common: _Cube, cubes: list[_Cube]) -> list[_Cube]:
    """Those that are ``common`` and one literal more."""
    answer = []
    for cube in cubes:
        extra = (cube.has | cube.lacks) & ~(common.has | common.lacks)
        if common.covers(cube) and _is_one(extra):
            answer.append(cube)
    has = lacks = Category(0)
    for cube in answer:
        has |= cube.has & ~common.has
        lacks |= cube.lacks & ~common.lacks
    return answer if not has & lacks else []


def _without_holes(scan: Masks) -> Masks:
    """Where there is room, the kernel is told to pass over holes; elsewhere the C core drops them."""
    positive = ~scan.inverted
    if scan.mask & positive & _NEVER_HOLES or scan.anyof or scan.inverted & SOMETHING == SOMETHING:
        return scan
    if not scan.inverted & SOMETHING:
        return Masks(scan.inverted, scan.mask, SOMETHING)
    other = SOMETHING & ~scan.inverted  # not present, so swapped; or the other way round
    return Masks(scan.inverted, scan.mask | other, scan.anyof)


# ---- in words --------------------------------------------------------------------------------------


def names(categories: int) -> str:
    """``present|file``; a dash for none."""
    return "|".join(str(c.name).lower() for c in Category if c & categories) or "–"


def masks_text(scan: Masks) -> list[str]:
    """The masks in words and numbers, one line each."""
    wanted = " & ".join(_signed(scan.mask, scan.inverted))
    chosen = " | ".join(_signed(scan.anyof, scan.inverted))
    words = (
        " & ".join(filter(None, [wanted, f"({chosen})" if wanted and "|" in chosen else chosen]))
        or "any page"
    )
    rows = (
        ("category_inverted", scan.inverted),
        ("category_mask", scan.mask),
        ("category_anyof_mask", scan.anyof),
    )
    return [words, *(f"{name:20}{value:#06x}  {names(value)}" for name, value in rows)]


def _signed(categories: int, inverted: int) -> list[str]:
    return [("!" if c & inverted else "") + str(c.name).lower() for c in Category if c & categories]
