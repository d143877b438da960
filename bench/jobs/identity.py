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


def job_name(config: BenchConfig, contents: Mapping[str, str]) -> str:
    """The folder's name, spelled from what is measured, so that the same command finds its own results again.

    The hash covers the whole configuration but for what changes no figure: where results go, which passes run,
    the bounds on time and memory. More rounds are added to those measured. Files count by ``contents`` and not by
    their paths: a checkpoint or an annotation that has changed is measured anew, one that lies elsewhere is not.
    """
    what = dataclasses.asdict(config)
    for key in ("out", "passes", "study", "claims", "gate", "baseline", "history"):
        del what[key]
    for key in ("rounds", "time_limit_s", "memory_limit_gb"):
        del what["protocol"][key]
    if what["finetune"] is not None:
        for key in ("time_limit_s", "loader_processes"):
            del what["finetune"][key]
    _leave_paths_out(what, contents)
    digest = hashlib.sha256(json.dumps([what, dict(contents)], sort_keys=True).encode()).hexdigest()[:8]
    readable = f"{config.model.name}-{config.dataset.name}-{config.device}-{config.precision}-b{config.batch_size}"
    readable += f"-{config.input_size}" if config.input_size else ""
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', readable)}-{digest}"


def option_key(option: str) -> str:
    """The key in ``PlannedJob.contents`` of the file that an option of the model names."""
    return f"model.options.{option}"


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
