"""The files that ``model.config`` and the options of a model name: a job is measured anew when one has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files.config_files import with_bases
from bench.files.paths import expanded
from bench.predictor import Model


def files_read(cls: object, options: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Give the absolute paths of the class's ``files_read``, by the option that names each.

    Relative paths start from ``folder``.

    Raises:
        UserError: a file does not exist.
    """
    if not (isinstance(cls, type) and issubclass(cls, Model)):
        return {}
    paths = {
        key: (folder / expanded(path, f"model.options.{key}")).resolve()
        for key, path in cls.files_read(options).items()
    }
    for key, path in paths.items():
        if not path.is_file() and not path.is_dir():
            if key in options and options[key] is None:
                raise UserError(f"model.options.{key}=null: a path is missing; give model.options.{key}=PATH")
            raise UserError(f"{path}: no such file or folder (model.options.{key})")
    return paths


def other_files(cls: object, options: Mapping[str, Any], folder: Path, results: Path | None = None) -> dict[str, Path]:
    """Give the absolute path of each other file or folder that a text in the options names, by option (``parts.0``).

    results: the absolute path of the folder that the command writes its results into, where it is known

    Raises:
        UserError: a file of ``files_read`` does not exist.
    """
    read = files_read(cls, options, folder)
    return {
        key: path
        for option, value in options.items()
        for key, text, path in _named(value, folder, option)
        if key not in read and not _is_word(cls, option, text, path, results)
    }


def config_files(cls: object, config: str | None, folder: Path) -> list[Path]:
    """Give the absolute paths of the files and folders that ``model.config`` names or builds upon, sorted.

    None where it names no file, as where it is a name inside a library's zoo. A relative path starts from ``folder``.
    """
    path = _file(config, folder) if config else None
    if path is None:
        return []
    model = cls if isinstance(cls, type) and issubclass(cls, Model) else Model
    found = [(folder / file).resolve() for file in model.config_files(path)]
    return sorted({one for file in found for one in ([file] if file.is_dir() else with_bases(file))})


def _named(value: Any, folder: Path, key: str) -> Iterator[tuple[str, str, Path]]:
    """Give the option, the text and the path of each file or folder that is named somewhere in the value of ``key``."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _named(inner, folder, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _named(inner, folder, f"{key}.{number}")
    elif isinstance(value, str) and (path := _file(value, folder)) is not None:
        yield key, value, path


def _is_word(cls: object, option: str, text: str, path: Path, results: Path | None) -> bool:
    """Tell whether a text of an option that is also the path of a file or folder names no input of the model.

    This is the one rule: it is a word of the class's own (``word_options``); or the folder holds what the command
    itself writes, and ``out=demo`` is often given; or it is a single word, and the name of a folder of results that an
    earlier command has written, of a gate's or of several.
    """
    if isinstance(cls, type) and issubclass(cls, Model) and option in cls.word_options:
        return True
    if results is not None and results.is_relative_to(path):
        return True
    single = not {"/", os.sep}.intersection(text)
    return single and any(next(path.glob(jobs), None) is not None for jobs in ("jobs/*/job.json", "*/jobs/*/job.json"))


def _file(text: str, folder: Path) -> Path | None:
    """Give the absolute path of the regular file or the folder that a text names; None where it names none.

    A folder that holds the current one, such as ``.``, is no input of the model.
    """
    try:
        path = (folder / Path(text).expanduser()).resolve()
        return path if path.is_file() or (path.is_dir() and not folder.is_relative_to(path)) else None
    except (OSError, ValueError, RuntimeError):  # a text that cannot be a path: too long, a NUL, an unknown user
        return None
