"""The gate's configuration outside a study: ``configs/gate/default.yaml`` and what a command line changes in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.errors import UserError, nearest
from bench.schema.config import GateConfig
from bench.schema.metrics import METRICS

DEFAULT = Path(__file__).resolve().parents[2] / "configs" / "gate" / "default.yaml"


def from_settings(settings: Sequence[str]) -> GateConfig:
    """The default gate with ``KEY=VALUE`` settings in it, as ``thresholds.fps_model=-3%``.

    Raises:
        UserError: not of that form, or an unknown key.
    """
    for setting in settings:
        key, equals, _ = setting.partition("=")
        if not equals:
            raise UserError(f"{setting}: must be KEY=VALUE, as thresholds.fps_model=-3%")
        group, _, name = key.partition(".")
        if group == "thresholds" and name not in METRICS:
            raise UserError(f"{key}: no such metric; {nearest(name, METRICS)}")
    schema = OmegaConf.structured(GateConfig)
    try:
        merged = OmegaConf.merge(schema, OmegaConf.load(DEFAULT), OmegaConf.from_dotlist(list(settings)))
        gate = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = str(error.full_key or "")
        raise UserError(f"{key}: {str(error).splitlines()[0]}; {nearest(key, schema)}") from error
    assert isinstance(gate, GateConfig)
    return gate
