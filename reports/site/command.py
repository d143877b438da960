"""The command that measures a result again: the options of its groups, and what differs from them.

It is spelled from the configuration that the result holds, so it names files as whoever measured did, without the
folders of that machine.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from bench.schema.config import BenchConfig
from bench.schema.row import Row
from bench.schema.settings import NO_FIGURE
from bench.schema.typed.hydra_text import quoted

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

_OF_THE_MODEL = ("weights", "allow_pickle", "classes", "score_threshold", "config", "options")
"""Keys of a model that a command line chooses. What else its option says of it, today's option says."""

_OF_AN_OWN_CLASS = ("name", "family", "backbone", "library", "_target_")

_CHOSEN = ("device", "precision", "compile", "batch_size", "input_size", "overlap", "evaluator", "passes")

_PLAIN = re.compile(r"[\w./:+-]+", re.ASCII)


def command_of(row: Row) -> str:
    """Give the command, as it is typed into a shell."""
    config, choices = row.result.config, row.result.choices
    arguments = [f"{group}={choices[group]}" for group in ("model", "dataset", "protocol") if choices.get(group)]
    if "model" not in choices:
        arguments.insert(0, "model=custom")
    training = config.get("finetune")
    if training:
        arguments.append(f"finetune={choices.get('finetune') or 'default'}")
    for group in ("model", "dataset", "protocol", *(("finetune",) if training else ())):
        arguments += _differing(group, choices.get(group) or ("default" if group == "finetune" else None), config)
    defaults = dataclasses.asdict(BenchConfig())
    for key in _CHOSEN:
        if (value := config.get(key, defaults[key])) != defaults[key]:
            arguments.append(f"{key}={_spelled(value)}")
    trained = config.get("model", {}).get("weights") != "random" or training
    if config.get("detections") not in (None, "auto", "thresholded" if trained else "saturated"):
        arguments.append(f"detections={config['detections']}")
    return shlex.join(["maskbench", *arguments])


def _differing(group: str, option: str | None, config: Mapping[str, Any]) -> Iterator[str]:
    """Give an override for each key of a group in which the result differs from the option that was chosen."""
    defaults = dataclasses.asdict(BenchConfig()).get(group) or {}
    base = _merged(defaults, _option(group, option))
    ours = config.get(group) or {}
    for key, value in ours.items():
        own = group == "model" and option in (None, "custom") and key in _OF_AN_OWN_CLASS
        if group == "model" and not (key in _OF_THE_MODEL or own):
            continue
        if group == "dataset" and (key == "how_to_get" or (key == "train" and not config.get("finetune"))):
            continue
        if f"{group}.{key}" not in NO_FIGURE or key == "rounds":
            yield from _overrides(f"{group}.{key}", base.get(key), value)


def _overrides(key: str, before: Any, value: Any) -> Iterator[str]:
    if key.endswith(".cache") or value == before:
        return
    if isinstance(value, dict) and key.count(".") < 3 and isinstance(before, dict) and before:
        for name, inner in value.items():
            yield from _overrides(f"{key}.{name}", before.get(name), inner)
    elif not (value is None and key.count(".") > 1 and before is None):
        yield f"{key}={_spelled(value)}"


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


@functools.cache
def _option(group: str, option: str | None) -> dict[str, Any]:
    """Give what a file of ``configs/`` says; nothing of an option that is the user's own."""
    if option is None or not re.fullmatch(r"\w+", option):
        return {}
    path = CONFIGS / group / f"{option}.yaml"
    if not path.is_file():
        return {}
    said = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    found: dict[str, Any] = {}
    for base in said.pop("defaults", ()):
        if isinstance(base, str) and base != "_self_":
            found = _merged(found, _option(group, base))
    of_the_group = said.get(group)  # a file that sets other groups too, as that of LVIS, names its own
    return _merged(found, of_the_group if isinstance(of_the_group, dict) else said)


def _spelled(value: Any) -> str:
    """Spell a value as Hydra reads it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(_spelled(item) for item in value)}]"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    return text if not isinstance(value, str) or _PLAIN.fullmatch(text) else quoted(text)
