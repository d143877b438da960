"""Leaves out work of Hydra's that changes nothing here, and that would more than double the time until it answers.

It replaces methods of Hydra, also of its own modules (``hydra._internal``), for the versions that ``pyproject.toml``
allows. What the command prints and composes is the same.
"""

from __future__ import annotations

import string
from argparse import ArgumentParser
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

_get_group_options = ConfigLoaderImpl.get_group_options


def quicken() -> None:
    """Replace the methods, for this process."""
    replaced: dict[tuple[type, str], Any] = {
        # Hydra copies its store of configurations 80 times for one --help, though it copies what it loads from there.
        (ConfigStore, "__deepcopy__"): lambda self, memo: self,
        # It composes each job of a sweep once as a check, though here composing is all that a job does.
        (Sweeper, "validate_batch_is_legal"): lambda self, batch: None,
        # And it composes everything once more to learn hydra.mode. Here a command is always a sweep.
        (Hydra, "get_mode"): lambda self, config_name, overrides: RunMode.MULTIRUN,
        (Hydra, "get_help"): _get_help,
        (ConfigLoaderImpl, "get_group_options"): _options_of_group,
    }
    for (cls, name), method in replaced.items():
        setattr(cls, name, method)


def _get_help(self: Hydra, help_cfg: DictConfig, cfg: DictConfig, args_parser: ArgumentParser, resolve: bool) -> str:
    """Fill in a help text, and compute only what stands in it: ours does not list the groups of Hydra's own."""
    parts = {
        "FLAGS_HELP": lambda: self.format_args_help(args_parser),
        "HYDRA_CONFIG_GROUPS": lambda: self.format_config_groups(lambda name: name.partition("/")[0] == "hydra"),
        "APP_CONFIG_GROUPS": lambda: _our_groups(self),
        "CONFIG": lambda: OmegaConf.to_yaml(cfg, resolve=resolve),
    }
    return string.Template(help_cfg.template).substitute(_Computed(parts))


class _Computed(dict[str, Any]):
    """A dict whose entries are computed when they are looked up."""

    def __getitem__(self, name: str) -> str:
        text: str = super().__getitem__(name)()
        return text


def _our_groups(self: Hydra) -> str:
    """List the groups outside of Hydra's, with their options, one group a line."""
    groups = [group for group in self.config_loader.list_groups("") if group != "hydra"]
    found = sorted(name for group in groups for name in (group, *self.list_all_config_groups(group)))
    options = {name: self.config_loader.get_group_options(name) for name in found}
    return "".join(f"{name}: {', '.join(sorted(names))}\n" for name, names in options.items() if names)


def _options_of_group(
    self: ConfigLoaderImpl,
    group_name: str,
    results_filter: ObjectType | None = ObjectType.CONFIG,
    config_name: str | None = None,
    overrides: list[str] | None = None,
) -> list[str]:
    """List the options of a group; where no override may add a folder to search, Hydra needs no copy of its sources."""
    if config_name is None and not overrides:
        return self.repository.get_group_options(group_name, results_filter)
    return _get_group_options(self, group_name, results_filter, config_name, overrides)
