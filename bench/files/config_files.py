"""The files that a configuration of a library stands in: the file itself, and those that it builds upon."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_NAMED = re.compile(r"""[^\s"'`(){}\[\],;=|<>]+\.(?:py|ya?ml|json)\b""")
_RELATIVE_IMPORT = re.compile(r"^\s*from\s+(\.+)([\w.]*)\s+import\s+(.*)", re.MULTILINE)
_MODULE_CALL = re.compile(r"""import_module\(\s*["'](\.+)([\w.]+)["']""")


def with_bases(path: Path) -> list[Path]:
    """Give a configuration file and the files that it builds upon, and those that they do, each once, sorted.

    A text in the file that is the path of a file (.py, .yaml, .yml, .json), from the folder of the file, names one, and
    in a Python file a relative import does. What a name is put together of while the file runs is not seen.
    """
    found: set[Path] = set()
    left = [path.resolve()]
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            left += _named_in(file)
    return sorted(found)


def _named_in(file: Path) -> Iterator[Path]:
    if file.suffix not in (".py", ".yaml", ".yml"):  # JSON may be data, such as annotations, and builds upon nothing
        return
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    names = [os.path.expanduser(name) for name in dict.fromkeys(_NAMED.findall(text))]
    # mmengine's {{ fileDirname }}/base.py is a path from the folder of the file too.
    candidates = [file.parent / form for name in names for form in (name, name.lstrip("/"))]
    if file.suffix == ".py":
        for dots, module, names in (*_RELATIVE_IMPORT.findall(text), *((*m, "") for m in _MODULE_CALL.findall(text))):
            candidates += _modules(file, len(dots), module, names)
    for candidate in candidates:
        try:
            if candidate.is_file():
                yield candidate.resolve()
        except (OSError, ValueError):  # no possible path
            continue


def _modules(file: Path, level: int, module: str, names: str) -> Iterator[Path]:
    """Give the possible files of ``from ..module import names``, ``level`` dots deep."""
    folder = file.parent
    for _ in range(level - 1):
        folder = folder.parent
    place = folder.joinpath(*module.split(".")) if module else folder
    yield place.with_name(place.name + ".py") if module else place / "__init__.py"
    yield place / "__init__.py"
    yield from (place / f"{name}.py" for name in re.findall(r"\w+", names))
