"""The name of a job's folder, which identifies the job: the same command finds its own results again by it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.files.digests import sha256_of
from bench.files.plain import as_dict
from bench.schema.config import BenchConfig
from bench.schema.settings import NO_FIGURE, describe
from bench.schema.words import flat

_READ_FILES, _READ_BYTES = 1000, 2 * 10**9
"""The largest folder that is read whole for its digest."""


def job_name(config: BenchConfig, contents: Mapping[str, str]) -> str:
    """Give the name of a job's folder: model, data set and settings in words, and a hash.

    The hash covers the configuration without the keys that change no figure (:data:`bench.schema.settings.NO_FIGURE`),
    and without those that have their default: a new version of maskbench, which has more keys, finds its results again.
    Files count by their digests in ``contents`` and not by their paths: a job is measured anew when a checkpoint or an
    annotation file has changed, and not when it has moved.
    """
    what = without_no_figure(config)
    _leave_paths_out(what, contents)
    what = _without_defaults(what, config)
    digest = hashlib.sha256(json.dumps([what, dict(contents)], sort_keys=True).encode()).hexdigest()[:8]
    readable = "-".join((config.model.name, config.dataset.name, describe(config, separator="-")))
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', readable)}-{digest}"


def shard_key(config: BenchConfig, contents: Mapping[str, str], weights_sha256: str | None) -> str:
    """Give a digest of all that a model's predictions depend on and that is known before it runs.

    It is that of the folder's name and more: settings that have their defaults count too, since two versions of
    maskbench must not predict parts of one row.
    """
    what = without_no_figure(config)
    _leave_paths_out(what, contents)
    return hashlib.sha256(json.dumps([what, dict(contents), weights_sha256], sort_keys=True).encode()).hexdigest()


def other_settings(before: BenchConfig, now: BenchConfig, contents: Mapping[str, str]) -> list[str]:
    """Give a phrase for each setting in which two configurations of one name differ, as where a default has changed."""
    sides = []
    for config in (before, now):
        what = without_no_figure(config)
        _leave_paths_out(what, contents)
        sides.append(flat(what))
    one, two = sides
    return [
        f"{key} was {one.get(key, 'unset')} and is {two.get(key, 'unset')}"
        for key in sorted({*one, *two})
        if one.get(key) != two.get(key)
    ]


def without_no_figure(config: BenchConfig) -> dict[str, Any]:
    """Give a configuration as a plain dict, without the keys that change no figure."""
    what = as_dict(config)
    for key in NO_FIGURE:
        _leave_out(what, key)
    return what


def digest_named(path: Path) -> str:
    """Give the digest of a file that an option names, or of a folder: of the names and contents of its files.

    Of a folder with more or larger files than are read in a moment, sizes and times of change count as the contents.
    Hidden folders and those of compiled modules do not count.
    """
    if not path.is_dir():
        return sha256_of(path)
    files = []
    for place, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        files += [file for name in sorted(names) if (file := Path(place, name)).is_file()]
    states = [file.stat() for file in files]
    brief = len(files) <= _READ_FILES and sum(state.st_size for state in states) <= _READ_BYTES
    parts = [
        (file.relative_to(path).as_posix(), sha256_of(file) if brief else f"{state.st_size} {state.st_mtime_ns}")
        for file, state in zip(files, states, strict=True)
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def option_key(option: str) -> str:
    """Give the key in ``PlannedJob.contents`` of a file that the model's class reads, by the option that names it."""
    return f"model.options.{option}"


def named_key(option: str) -> str:
    """Give the key in ``PlannedJob.contents`` of a file that an option happens to name (``parts.0``, a list's).

    The text of such an option counts too: it may be a word that is also the name of a file.
    """
    return f"file of model.options.{option}"


CONFIG_KEY = "file of model.config"
"""The key in ``PlannedJob.contents`` of the files that ``model.config`` names or builds upon; its text counts too."""


def digest_together(paths: Sequence[Path]) -> str:
    """Give one digest of files and folders: of their names and contents, wherever they lie."""
    parts = sorted((path.name, digest_named(path)) for path in paths)
    return parts[0][1] if len(parts) == 1 else hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _without_defaults(what: Any, like: Any) -> Any:
    """Leave out of a plain dict what has its default in the dataclass that it was made from, which is ``like``.

    A group that is null by default is kept, though all in it may have its default.
    """
    if not dataclasses.is_dataclass(like):
        return what
    kept = {}
    for field in dataclasses.fields(like):
        if field.name in what:
            value = _without_defaults(what[field.name], getattr(like, field.name))
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            if value != ({} if dataclasses.is_dataclass(default) else default):
                kept[field.name] = value
    return kept


def _leave_out(what: dict[str, Any], key: str) -> None:
    """Remove a dotted key from a configuration that is a plain dict; an absent group is no error."""
    *groups, name = key.split(".")
    part: Any = what
    for group in groups:
        part = part[group] if part is not None else None
    if part is not None:
        del part[name]


def _leave_paths_out(what: dict[str, Any], contents: Mapping[str, str]) -> None:
    """Remove from a configuration that is a plain dict the paths of files whose digests are in ``contents``."""
    for part in (what["dataset"], what["dataset"]["train"]):
        if part is None:
            continue
        part["images"] = part["annotations"] = None
        if part["shapes"] is not None:
            part["shapes"]["cache"] = None
    model = what["model"]
    model["weights"] = Path(model["weights"]).name
    model["options"] = {key: value for key, value in model["options"].items() if option_key(key) not in contents}
