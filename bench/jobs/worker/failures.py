"""Says in one line what an exception of a model's code means for its row: the status, and the reason with its place."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

from bench.errors import UserError, absent_library, no_room
from bench.jobs.start import ROOT
from bench.jobs.worker.locate import OURS, ImportOfOwnError, class_name_of, module_of
from bench.passes.apart.process import ProcessDiedError

_LONGEST = 500
_MEMORY_WORDS = ("can't allocate memory", "out of memory", "not enough memory")


def classify(
    error: BaseException, target: str, log: str, hide: Callable[[str], str] = lambda text: text
) -> tuple[str, str]:
    """Give status and reason of a job that an exception ended.

    target: the job's ``model._target_``
    log: the name of the file that holds the traceback
    hide: gives a text without what must not be told; it comes before a long text is cut, which could cut a secret too
    """
    text = _one_line(hide(str(error)))
    if isinstance(error, UserError):
        return "failed", text
    if isinstance(error, ProcessDiedError):
        return "crashed", f"{text}; see {log}"
    if isinstance(error, ModuleNotFoundError) and is_absent_library(error, target):
        return "skipped", absent_library(error)
    if _is_out_of_memory(error) or any(words in text for words in _MEMORY_WORDS):
        return "out_of_memory", text or "out of memory"
    if isinstance(error, OSError) and no_room(error):
        name = Path(str(error.filename)).name if error.filename else "a file"
        return "failed", f"{name} could not be written: {error.strerror}"
    kind = type(error).__name__
    said = text if isinstance(error, ImportOfOwnError) else f"{kind}: {text}" if text else kind
    return "failed", f"{said} ({_place(error)}; see {log})"


def is_absent_library(error: ModuleNotFoundError, target: str) -> bool:
    """Tell whether a module that cannot be imported is a library that is not installed; else it is the user's own.

    It is a library where one of these holds:

    - the class is one of ours, whose libraries are optional;
    - the class says so: it declares the library in its ``packages``;
    - an installed library imports it, and no such package is installed.

    Any other module that code of the user's imports is taken for a part of that code: a misspelt or forgotten module
    must not pass as a library that somebody chose not to install.
    """
    module = module_of(target)
    if isinstance(error, ImportOfOwnError):
        return False
    if isinstance(module, str) and module.partition(".")[0] in OURS:
        return True
    absent = (error.name or "").partition(".")[0]
    files = [frame.f_code.co_filename for frame in _frames(error)]
    importers = [file for file in files if not _is_import_machinery(file)]
    if importers and _is_installed(importers[-1]):
        return _find_spec(absent) is None
    users = [Path(file) for file in importers if _is_users(file)]
    return _as_module(absent) in {_as_module(name) for name in _declared_packages(users, class_name_of(target))}


def _is_out_of_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")  # without it, no error is one of its own
    return isinstance(error, (MemoryError, *((torch.OutOfMemoryError,) if torch else ())))


def _place(error: BaseException) -> str:
    """Give file and line of the user's code that an exception passed last; of any code where it passed none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    steps = list(traceback.walk_tb(error.__traceback__))
    users = [step for step in steps if _is_users(step[0].f_code.co_filename)]
    if not steps:
        return "no place known"
    frame, line = (users or steps)[-1]
    return f"{Path(frame.f_code.co_filename).name}:{line}"


def _frames(error: BaseException) -> Iterable[FrameType]:
    return (frame for frame, _ in traceback.walk_tb(error.__traceback__))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]


def _is_import_machinery(file: str) -> bool:
    return file.startswith("<frozen importlib") or Path(file).parent.name == "importlib"


def _is_users(file: str) -> bool:
    """Tell whether a file of a frame is code of the user's: neither installed, nor Python's, nor ours."""
    if file.startswith("<") or _is_installed(file):  # "<frozen importlib>", "<string>"
        return False
    pythons = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "platstdlib")]
    return not any(Path(file).is_relative_to(folder) for folder in [ROOT / "bench", ROOT / "adapters", *pythons])


def _is_installed(file: str) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def _find_spec(name: str) -> object:
    with contextlib.suppress(ImportError, ValueError):
        return sys.modules.get(name) or importlib.util.find_spec(name)
    return None


def _declared_packages(files: Iterable[Path], class_name: str) -> list[str]:
    """Give what the class of this name declares as its ``packages`` in the source of one of the files.

    The source is read and not the class, which does not exist where its module could not be imported.
    """
    for file in files:
        with contextlib.suppress(OSError, SyntaxError, ValueError):
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.ClassDef) and node.name == class_name:
                    return _packages_in(node)
    return []


def _packages_in(node: ast.ClassDef) -> list[str]:
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(name, ast.Name) and name.id == "packages" for name in targets):
            value = getattr(statement, "value", None)
            return [str(name) for name in ast.literal_eval(value)] if value is not None else []
    return []


def _as_module(distribution: str) -> str:
    """Give the name by which a distribution is most probably imported: opencv-python is not, most others are."""
    return re.sub(r"[-.]+", "_", distribution).lower()
