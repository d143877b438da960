"""Refuses keys of one model that the command line would give to another: its row would show what did not run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.errors import UserError
from bench.jobs.job import ComposedJob
from bench.schema.config import MISSING

_OF_ONE_MODEL = (
    "_target_",
    "name",
    "family",
    "backbone",
    "library",
    "config",
    "classes",
    "zoo",
    "published",
    "licence",
    "expected",
)
"""Keys of the group ``model`` that say what one model is."""

_ANY_MODEL = ("random", "zoo", "own")
"""Values of ``model.weights`` that mean something for every model; any other is the path of one model's file."""

TARGET = "model._target_"


def given_keys(overrides: Sequence[str]) -> dict[str, str]:
    """Give the dotted keys of overrides, without Hydra's signs before them, and their values as typed."""
    parts = [override.partition("=") for override in overrides]
    return {key.lstrip("+~"): value for key, equals, value in parts if equals}


def refuse_foreign_keys(overrides: Sequence[str], jobs: Sequence[ComposedJob], configs: Sequence[Path]) -> None:
    """Refuse keys of one model in a sweep over several, and another class under the name of a library's model.

    configs: the folders of configurations, that of maskbench first

    Raises:
        UserError: a key can belong only to one of the models that would get it.
    """
    given = given_keys(overrides)
    options = list(dict.fromkeys(job.choices.get("model", "") for job in jobs))
    if len(options) > 1:
        for key, value in given.items():
            if _of_one_model(key, value, jobs):
                raise UserError(
                    f"{key}={value}: belongs to one model, but would be given to {len(options)}: "
                    f"{', '.join(options)}; give each model its own keys in a command of its own, with the same out="
                )
    if TARGET in given:
        for option in options:
            own = _own_target(option, configs)
            if own is not None and own.startswith("adapters."):
                raise UserError(
                    f"{TARGET}={given[TARGET]}: model={option} is {own}, and its row would show another class under "
                    f"that name; give model=custom {TARGET}={given[TARGET]}"
                )


def _of_one_model(key: str, value: str, jobs: Sequence[ComposedJob]) -> bool:
    group, _, name = key.partition(".")
    if group != "model":
        return False
    if name == "weights":
        # A training may start from what other models share with a file, such as the backbone.
        partial = all(job.config.finetune is not None and job.config.finetune.start == "partial" for job in jobs)
        return not partial and not set(value.split(",")) <= set(_ANY_MODEL)
    return name.partition(".")[0] in _OF_ONE_MODEL


def _own_target(option: str, folders: Sequence[Path]) -> str | None:
    """Give the class that an option of ``model/`` names itself, or by an option that it is made from; else None."""
    file = next((path for folder in folders if (path := folder / "model" / f"{option}.yaml").is_file()), None)
    if file is None:
        return None
    try:
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except OmegaConfBaseException:
        return None
    if not isinstance(content, dict):
        return None
    target = content.get("_target_")
    if isinstance(target, str):
        return None if target == MISSING else target
    bases = [base for base in content.get("defaults") or () if isinstance(base, str) and base not in ("_self_", option)]
    return next((own for base in bases if (own := _own_target(base, folders)) is not None), None)
