"""Tells whether a model's class needs torch, before its module is imported."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path

from bench.errors import UserError
from bench.files.paths import expanded
from bench.jobs.start import ROOT
from bench.jobs.worker.locate import OURS, class_name_of, module_of

_PROMISE = "needs_torch"
"""See :attr:`bench.predictor.ReplayPredictor.needs_torch`."""


def needs_torch(target: str) -> bool:
    """Tell whether torch must be imported before the class that ``_target_`` names is.

    The source is read and not the class, since no code of the user's may run yet. The answer is True wherever the
    source does not plainly say False: for a class that inherits its promise, and for one of an installed module.
    """
    file = _source(module_of(target))
    if file is None:
        return True
    with contextlib.suppress(OSError, SyntaxError, ValueError, UserError):
        for node in ast.parse(expanded(file).read_bytes()).body:
            if isinstance(node, ast.ClassDef) and node.name == class_name_of(target):
                return not any(map(_promises_none, node.body))
    return True


def _source(where: Path | str) -> Path | None:
    """Give the file of a target's class; None for a module that only an import could find."""
    if isinstance(where, Path):
        return where
    return ROOT / (where.replace(".", "/") + ".py") if where.partition(".")[0] in OURS else None


def _promises_none(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        names: list[ast.expr] = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        names = [statement.target]
    else:
        return False
    said = isinstance(statement.value, ast.Constant) and statement.value.value is False
    return said and any(isinstance(name, ast.Name) and name.id == _PROMISE for name in names)
