"""Imports the class that ``model._target_`` names, by its module or by its file."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import UserError
from bench.files.paths import expanded
from bench.jobs.start import ROOT

OURS = ("adapters", "bench")
"""Packages that a worker imports from maskbench even where the user's folder holds others of these names."""


class ImportOfOwnError(ModuleNotFoundError):
    """Code of the user's imports a module of its own that is not where it is sought; the message has the remedy."""


def locate(target: str) -> Any:
    """Give the class that ``_target_`` names, as "package.module.Class" or "path/to/file.py:Class".

    Raises:
        UserError: the module, the file or the class does not exist.
        ImportOfOwnError, ModuleNotFoundError: it exists, but something that it imports does not.
    """
    where, class_name = module_of(target), class_name_of(target)
    try:
        module = _import(where)
    except UserError as error:
        raise UserError(f"model._target_={target}: {error}") from error
    except ModuleNotFoundError as error:
        absent = error.name or ""
        if why := remedy(where, class_name) or _no_such_module(where, absent):
            raise UserError(f"model._target_={target}: {why}") from error
        if why := _cause(where, absent):
            raise ImportOfOwnError(f"model._target_={target}: {why}", name=absent).with_traceback(
                error.__traceback__
            ) from error
        raise
    except ImportError as error:
        if isinstance(where, Path) and "beyond top-level package" in str(error):
            raise UserError(f"model._target_={target}: {_by_module(where, class_name)}") from error
        raise
    try:
        return getattr(module, class_name)
    except AttributeError:
        name = where if isinstance(where, Path) else f"module {where}"
        why = remedy(where, class_name) or f"{name} has no {class_name!r}"
        raise UserError(f"model._target_={target}: {why}") from None


@functools.cache
def import_library(target: str) -> None:
    """Import the module of the class that ``_target_`` names, and with it the model's library, once in a process.

    It takes less time than an import statement because the garbage collector is off meanwhile: objects that an import
    makes are not garbage. An error is ignored here, since :func:`locate` raises it.
    """
    gc.disable()
    with contextlib.suppress(Exception, SystemExit):
        _import(module_of(target))
    gc.enable()
    gc.collect()  # the objects then count as old, as after an import statement, and are seldom looked at again


def module_of(target: str) -> Path | str:
    """Give the file, or the name of the module, that a ``_target_`` names."""
    file, colon, _ = target.rpartition(":")
    return Path(file) if colon and file.endswith(".py") else target.rpartition(".")[0]


def class_name_of(target: str) -> str:
    """Give the name of the class in a ``_target_``."""
    return target.rpartition(":" if isinstance(module_of(target), Path) else ".")[2]


def _import(where: Path | str) -> ModuleType:
    if isinstance(where, Path):
        return _import_file(where)
    if not where or "/" in where:
        raise UserError("must be package.module.Class, or path/to/file.py:Class")
    return importlib.import_module(where)


def _import_file(file: Path) -> ModuleType:
    """Import the module in a file, once in a process.

    The module can import its neighbours by name, as a script can, and with a dot before the name, as in a package.
    """
    path = expanded(file).resolve()
    if not path.is_file():
        raise UserError(f"no such file; a path starts from the folder where the command runs, which is {Path.cwd()}")
    folder = str(path.parent)
    package = f"maskbench_user_{hashlib.sha256(folder.encode()).hexdigest()[:8]}"
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [folder]
        sys.path[:0] = [folder, *(str(root) for root in [_package_root(path)] if root is not None)]
    if path.stem.isidentifier():
        return importlib.import_module(f"{package}.{path.stem}")
    return _import_by_path(f"{package}.file_{hashlib.sha256(path.stem.encode()).hexdigest()[:8]}", path)


def _import_by_path(name: str, path: Path) -> ModuleType:
    """Import a file whose own name cannot be a module's, as ``net.v2.py``, under another name."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _package_root(path: Path) -> Path | None:
    """Give the folder of the package that a file lies in, so that the file can import the package by its name.

    A folder without ``__init__.py`` is a package too where ``src`` is above it. None where there is no package.
    """
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    if folder != path.parent:
        return folder
    return next((above for above in path.parents if above.name == "src" and above != path.parent), None)


def _by_module(file: Path, class_name: str) -> str:
    """Tell how to name a class whose file imports from the folder above its own."""
    path = file.expanduser().resolve()
    root = _package_root(path) or Path.cwd().resolve()
    why = "imports from a folder above its own (`from ..`), which a file that is named by its path cannot"
    if not path.is_relative_to(root):
        return f"{why}; run in the folder that holds its package, and name it as package.module.Class"
    module = ".".join(path.relative_to(root).with_suffix("").parts)
    here = root == Path.cwd().resolve()
    return f"{why}; give model._target_={module}.{class_name}" + ("" if here else f", and set PYTHONPATH={root}")


def remedy(where: Path | str, class_name: str) -> str | None:
    """Give the remedy where the user's own package has the name of one of ours; None in any other case."""
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


def _no_such_module(where: Path | str, absent: str) -> str | None:
    """Tell that the target's own module does not exist; None where the module ``absent`` is another."""
    if isinstance(where, str) and (where == absent or where.startswith(f"{absent}.")):
        return f"no module {absent!r}; it must be importable from the folder where the command runs, or be installed"
    return None


def _cause(where: Path | str, absent: str) -> str | None:
    """Tell why the module ``absent`` cannot be imported where it would be a part of the user's code, else None."""
    package, _, rest = absent.partition(".")
    if package in OURS:
        return (
            f"imports {absent}, but in a worker {package} is the package of maskbench; import what lies beside a file "
            f"as `from .{rest} import ...`, and name the file: model._target_=path/to/file.py:Class"
        )
    return f"no module {rest!r} beside {where}" if package.startswith("maskbench_user_") else None
