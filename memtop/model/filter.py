"""The filter language: one expression for pages (scan, dump) and for mappings (table).

    either  = both ("|" both)*
    both    = single ("&" single)*
    single  = "!" single | "(" either ")" | atom
    atom    = CATEGORY | "kind:" KIND | "perms:" LETTERS | "name~" TEXT | TEXT

CATEGORY is a name of ``PAGE_IS_*`` in lower case; a text that is none is looked for in the mapping's name.
Text with blanks or operators in it stands in double quotes. docs/filter.md explains it to users.

Truth has three values: where nobody tracks a page, whether it was written is unknown, and neither ``written``
nor ``!written`` matches it.
"""

from __future__ import annotations

import re
from collections import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from memtop.model.layout import Category, Kind
from memtop.model.mapping import Mapping

DEEPEST = 100
"""Parentheses within each other at most."""

CATEGORIES = {category.name.lower(): category for category in Category if category.name}
_KINDS = {kind.label for kind in Kind}
_FIELDS = {"kind:": _KINDS, "perms:": None, "name~": None}
_TOKEN = re.compile(r'\s*(?:([&|!()])|([\w]+[:~])?(?:"([^"]*)"|([^\s&|!()"]+))|(\S))')


class FilterError(ValueError):
    """An expression that means nothing.

    Attributes:
        problem: what is wrong, as one sentence.
        text: the whole expression.
        column: where, counted from 0.
    """

    def __init__(self, problem: str, text: str, column: int) -> None:
        self.problem, self.text, self.column = problem, text, column
        super().__init__(f"{problem} (column {column + 1})")

    @property
    def picture(self) -> str:
        """The expression with a mark below the column."""
        return f"{self.text}\n{' ' * self.column}^"


@dataclass(frozen=True, slots=True)
class Page:
    """What the kernel says of a page."""

    category: Category

    def __str__(self) -> str:
        return str(self.category.name).lower()


@dataclass(frozen=True, slots=True)
class Field:
    """What maps says of a mapping.

    Attributes:
        field: ``kind:``, ``perms:`` or ``name~``.
        value: a ``Kind`` label; letters that must all be set; a part of the name, in any case.
    """

    field: str
    value: str

    def __str__(self) -> str:
        return f'{self.field}"{self.value}"' if self.field == "name~" else self.field + self.value

    def holds(self, mapping: Mapping) -> bool:
        """Whether a mapping is such a one."""
        if self.field == "kind:":
            return mapping.kind.label == self.value
        if self.field == "perms:":
            return all(letter in mapping.perms for letter in self.value)
        return self.value.casefold() in mapping.title.casefold()


Atom = Page | Field


@dataclass(frozen=True, slots=True)
class Not:
    """What the part does not match."""

    part: Tree

    def __str__(self) -> str:
        return f"!{_inner(self.part)}"


@dataclass(frozen=True, slots=True)
class All:
    """What all parts match; without parts: everything."""

    parts: tuple[Tree, ...]

    def __str__(self) -> str:
        return " & ".join(map(_inner, self.parts))


@dataclass(frozen=True, slots=True)
class Any:
    """What one of the parts matches; without parts: nothing."""

    parts: tuple[Tree, ...]

    def __str__(self) -> str:
        return " | ".join(map(_inner, self.parts))


Tree = Page | Field | Not | All | Any

EVERYTHING, NOTHING = All(()), Any(())


def _inner(tree: Tree) -> str:
    return f"({tree})" if isinstance(tree, All | Any) else str(tree)


def both(*parts: Tree) -> Tree:
    """``&`` of all, as flat as it can be."""
    flat = [leaf for part in parts for leaf in (part.parts if isinstance(part, All) else (part,))]
    if NOTHING in flat:
        return NOTHING
    return flat[0] if len(flat) == 1 else All(tuple(flat))


def either(*parts: Tree) -> Tree:
    """``|`` of all, as flat as it can be."""
    flat = [leaf for part in parts for leaf in (part.parts if isinstance(part, Any) else (part,))]
    if EVERYTHING in flat:
        return EVERYTHING
    return flat[0] if len(flat) == 1 else Any(tuple(flat))


def negated(part: Tree) -> Tree:
    """``!``; two of them are none."""
    if part in (EVERYTHING, NOTHING):
        return NOTHING if part == EVERYTHING else EVERYTHING
    return part.part if isinstance(part, Not) else Not(part)


def evaluate(tree: Tree, truth: Callable[[Atom], bool | None]) -> bool | None:
    """Whether the tree matches, given what is known of each atom; None: unknown (Kleene's logic)."""
    if isinstance(tree, Page | Field):
        return truth(tree)
    if isinstance(tree, Not):
        inner = evaluate(tree.part, truth)
        return None if inner is None else not inner
    answers = {evaluate(part, truth) for part in tree.parts}
    decisive = isinstance(tree, Any)
    if decisive in answers:
        return decisive
    return None if None in answers else not decisive


def page_truth(atom: Atom, categories: int) -> bool | None:
    """What a page's categories say of an atom; None where they say nothing.

    ``written`` is known of tracked pages only: elsewhere the kernel calls every page written. A zero page is
    never a written one, nor is a guard page, whatever their bit says.
    """
    if not isinstance(atom, Page):
        return None
    if atom.category is not Category.WRITTEN:
        return bool(categories & atom.category)
    if not categories & Category.WPALLOWED:
        return None
    return bool(categories & Category.WRITTEN and not categories & (Category.PFNZERO | Category.GUARD))


def substitute(tree: Tree, known: abc.Mapping[Atom, Tree]) -> Tree:
    """The tree with some atoms replaced, and what follows from EVERYTHING and NOTHING worked out."""
    if isinstance(tree, Page | Field):
        return known.get(tree, tree)
    if isinstance(tree, Not):
        return negated(substitute(tree.part, known))
    parts = (substitute(part, known) for part in tree.parts)
    return both(*parts) if isinstance(tree, All) else either(*parts)


def within(tree: Tree, mapping: Mapping) -> Tree:
    """What is left of the tree for the pages of one mapping: no ``Field`` any more."""
    fields = (atom for atom in atoms(tree) if isinstance(atom, Field))
    return substitute(tree, {field: EVERYTHING if field.holds(mapping) else NOTHING for field in fields})


def atoms(tree: Tree) -> Iterator[Atom]:
    """All atoms, from left to right."""
    if isinstance(tree, Page | Field):
        yield tree
    else:
        for part in (tree.part,) if isinstance(tree, Not) else tree.parts:
            yield from atoms(part)


def categories_of(tree: Tree) -> Category:
    """All categories that an expression names."""
    answer = Category(0)
    for atom in atoms(tree):
        answer |= atom.category if isinstance(atom, Page) else Category(0)
    return answer


# ---- the parser ------------------------------------------------------------------------------------


def parse(text: str) -> Tree:
    """The tree of an expression.

    Raises:
        FilterError: it is none; with the column.
    """
    return _Parser(text).whole()


class _Parser:
    """Recursive descent, one method a line of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = self._depth = 0

    def whole(self) -> Tree:
        if not self._tokens:
            raise FilterError("the expression is empty", self._text, 0)
        tree = self._either()
        if self._peek() == ")":
            raise self._error("there is no '(' to this ')'")
        if self._peek() is not None:
            raise self._error("there is no '&' or '|' before this")
        return tree

    def _either(self) -> Tree:
        parts = [self._both()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._both())
        return either(*parts)

    def _both(self) -> Tree:
        parts = [self._single()]
        while self._peek() == "&":
            self._at += 1
            parts.append(self._single())
        return both(*parts)

    def _single(self) -> Tree:
        inverted = False
        while self._peek() == "!":
            self._at += 1
            inverted = not inverted
        token = self._peek()
        if token == "(":
            tree = self._parenthesis()
        elif isinstance(token, Page | Field):
            self._at += 1
            tree = token
        else:
            raise self._error(f"something to match is missing {'here' if token is None else 'before this'}")
        return negated(tree) if inverted else tree

    def _parenthesis(self) -> Tree:
        opened = self._tokens[self._at][0]
        self._at += 1
        self._depth += 1
        if self._depth > DEEPEST:
            raise FilterError(f"more than {DEEPEST} parentheses within each other", self._text, opened)
        tree = self._either()
        if self._peek() is None:
            raise FilterError("this '(' is never closed", self._text, opened)
        if self._peek() != ")":
            raise self._error("there is no '&' or '|' before this")
        self._at += 1
        self._depth -= 1
        return tree

    def _peek(self) -> str | Atom | None:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else None

    def _error(self, problem: str) -> FilterError:
        at_end = self._at >= len(self._tokens)
        return FilterError(problem, self._text, len(self._text) if at_end else self._tokens[self._at][0])


def _tokens(text: str) -> Iterator[tuple[int, str | Atom]]:
    """Columns and what stands there: an operator or an atom."""
    at = 0
    while match := _TOKEN.match(text, at):
        at = match.end()
        operator, field, quoted, bare, wrong = match.groups()
        column = match.start(match.lastindex or 0)
        if operator:
            yield column, operator
        elif wrong:
            problem = (
                "this quotation mark is never closed" if wrong == '"' else f"{wrong!r} means nothing here"
            )
            raise FilterError(problem, text, column)
        else:
            column = match.start(2) if field else match.start(3) - 1 if quoted is not None else column
            yield column, _atom(text, column, field, quoted, bare)


def _atom(text: str, column: int, field: str | None, quoted: str | None, bare: str | None) -> Atom:
    value = quoted if quoted is not None else bare or ""
    if field is None:
        if bare in _FIELDS:
            raise FilterError(f"nothing stands behind {bare}", text, column)
        category = CATEGORIES.get(value) if quoted is None else None
        return Page(category) if category is not None else Field("name~", value)
    if field not in _FIELDS:
        known = ", ".join(_FIELDS)
        raise FilterError(f"there is no field {field}; fields are {known} (or quote the text)", text, column)
    if field == "kind:" and value not in _KINDS:
        kinds = ", ".join(kind.label for kind in Kind)
        raise FilterError(f"there is no kind {value!r}; kinds are {kinds}", text, column + len(field))
    if field == "perms:" and (not value or set(value) - set("rwxsp")):
        raise FilterError("perms: takes letters of r, w, x, s, p", text, column + len(field))
    return Field(field, value)
