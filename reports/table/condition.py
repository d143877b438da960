"""Conditions on the columns of a row: ``fps_model >= 20 and (library == 'mmdet' or not mask_ap < 30)``.

A condition is parsed into comparisons, and nothing in it is ever run: it has columns, numbers, words in quotes, the
comparisons between them, ``and``, ``or``, ``not`` and parentheses, and no more. ``templates/grammar.js`` of
:mod:`reports.page` reads the same grammar, and a test holds the two to the same answers.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError, nearest
from bench.schema.marks import MARK_NAMES
from reports.table.columns import COLUMNS


def _one_is(first: Any, second: Any) -> bool:
    """Tell whether two values are equal; of the words of a frozenset, whether one is."""
    sets = [value if isinstance(value, frozenset) else frozenset((value,)) for value in (first, second)]
    return not sets[0].isdisjoint(sets[1])


OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": _one_is,
    "!=": lambda first, second: not _one_is(first, second),
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_SIGNS: Mapping[type[ast.cmpop], str] = {
    **{ast.Eq: "==", ast.NotEq: "!=", ast.GtE: ">=", ast.LtE: "<=", ast.Gt: ">", ast.Lt: "<"}
}

ALLOWED = (
    f"a condition has columns, numbers, words in quotes, {' '.join(OPERATORS)}, and, or, not and parentheses, as "
    "fps_model >= 20 and library == 'mmdet'"
)

MARKS = "marks"
"""The column that holds several words in one text: a condition on it asks whether one of them is that word."""

EMPTY: Mapping[str, str] = {MARKS: "no mark", "runtime": "torch", "input_size": "the model's own"}
"""What an empty cell means in the columns in which it is known to be empty, and not unknown: there it is ''."""

LONGEST = 2000
"""Characters of a condition."""

DEEPEST = 50
"""Parentheses within one another."""

Cell = Callable[[str], Any]
"""Gives the value of a column in a row; None where the cell is empty."""

Ends = Callable[[str], tuple[float, float] | None]
"""Gives the ends of the 95 % interval of a column in a row; None where the value counts as exact."""

_DIGITS = r"[0-9]+(?:_[0-9]+)*"
_TOKEN = re.compile(
    rf"""(?P<space>[ \t\r\n]+) | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>(?:{_DIGITS}\.(?:{_DIGITS})?|\.{_DIGITS}|{_DIGITS})(?:[eE][+-]?{_DIGITS})?(?![A-Za-z0-9_.]))
    | (?P<word>'(?:[^'\\\r\n]|\\['"\\])*'|"(?:[^"\\\r\n]|\\['"\\])*") | (?P<sign>[<>]=?|[=!]=|[()-])""",
    re.VERBOSE,
)
"""What a condition is made of. It is less than Python has, so that a page can read the same without Python."""


def held(column: str, value: Any) -> Any:
    """Give what a condition compares of a cell: its value, of marks each word; None where it is not known."""
    if column == MARKS:
        return frozenset(value.split(", ")) if value else frozenset(("",))
    return "" if value is None and column in EMPTY else value


def empty_text(column: str) -> str:
    """Say what an empty cell means: a text, such as a licence, is not measured."""
    return EMPTY.get(column, "not known" if COLUMNS[column].decimals is None else "not measured")


def check_word(column: str, word: str) -> None:
    """Refuse a word that no row can have in a column.

    Raises:
        UserError: no mark has this name.
    """
    if column == MARKS and word not in ("", *MARK_NAMES):
        raise UserError(f"{word}: no such mark; {nearest(word, MARK_NAMES)}")


@dataclass(frozen=True)
class Condition:
    """A condition that was checked: each of its columns exists, and numbers are compared with numbers only."""

    text: str
    _tree: ast.expr

    @property
    def columns(self) -> list[str]:
        """The columns in the condition, each once, in their order."""
        names = (node for node in ast.walk(self._tree) if isinstance(node, ast.Name))
        return list(dict.fromkeys(node.id for node in sorted(names, key=lambda node: node.col_offset)))

    @property
    def parts(self) -> list[Condition]:
        """The conditions that the outermost ``and`` joins, or this one alone."""
        if not isinstance(self._tree, ast.BoolOp) or not isinstance(self._tree.op, ast.And):
            return [self]
        return [Condition(_source(self.text, part), part) for part in self._tree.values]

    def met(self, cell: Cell) -> bool:
        """Whether a row meets the condition; what depends on an empty cell is not met, nor is its opposite."""
        return _met(self._tree, cell, _exact) is True

    def decided(self, cell: Cell, ends: Ends) -> bool | None:
        """Whether a row meets the condition; None where that is not known well enough.

        It is not where the answer depends on a comparison by size whose limit lies inside the figure's interval. ``==``
        and ``!=`` ask for the figure as it was measured.
        """
        by_value, by_interval = _met(self._tree, cell, _exact), _met(self._tree, cell, ends)
        if by_interval is None and by_value is not None:
            return None
        return by_value is True


def parse(text: str) -> Condition:
    """Parse a condition.

    Raises:
        UserError: it holds something that is not allowed, a column does not exist, or a number is compared with a word.
    """
    stripped = text.strip()
    if len(stripped) > LONGEST:
        raise UserError(f"{stripped[:40]!r}...: a condition of {len(stripped)} characters; at most {LONGEST} are taken")
    try:
        tree = ast.parse(_plain(stripped), mode="eval").body
        _check(tree, stripped)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{text!r}: cannot be read; {ALLOWED}") from error
    return Condition(stripped, tree)


def _plain(text: str) -> str:
    """Give the condition on one line, its characters in their places.

    Raises:
        ValueError: it holds what is no token of a condition, or a text that Python reads in a way of its own.
    """
    place, depth, before, plain = 0, 0, "", ""
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(text)
        token, place = found[0], found.end()
        depth += (token == "(") - (token == ")")
        joined = found.lastgroup == "word" and (before[-1:] in ("'", '"') or before[-1:].isidentifier())
        if depth > DEEPEST or (joined and before not in ("and", "or", "not")):
            raise ValueError(text)
        plain += " " * len(token) if found.lastgroup == "space" else token
        before = before if found.lastgroup == "space" else token
    return plain


def _check(node: ast.expr, text: str) -> None:
    """Refuse everything that is no condition."""
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            _check(part, text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check(node.operand, text)
    elif isinstance(node, ast.Compare):
        _check_comparison(node, text)
    elif isinstance(node, ast.Name | ast.Constant) or _number(node) is not None:
        _is_text(node, text)
        example = f"give one, as {node.id} >= 20" if isinstance(node, ast.Name) else ALLOWED
        raise UserError(f"{text!r}: {_source(text, node)} is no condition; {example}")
    else:
        raise UserError(f"{text!r}: {_source(text, node)} is not allowed; {ALLOWED}")


def _check_comparison(node: ast.Compare, text: str) -> None:
    operands = [node.left, *node.comparators]
    kinds = [_is_text(operand, text) for operand in operands]
    for place, sign in enumerate(node.ops):
        if type(sign) not in _SIGNS:
            raise UserError(f"{text!r}: {_source(text, node)} is not allowed; {ALLOWED}")
        if kinds[place] != kinds[place + 1]:
            raise UserError(f"{text!r}: {_source(text, node)} compares a number with a word; {ALLOWED}")
        if kinds[place] and not isinstance(sign, ast.Eq | ast.NotEq):
            raise UserError(f"{text!r}: {_source(text, node)}: words can be == or != only, as library == 'mmdet'")
        pair = node.left if place == 0 else node.comparators[place - 1], node.comparators[place]
        for one, other in (pair, pair[::-1]):
            if isinstance(one, ast.Name) and isinstance(other, ast.Constant) and isinstance(other.value, str):
                check_word(one.id, other.value)


def _is_text(node: ast.expr, text: str) -> bool:
    """Tell whether an operand is text and no number; refuse what is neither a column, a number nor a word."""
    if isinstance(node, ast.Name):
        if node.id not in COLUMNS:
            raise UserError(f"{node.id}: no such column; {nearest(node.id, COLUMNS)} (words stand in quotes)")
        return COLUMNS[node.id].decimals is None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return True
    if _number(node) is None:
        raise UserError(f"{text!r}: {_source(text, node)} is not allowed; {ALLOWED}")
    return False


def _number(node: ast.expr) -> float | None:
    """Give the number that a node is, with its sign; None where it is none, or is not finite."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _number(node.operand)
        return None if number is None else -number
    if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
        return None
    assert isinstance(node.value, int | float)
    try:
        number = float(node.value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _exact(column: str) -> None:
    """Let every value count as exact."""


def _met(node: ast.expr, cell: Cell, ends: Ends) -> bool | None:
    """Tell whether a row meets a condition, by Kleene's logic of three values.

    None: it depends on an empty cell, or on a limit inside an interval.
    """
    if isinstance(node, ast.UnaryOp):
        inner = _met(node.operand, cell, ends)
        return None if inner is None else not inner
    if isinstance(node, ast.BoolOp):
        decisive = isinstance(node.op, ast.Or)
        return _joined([_met(part, cell, ends) for part in node.values], decisive)
    assert isinstance(node, ast.Compare)
    values = list(_values(node, cell))
    if None in values:
        return None
    spans = [_span(operand, value, ends) for operand, value in zip((node.left, *node.comparators), values, strict=True)]
    return _joined([_compared(_SIGNS[type(sign)], *spans[n : n + 2]) for n, sign in enumerate(node.ops)], False)


def _joined(outcomes: Sequence[bool | None], decisive: bool) -> bool | None:
    return decisive if decisive in outcomes else None if None in outcomes else not decisive


def _span(operand: ast.expr, value: Any, ends: Ends) -> tuple[Any, Any, Any]:
    """Give the least value of an operand, the measured one, and the greatest."""
    found = ends(operand.id) if isinstance(operand, ast.Name) else None
    return (value, value, value) if found is None else (found[0], value, found[1])


def _compared(sign: str, first: tuple[Any, Any, Any], second: tuple[Any, Any, Any]) -> bool | None:
    """Compare two operands; None where it depends on which values of their intervals they have."""
    holds = OPERATORS[sign]
    if sign in ("==", "!="):
        return holds(first[1], second[1])
    outcomes = {holds(one, other) for one in (first[0], first[2]) for other in (second[0], second[2])}
    return outcomes.pop() if len(outcomes) == 1 else None


def _values(node: ast.Compare, cell: Cell) -> Iterator[Any]:
    for operand in (node.left, *node.comparators):
        if isinstance(operand, ast.Name):
            yield held(operand.id, cell(operand.id))
        else:
            yield operand.value if isinstance(operand, ast.Constant) else _number(operand)


def _source(text: str, node: ast.expr) -> str:
    return ast.get_source_segment(text, node) or text
