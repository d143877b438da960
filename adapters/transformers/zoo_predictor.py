"""Run any checkpoint of the library's instance-segmentation classes by its id on the hub, or from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from adapters.transformers.build import named
from adapters.transformers.families import FAMILIES, Family
from adapters.transformers.labels import Columns
from adapters.transformers.predictor import TransformersPredictor
from adapters.transformers.processor import FILES, inputs_of
from adapters.transformers.zoo import model_type, read_json
from bench.errors import UserError
from bench.predictor import Settings


class ZooPredictor(TransformersPredictor):
    """A checkpoint in the hub's layout: ``config.json`` is the network's configuration, ``processor_config.json`` or
    ``preprocessor_config.json`` says the resize and the colours' mean and deviation.

    shortest_edge, longest_edge: another resize than the checkpoint's, in pixels; both or neither

    With a checkpoint the classes are those that its configuration names, else those of the settings.

    Raises:
        UserError: the checkpoint's files cannot be had, are of another class of model, do not fit the weights, or ask
            for inputs that maskbench does not make.
    """

    @classmethod
    def config_files(cls, path: Path) -> list[Path]:
        return [file for name in ("config.json", *FILES) if (file := path / name).is_file()]

    def __init__(self, settings: Settings, shortest_edge: int | None = None, longest_edge: int | None = None) -> None:
        name = settings.config
        if name is None:
            raise UserError("model.config is missing; give an id on the hub (owner/name) or the folder of a checkpoint")
        content = read_json(name, "config.json")
        kind = model_type(name, content)
        self.family = FAMILIES[kind]
        config = _config(name, self.family, content)
        if settings.checkpoint is not None:
            columns = Columns.named(config.id2label, settings.classes)
        elif settings.classes is not None:
            columns = Columns.of(tuple(settings.classes), None)
        else:
            columns = Columns.named(config.id2label, None)
        for key, value in named(columns.names).items():
            setattr(config, key, value)
        inputs, self.notes = inputs_of(name, kind, self.family, _edges(shortest_edge, longest_edge))
        self.set_up(settings, config, columns, inputs)


def _config(name: str, family: Family, content: dict[str, Any]) -> PretrainedConfig:
    try:
        return family.model.config_class.from_dict(content)
    except Exception as error:  # the library checks types and values in many ways
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"model.config={name}: its config.json is not one of transformers ({reason})") from error


def _edges(shortest: int | None, longest: int | None) -> tuple[int, int] | None:
    if shortest is None and longest is None:
        return None
    if shortest is None or longest is None:
        given, other = ("shortest_edge", "longest_edge") if longest is None else ("longest_edge", "shortest_edge")
        raise UserError(f"model.options.{given} is given alone; give model.options.{other}=PIXELS too, or input_size")
    return shortest, longest
