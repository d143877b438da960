"""The paths of a configuration as they may be published: without the folders of this machine.

``job.json`` keeps the paths themselves, beside the result, for whoever is on this machine.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

PATHS = (
    "dataset.images",
    "dataset.annotations",
    "dataset.shapes.cache",
    "dataset.train.images",
    "dataset.train.annotations",
    "dataset.train.shapes.cache",
    "model.weights",
    "model.python",
    "model._target_",
    "gate.base_python",
    "gate.head_python",
    "baseline",
    "history",
    "out",
)
"""The dotted keys of a configuration that may name a file or a folder."""


def publishable_path(path: str) -> str:
    """Give a path from the current folder where it lies inside, else its last part alone.

    What does not leave the current folder stays as it is, such as ``zoo``.
    """
    expanded = Path(os.path.normpath(os.path.expanduser(path)))
    if not expanded.is_absolute() and expanded.parts[:1] != ("..",):
        return path
    here = Path.cwd()
    absolute = Path(os.path.normpath(here / expanded))
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else absolute.name or path


def publishable_config(config: dict[str, Any]) -> dict[str, Any]:
    """Give a copy of a configuration, which is a plain dict, with all its paths as they may be published.

    Those among the options of a model are the absolute paths of what exists.
    """
    config = copy.deepcopy(config)
    for dotted in PATHS:
        *groups, key = dotted.split(".")
        part: Any = config
        for group in groups:
            part = part.get(group) if isinstance(part, dict) else None
        if isinstance(part, dict) and isinstance(part.get(key), str):
            part[key] = publishable_path(part[key])
    if isinstance(config.get("tracker"), dict):
        config["tracker"]["uri"] = None  # a place of this machine, or of its owner's, and no condition
    config["model"]["options"] = _existing(config["model"]["options"])
    return config


def _existing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _existing(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_existing(inner) for inner in value]
    if isinstance(value, str) and value.startswith(("/", "~", "../")) and os.path.exists(os.path.expanduser(value)):
        return publishable_path(value)
    return value
