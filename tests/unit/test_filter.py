"""The filter language: its parser, its masks against a plain evaluation, its truth on mappings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtop.linux.errors import Failed, KernelCannot
from memtop.linux.features import Feature, KernelFeatures
from memtop.linux.scan_masks import ENTRIES, MOST, compile_masks, masks_text, usable
from memtop.model.coverage import Coverage
from memtop.model.filter import (
    EVERYTHING,
    NOTHING,
    All,
    Any,
    Field,
    FilterError,
    Not,
    Page,
    Tree,
    both,
    categories_of,
    either,
    evaluate,
    negated,
    page_truth,
    parse,
    within,
)
from memtop.model.filter_rows import matches
from memtop.model.layout import PAGE, Category, CountFlag, Kind
from memtop.model.mapping import Mapping
from memtop.model.runs import PageRuns
from memtop.model.sample import MappingSample

ALL_KNOWN = Category(0x1FF)
SOMETHING = Category.PRESENT | Category.SWAPPED
IMPOSSIBLE = Category.FILE | Category.PFNZERO | Category.GUARD
"""No hole has any of these."""

W, P, F, S = (
    Page(c) for c in (Category.WRITTEN, Category.PRESENT, Category.FILE, Category.SWAPPED)
)  # fmt: skip


def mapping(name: str = "[heap]", kind: Kind = Kind.HEAP, perms: str = "rw-p", inode: int = 0) -> Mapping:
    return Mapping(1, 0x1000, 0x9000, perms, 0, "00:00", inode, name, kind)


# ---- the parser ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("written", W),
        (" written&file ", All((W, F))),
        ("written & file & !swapped", All((W, F, Not(S)))),
        ("written | file & present", Any((W, All((F, P))))),
        ("(written | file) & present", All((Any((W, F)), P))),
        ("written & (file & present)", All((W, F, P))),
        ("!!written", W),
        ("!!!written", Not(W)),
        ("!(written|file)", Not(Any((W, F)))),
        ("kind:heap", Field("kind:", "heap")),
        ("perms:rw", Field("perms:", "rw")),
        ("name~libc", Field("name~", "libc")),
        ("libc.so", Field("name~", "libc.so")),
        ("[anon:x]", Field("name~", "[anon:x]")),
        ('"a & b"', Field("name~", "a & b")),
        ('"written"', Field("name~", "written")),
        ('name~"a b"|written', Any((Field("name~", "a b"), W))),
        ("Written", Field("name~", "Written")),
    ],
)
def test_parse(text: str, tree: Tree) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("written &", 9, "missing here"),
        ("written & & file", 10, "missing before this"),
        ("& written", 0, "missing before this"),
        ("written file", 8, "no '&' or '|'"),
        ("(written file)", 9, "no '&' or '|'"),
        ("(written | file", 0, "never closed"),
        ("written | (file", 10, "never closed"),
        ("written)", 7, "no '('"),
        ("()", 1, "missing before this"),
        ("!", 1, "missing here"),
        ("written & kind:hep", 15, "no kind 'hep'"),
        ("perms:rq", 6, "letters"),
        ("written | colour:red", 10, "no field colour:"),
        ("name~ & file", 0, "nothing stands behind name~"),
        ('written & "open', 10, "quotation mark"),
        ("(" * 101 + "file" + ")" * 101, 100, "parentheses within each other"),
    ],
)
def test_errors_point_at_the_column(text: str, column: int, said: str) -> None:
    with pytest.raises(FilterError, match=f"column {column + 1}") as caught:
        parse(text)
    assert caught.value.column == column
    assert said in caught.value.problem
    assert caught.value.picture.splitlines()[-1] == " " * column + "^"


pages = st.sampled_from(list(Category)).map(Page)
fields = st.one_of(
    st.sampled_from(list(Kind)).map(lambda kind: Field("kind:", kind.label)),
    st.text("rwxsp", min_size=1, max_size=3).map(lambda letters: Field("perms:", letters)),
    st.text(st.characters(blacklist_characters='"', blacklist_categories=["Cs"]), max_size=8).map(
        lambda text: Field("name~", text)
    ),
)


def trees(leaves: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    def larger(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        several = st.lists(inner, min_size=2, max_size=4)
        return st.one_of(
            inner.map(negated),
            several.map(lambda parts: both(*parts)),
            several.map(lambda parts: either(*parts)),
        )

    return st.recursive(leaves, larger, max_leaves=12)


@given(trees(st.one_of(pages, fields)))
def test_a_tree_survives_its_own_text(tree: Tree) -> None:
    assert parse(str(tree)) == tree


@given(st.text('written&|! ()kind:~"', max_size=40))
def test_any_text_is_a_tree_or_a_filter_error(text: str) -> None:
    column, tree = None, None
    try:
        tree = parse(text)
    except FilterError as error:
        column = error.column
    if tree is None:
        assert column is not None
        assert 0 <= column <= len(text)
    else:
        assert parse(str(tree)) == tree


# ---- the masks -------------------------------------------------------------------------------------


def wanted(tree: Tree, categories: int) -> bool:
    """Plain evaluation: unknown is no match."""
    return evaluate(tree, lambda atom: page_truth(atom, categories)) is True


@settings(max_examples=300, deadline=None)
@given(trees(pages), st.booleans())
def test_masks_say_what_the_tree_says_of_every_set_of_categories(tree: Tree, protect: bool) -> None:
    try:
        scans = compile_masks(tree, ALL_KNOWN, protect=protect)
    except Failed:
        return
    for categories in range(512):
        hole = not categories & SOMETHING
        if hole and categories & IMPOSSIBLE:
            continue
        found = any(scan.matches(categories) for scan in scans)
        if protect:  # the kernel acts on what its masks match: they must be right about holes by themselves
            allowed = categories & Category.WPALLOWED and not categories & Category.GUARD and not hole
            assert found == bool(allowed and wanted(tree, categories)), f"{categories:#x}"
        else:  # the C core drops holes
            assert (found and not hole) == (wanted(tree, categories) and not hole), f"{categories:#x}"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("written", 1),
        ("!written", 1),
        ("present", 1),
        ("written & file & !swapped", 1),
        ("huge | pfnzero", 1),
        ("written & file & (present | huge)", 1),
        ("present & !written", 1),
        ("present | !present", 1),
        ("written & (present | !present)", 1),
        ("file & present | huge & swapped", 2),
        ("written & !wpallowed", 0),
        ("written & pfnzero", 0),
        ("present & !present", 0),
    ],
)
def test_as_few_scans_as_it_takes(text: str, number: int) -> None:
    assert len(compile_masks(parse(text), ALL_KNOWN)) == number


def test_too_many_scans_are_refused() -> None:
    odd = NOTHING
    for category in (c for c in Category if c not in (Category.WRITTEN, Category.WPALLOWED)):
        odd = either(both(odd, Not(Page(category))), both(negated(odd), Page(category)))
    with pytest.raises(Failed, match=f"{MOST} is the limit"):
        compile_masks(odd, ALL_KNOWN)


def test_a_kernel_without_the_bits_is_never_asked_for_them() -> None:
    old = Category(0x7F)
    for text in ("written", "!written", "huge | pfnzero", "present"):
        for protect in (False, True):
            for scan in compile_masks(parse(text), old, protect=protect):
                assert not (scan.inverted | scan.mask | scan.anyof) & ~old


def test_masks_in_words_and_numbers() -> None:
    (scan,) = compile_masks(parse("file & !swapped & (present | huge)"), ALL_KNOWN)
    assert masks_text(scan) == [
        "file & !swapped & (present | huge)",
        "category_inverted   0x0010  swapped",
        "category_mask       0x0014  file|swapped",
        "category_anyof_mask 0x0048  present|huge",
    ]


# ---- what this kernel can't tell -------------------------------------------------------------------


def kernel(**broken: Feature) -> KernelFeatures:
    names = (
        "pagemap", "pagemap_scan", "guard_bit", "soft_dirty_bit", "soft_dirty", "userfaultfd", "wp_async",
        "ptrace", "injection", "pidfd", "anon_names",
    )  # fmt: skip
    return KernelFeatures("6.7", **{n: broken.get(n, Feature(n, True)) for n in names})


def test_soft_dirty_that_is_never_set_is_a_reason_not_an_empty_answer() -> None:
    never = kernel(soft_dirty=Feature("soft-dirty", False, "never sets the bits", "another kernel"))
    with pytest.raises(KernelCannot, match=r"soft_dirty.*never sets the bits"):
        usable(Category.SOFT_DIRTY, never)
    unknown = kernel(soft_dirty=Feature("soft-dirty", None, "not tried"))
    assert "not tried" in usable(Category.SOFT_DIRTY, unknown)[1][0]


def test_categories_newer_than_the_kernel() -> None:
    old = kernel(
        guard_bit=Feature("guard", False, "does not know this category"),
        soft_dirty_bit=Feature("soft", False, "does not know this category"),
    )
    for category in (Category.GUARD, Category.SOFT_DIRTY):
        with pytest.raises(KernelCannot, match="does not know"):
            usable(category, old)
    assert usable(Category.PRESENT, old) == (Category(0x7F), [])


def test_without_pagemap_scan_the_entries_answer_or_it_is_refused() -> None:
    older = kernel(
        pagemap_scan=Feature("PAGEMAP_SCAN", False, "this kernel does not know it"),
        soft_dirty_bit=Feature("soft", False, "it takes PAGEMAP_SCAN"),
    )
    known, notes = usable(ENTRIES, older)
    assert known == ENTRIES
    assert "pagemap" in notes[0]
    for category in (Category.WRITTEN, Category.HUGE, Category.PFNZERO, Category.GUARD, Category.WPALLOWED):
        with pytest.raises(KernelCannot, match=f"{category.name.lower()}.*does not know it"):  # type: ignore[union-attr]
            usable(category, older)


# ---- mappings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("heap", True),
        ("HEAP", True),
        ("name~libc", False),
        ("kind:heap", True),
        ("kind:stack", False),
        ("perms:rw", True),
        ("perms:x", False),
        ("perms:p & !perms:s", True),
    ],
)
def test_fields(text: str, holds: bool) -> None:
    assert within(parse(text), mapping()) == (EVERYTHING if holds else NOTHING)


@given(trees(st.one_of(pages, fields)), st.integers(0, 511), st.sampled_from(list(Kind)))
def test_what_is_left_within_a_mapping_means_the_same(tree: Tree, categories: int, kind: Kind) -> None:
    here = mapping(kind=kind)

    def truth(atom: Page | Field) -> bool | None:
        return atom.holds(here) if isinstance(atom, Field) else page_truth(atom, categories)

    left = within(tree, here)
    assert evaluate(left, truth) == evaluate(tree, truth)
    assert categories_of(left) in categories_of(tree)


def row(coverage: Coverage = Coverage.EXACT, **numbers: int | None) -> MappingSample:
    amounts = {"resident": 0, "huge": 0, "zero": None, "swapped": None, "guard": None, "written_pages": 0}
    amounts |= numbers
    return MappingSample(
        mapping=mapping(),
        coverage=coverage,
        flags=CountFlag.SCANNED,
        written_bytes_per_s=None,
        resident_map=0,
        written_map=0,
        written=PageRuns(),
        **amounts,
    )


@pytest.mark.parametrize(
    ("text", "of", "answer"),
    [
        ("written", row(written_pages=3), True),
        ("written", row(), False),
        ("written", row(Coverage.OFF, written_pages=None), None),
        ("!written", row(Coverage.OFF, written_pages=None), None),
        ("written | heap", row(Coverage.OFF, written_pages=None), True),
        ("written & kind:stack", row(Coverage.OFF, written_pages=None), False),
        ("huge & present", row(huge=2 << 20, resident=4 << 20), True),
        ("swapped", row(), None),
        ("swapped", row(swapped=PAGE), True),
        ("pfnzero | guard", row(zero=0, guard=PAGE), True),
        ("file", row(), False),
        ("wpallowed", row(), True),
        ("wpallowed", row(Coverage.SOFT_DIRTY), False),
        ("soft_dirty", row(Coverage.SOFT_DIRTY, written_pages=1), True),
        ("soft_dirty", row(written_pages=1), None),
    ],
)
def test_rows(text: str, of: MappingSample, answer: bool | None) -> None:
    assert matches(parse(text), of) is answer
