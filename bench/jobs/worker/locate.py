"""From ``model._target_`` to the class: by the name of its module, or by the file that it stands in."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import UserError
from bench.jobs.start import ROOT

OURS = ("adapters", "bench")
"""Packages whose names are taken in a worker, whatever the user's folder holds."""


def locate(target: str) -> Any:
    """The class that ``_target_`` names, as "package.module.Class" or "path/to/file.py:Class".

    Raises:
        UserError: the module, the file or the class does not exist.
        ModuleNotFoundError: the module exists, but its library is not installed.
    """
    where, class_name = _split(target)
    try:
        module = _import(where)
    except UserError as error:
        raise UserError(f"model._target_={target}: {error}") from error
    except ModuleNotFoundError as error:
        if why := _remedy(where, class_name) or _cause(where, error.name or ""):
            raise UserError(f"model._target_={target}: {why}") from error
        raise
    try:
        return getattr(module, class_name)
    except AttributeError:
        name = where if isinstance(where, Path) else f"module {where}"
        why = _remedy(where, class_name) or f"{name} has no {class_name!r}"
        raise UserError(f"model._target_={target}: {why}") from None


def import_library(target: str) -> None:
    """Import the module of the class that ``_target_`` names, and with it the model's library, in less time than an
    import statement takes: nothing of what a library makes as it is imported is garbage, so none is looked for.

    Where it cannot be imported nothing is said: :func:`locate` will.
    """
    gc.disable()
    with contextlib.suppress(Exception):
        _import(_split(target)[0])
    gc.enable()
    gc.collect()  # what is there now counts as old, as it does after an import statement, and is left alone from now on


def _split(target: str) -> tuple[Path | str, str]:
    """The file or the name of the module, and the name of the class."""
    file, colon, class_name = target.rpartition(":")
    if colon and file.endswith(".py"):
        return Path(file), class_name
    module_name, _, class_name = target.rpartition(".")
    return module_name, class_name


def _import(where: Path | str) -> ModuleType:
    if isinstance(where, Path):
        return _import_file(where)
    if not where or "/" in where:
        raise UserError("must be package.module.Class, or path/to/file.py:Class")
    return importlib.import_module(where)


def _import_file(file: Path) -> ModuleType:
    """The module in a file, once a process. It finds the modules beside it as a script there would, and, with a dot
    before their names, as a module of a package would."""
    path = file.expanduser().resolve()
    if not path.is_file():
        raise UserError(f"no such file; a path starts from the folder where the command runs, which is {Path.cwd()}")
    folder = str(path.parent)
    package = f"maskbench_user_{hashlib.sha256(folder.encode()).hexdigest()[:8]}"
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [folder]
        sys.path.insert(0, folder)
    return importlib.import_module(f"{package}.{path.stem}")


def _remedy(where: Path | str, class_name: str) -> str | None:
    """What to write where a name means one of our packages and the user's own package is called like it."""
    if isinstance(where, Path) or where.partition(".")[0] not in OURS:
        return None
    for file in (Path(where.replace(".", "/") + ".py"), Path(where.replace(".", "/"), "__init__.py")):
        ours = ROOT / file  # the current folder may be that of maskbench itself
        if file.is_file() and not (ours.is_file() and file.samefile(ours)):
            return (
                f"{where.partition('.')[0]} is a package of maskbench itself; for the class in {file} of this folder, "
                f"give model._target_={file}:{class_name}"
            )
    return None


def _cause(where: Path | str, absent: str) -> str | None:
    """What is wrong where the module ``absent`` was not found, unless it is a library that is not installed."""
    if isinstance(where, str) and (where == absent or where.startswith(f"{absent}.")):
        return f"no module {absent!r}; it must be importable from the folder where the command runs, or be installed"
    package, _, rest = absent.partition(".")
    if package in OURS:
        return (
            f"imports {absent}, but in a worker {package} is the package of maskbench; import what lies beside a file "
            f"as `from .{rest} import ...`, and name the file: model._target_=path/to/file.py:Class"
        )
    return f"no module {rest!r} beside {where}" if package.startswith("maskbench_user_") else None
