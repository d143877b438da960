"""What makes a job the same job: the name of its folder, by which the same command finds its own results again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.schema.config import BenchConfig
from bench.schema.settings import NO_FIGURE, describe


def job_name(config: BenchConfig, contents: Mapping[str, str]) -> str:
    """The folder's name, spelled from what is measured, so that the same command finds its own results again.

    The hash covers the whole configuration but for what changes no figure (:data:`bench.schema.settings.NO_FIGURE`).
    Files count by ``contents`` and not by their paths: a checkpoint or an annotation that has changed is measured anew,
    one that lies elsewhere is not.
    """
    what = dataclasses.asdict(config)
    for key in NO_FIGURE:
        _leave_out(what, key)
    _leave_paths_out(what, contents)
    digest = hashlib.sha256(json.dumps([what, dict(contents)], sort_keys=True).encode()).hexdigest()[:8]
    readable = "-".join((config.model.name, config.dataset.name, describe(config, separator="-")))
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', readable)}-{digest}"


def option_key(option: str) -> str:
    """The key in ``PlannedJob.contents`` of the file that an option of the model names."""
    return f"model.options.{option}"


def _leave_out(what: dict[str, Any], key: str) -> None:
    """A dotted key of a configuration as a plain dict, where it is there."""
    *groups, name = key.split(".")
    part: Any = what
    for group in groups:
        part = part[group] if part is not None else None
    if part is not None:
        del part[name]


def _leave_paths_out(what: dict[str, Any], contents: Mapping[str, str]) -> None:
    """The paths of a configuration as a plain dict, for whose files ``PlannedJob.contents`` stands."""
    for part in (what["dataset"], what["dataset"]["train"]):
        if part is None:
            continue
        part["images"] = part["annotations"] = None
        if part["shapes"] is not None:
            part["shapes"]["cache"] = None
    model = what["model"]
    model["weights"] = Path(model["weights"]).name
    model["options"] = {key: value for key, value in model["options"].items() if option_key(key) not in contents}
