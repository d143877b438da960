"""Gives the names below free-form keys, which went through Hydra in another spelling, their own again."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf, flag_override

from bench.schema.config import BenchConfig
from bench.schema.typed.hydra_text import as_read, literal, names_decoded
from bench.schema.typed.overrides import FREE_FORM


def schema_for_hydra() -> DictConfig:
    """Give the schema, in which every value below a free-form key can be added."""
    schema = OmegaConf.structured(BenchConfig)
    # OmegaConf adds no dataclass below a key of its own; whether a value is one, to_config sees.
    expected = schema.model._get_node("expected")
    expected._metadata.element_type, expected._metadata.ref_type = Any, dict[str, Any]
    return schema


def with_own_names(cfg: DictConfig) -> DictConfig:
    """Give a composed configuration, changed in place, in which every name is as the user typed it."""
    for form in FREE_FORM:
        group, _, name = form.key.partition(".")
        part = cfg.get(group)
        if isinstance(part, DictConfig) and not OmegaConf.is_missing(part, name):
            _rename(part, name)
    if "hydra" in cfg:
        _tell_as_typed(cfg.hydra)
    return cfg


def _rename(part: DictConfig, name: str) -> None:
    if OmegaConf.is_interpolation(part, name) or not isinstance(part.get(name), DictConfig):
        return
    node = part[name]
    written = OmegaConf.to_container(node, resolve=False)
    own = names_decoded(written)
    if own == written:
        return
    with flag_override(node, ["struct", "readonly"], False):
        for encoded in list(node):
            del node[encoded]
        node.merge_with(own)


def _tell_as_typed(hydra: DictConfig) -> None:
    """Decode what ``--cfg`` and ``--info`` show of the arguments themselves."""

    def told(argument: str) -> str:
        # OmegaConf would look for an interpolation in a name that was encoded.
        return argument if (read := as_read(argument)) == argument else literal(read)

    written: Any = OmegaConf.to_container(hydra, resolve=False)
    with flag_override(hydra, ["struct", "readonly"], False):
        hydra.overrides.task = [told(argument) for argument in written["overrides"]["task"]]
        hydra.job.override_dirname = told(written["job"]["override_dirname"])
