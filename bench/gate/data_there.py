"""Data that git does not know, for the base of a gate: its checkout lacks it, so the working tree's is used."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.schema.config import BenchConfig
from bench.schema.typed.overrides import with_each_text

_PATHS = (
    *("model.weights", "model.python", "dataset.images", "dataset.annotations", "dataset.shapes.cache"),
    *("dataset.train.images", "dataset.train.annotations", "dataset.train.shapes.cache"),
)
"""The keys whose texts are paths. The options of a model may hold paths, too."""

_OPTIONS = "model.options"


def path_kept(argument: str, there: Path) -> str:
    """Make the paths of an argument absolute that exist only in the current folder, and not in the folder ``there``."""

    def kept(text: str) -> str:
        if not text or os.path.isabs(text) or not Path(text).exists() or (there / text).exists():
            return text
        # With its links: the interpreter of a virtual environment is one, and without it another environment runs.
        return str(Path(text).absolute())

    if argument.startswith("--config-dir="):
        return f"--config-dir={kept(argument.partition('=')[2])}"
    key = argument.lstrip("+").partition("=")[0]
    # Of an option, only what looks like a path: the word demo may be the name of a folder by chance.
    of_options = key.startswith(f"{_OPTIONS}.") and "/" in argument
    return with_each_text(argument, kept) if key in _PATHS or of_options else argument


def link_data(configs: Iterable[BenchConfig], here: Path, there: Path) -> None:
    """Link into the folder ``there`` what configurations name and only the folder ``here`` has.

    A path may stand in a configuration that belongs to both, and not in an argument that could be changed.
    """
    if not there.is_dir():
        return
    for text in dict.fromkeys(text for config in configs for text in _paths_of(dataclasses.asdict(config))):
        path = Path(text)
        if not text or path.is_absolute() or ".." in path.parts or not (here / path).exists():
            continue
        above = [*reversed(path.parents[:-1]), path]
        if missing := next((part for part in above if not os.path.lexists(there / part)), None):
            (there / missing).symlink_to((here / missing).absolute())


def _paths_of(config: dict[str, Any]) -> Iterator[str]:
    for key in (*_PATHS, _OPTIONS):
        value: Any = config
        for name in key.split("."):
            value = (value or {}).get(name)
        yield from _texts_in(value)


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts_in(part)
