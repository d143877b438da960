"""Conditions on the columns of a row: ``fps_model >= 20 and (library == 'mmdet' or not mask_ap < 30)``.

A condition is parsed into comparisons, and nothing in it is ever run: it has columns, numbers, words in quotes, the
comparisons between them, ``and``, ``or``, ``not`` and parentheses, and no more.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError, nearest
from reports.table.columns import COLUMNS

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
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

LONGEST = 2000
"""Characters of a condition."""

Cell = Callable[[str], Any]
"""Gives the value of a column in a row; None where the cell is empty."""


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
        return _met(self._tree, cell) is True


def parse(text: str) -> Condition:
    """Parse a condition.

    Raises:
        UserError: it holds something that is not allowed, a column does not exist, or a number is compared with a word.
    """
    stripped = text.strip()
    if len(stripped) > LONGEST:
        raise UserError(f"{stripped[:40]!r}...: a condition of {len(stripped)} characters; at most {LONGEST} are taken")
    try:
        tree = ast.parse(stripped, mode="eval").body
        _check(tree, stripped)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{text!r}: cannot be read; {ALLOWED}") from error
    return Condition(stripped, tree)


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


def _met(node: ast.expr, cell: Cell) -> bool | None:
    """Tell whether a row meets a condition; None where it depends on an empty cell (Kleene's logic of three values)."""
    if isinstance(node, ast.UnaryOp):
        inner = _met(node.operand, cell)
        return None if inner is None else not inner
    if isinstance(node, ast.BoolOp):
        decisive = isinstance(node.op, ast.Or)
        outcomes = [_met(part, cell) for part in node.values]
        return decisive if decisive in outcomes else None if None in outcomes else not decisive
    assert isinstance(node, ast.Compare)
    values = list(_values(node, cell))
    if None in values:
        return None
    pairs = zip(values, node.ops, values[1:], strict=False)
    return all(OPERATORS[_SIGNS[type(sign)]](first, second) for first, sign, second in pairs)


def _values(node: ast.Compare, cell: Cell) -> Iterator[Any]:
    for operand in (node.left, *node.comparators):
        if isinstance(operand, ast.Name):
            yield cell(operand.id)
        else:
            yield operand.value if isinstance(operand, ast.Constant) else _number(operand)


def _source(text: str, node: ast.expr) -> str:
    return ast.get_source_segment(text, node) or text
