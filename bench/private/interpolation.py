"""Finds what the options of a model have from the environment, in a configuration that OmegaConf has composed.

Only the command imports this module: a worker needs no OmegaConf.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.resolvers import oc

from bench.private.environment import FromEnvironment


def options_to_show(cfg: DictConfig) -> tuple[dict[str, Any], FromEnvironment]:
    """Give the options of a model as they are stored and shown, and what some of them have from the environment.

    An option that has nothing from there is given with its value, like every other key of the configuration.

    Raises:
        OmegaConfBaseException: a value cannot be resolved.
    """
    written = OmegaConf.to_container(cfg, resolve=False)["model"]["options"]  # type: ignore[index,call-overload]
    shown, from_environment = {}, {}
    with _Reading() as reading:
        options = cfg.model.options
        all_of_them = reading.times > 0  # as in model.options=${oc.decode:${oc.env:OPTIONS}}
        for name in options:
            before = reading.times
            shown[str(name)] = written if all_of_them else reading.as_written(options, name, written)
            if reading.times > before or all_of_them:
                value = options[name]
                is_nested = isinstance(value, DictConfig | ListConfig)
                from_environment[str(name)] = OmegaConf.to_container(value, resolve=True) if is_nested else value
    return shown, FromEnvironment(from_environment, reading.texts)


class _Reading:
    """Within its ``with`` block, it notes what the environment is asked for.

    texts: each value that the environment gave, and the text that asks for it
    times: how often it was asked
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.times = 0

    def __enter__(self) -> _Reading:
        _register(self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        _register(oc.env)

    def _ask(self, variable: str, *default: Any) -> str | None:
        value = oc.env(variable, *default)
        self.times += 1
        if value and variable in os.environ:
            self.texts[str(value)] = f"${{oc.env:{variable}}}"
        return value

    def as_written(self, node: DictConfig | ListConfig, key: Any, written: Any) -> Any:
        """Give the value at a key, in which what comes from the environment stands as it is written.

        written: what stands in the place of ``node`` before anything is resolved
        """
        text = written[key] if isinstance(written, dict | list) else written
        before, value = self.times, node[key]
        if isinstance(text, str) and self.times > before:
            return text
        if isinstance(value, DictConfig):
            return {name: self.as_written(value, name, text) for name in value}
        if isinstance(value, ListConfig):
            return [self.as_written(value, place, text) for place in range(len(value))]
        return value


def _register(resolver: Callable[..., Any]) -> None:
    """Let ``resolver`` answer ``${oc.env:...}`` from now on."""
    with warnings.catch_warnings():  # OmegaConf 2.4 has another name for this, which 2.3 has not
        warnings.simplefilter("ignore")
        OmegaConf.register_new_resolver("oc.env", resolver, replace=True)
