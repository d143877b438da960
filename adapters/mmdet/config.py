"""An mmdetection config made ready to be measured: classes, thresholds, test pipeline, no pretrained backbone."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmdet.registry import DATASETS
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config

from adapters.mmdet.zoo import config_path
from bench.errors import UserError
from bench.predictor import Settings

STRIDE = 32
"""Of the coarsest features: sides that it does not divide are not alike on the way down and on the way up."""


@dataclass
class ReadyConfig:
    """``config.model`` builds the network and ``pipeline`` is the list of test transforms after reading a file.

    max_candidates: how many candidates SOLO's mask stage may take an image; None is mmdet's own way, no bound.
    """

    config: Any
    classes: tuple[str, ...]
    pipeline: list[Any]
    max_candidates: int | None


def ready_config(settings: Settings, scale: Sequence[int] | None, cfg_options: Mapping[str, Any]) -> ReadyConfig:
    """The config that ``settings.config`` names, with ``cfg_options`` merged in and ``scale`` (width, height) as the
    test pipeline's.

    Raises:
        UserError: the config is unknown, or not one for instance segmentation.
    """
    if settings.config is None:
        raise UserError("model.config: name the mmdet config, such as mask-rcnn_r50_fpn_2x_coco")
    config = Config.fromfile(config_path(settings.config))
    # The evaluator tells: one architecture serves instance and panoptic configs.
    if "'segm'" not in str(config.get("test_evaluator")):
        raise UserError(
            f"model.config={settings.config}: not an instance-segmentation config, mmdet tests no masks on it"
        )
    config.merge_from_dict(copy.deepcopy(dict(cfg_options)))  # merging takes the _delete_ marks out
    for node in _dicts(config.model):
        _drop_pretrained(node)
    return ReadyConfig(
        config=config,
        classes=_set_classes(config, settings.classes),
        pipeline=_pipeline(config, scale),
        max_candidates=_set_test_cfg(config.model, settings),
    )


def _dicts(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield node
        # HTC and SCNet segment COCO-stuff beside the instances: those classes are not the data set's.
        node = [value for key, value in node.items() if key != "semantic_head"]
    if isinstance(node, (list, tuple)):
        for value in node:
            yield from _dicts(value)


def _drop_pretrained(node: Any) -> None:
    init = node.get("init_cfg")
    if isinstance(init, dict) and (init.get("type") == "Pretrained" or "checkpoint" in init):
        node["init_cfg"] = None
    if "pretrained" in node:
        node["pretrained"] = None


def _set_classes(config: Any, names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Size every head for ``names``; without names, give those of the config's own data set."""
    model = config.model
    if "panoptic_on" in model.test_cfg:
        model.test_cfg.panoptic_on = False
    if names is None:
        dataset = config.test_dataloader.dataset
        meta = {**DATASETS.get(dataset.type).METAINFO, **dataset.get("metainfo", {})}
        return tuple(meta.get("thing_classes") or meta["classes"])
    head = model.get("panoptic_head", {})
    stuff = head.get("num_stuff_classes", 0)
    if stuff and len(names) == head["num_things_classes"] + stuff:
        return names[: head["num_things_classes"]]
    count = len(names)
    for node in _dicts(model):
        for key, value in (("num_classes", count), ("num_things_classes", count), ("num_stuff_classes", 0)):
            if key in node:
                node[key] = value
        weight = node.get("class_weight")
        if isinstance(weight, (list, tuple)):  # Mask2Former: one a class, and the last for "no object"
            node["class_weight"] = [1.0] * count + [weight[-1]]
    return names


def _set_test_cfg(model: Any, settings: Settings) -> int | None:
    test, threshold = model.test_cfg.get("rcnn") or model.test_cfg, settings.score_threshold
    if "max_per_img" in test:
        test.max_per_img = settings.max_detections
    if "panoptic_head" in model:
        head = model.panoptic_head
        most = max(settings.max_detections, test.get("max_per_image", 100))  # ranked anew after this cut
        test.max_per_image = min(most, head.num_queries * head.num_things_classes)
    if threshold is None:
        return None
    is_solo, lowered = "filter_thr" in test, threshold < test.get("score_thr", 0.0)
    for key in ("score_thr", "filter_thr"):
        if key in test:
            test[key] = threshold
    if is_solo and threshold == 0 and settings.checkpoint is None and model.mask_head.type != "SOLOV2Head":
        # SOLO starts from a mask probability of 0.01 (decoupled: 0.01 twice): at 0.5 no mask would be left.
        test.mask_thr = 0.01 if model.mask_head.type == "SOLOHead" else 0.0001
    # SOLO makes a mask for every class score above score_thr, before nms_pre: 300,000 at threshold 0.
    return int(test.nms_pre) if is_solo and lowered else None


def _pipeline(config: Any, scale: Sequence[int] | None) -> list[Any]:
    """mmdet's test transforms, fed with an array as ``mmdet.apis.inference_detector`` feeds them."""
    first, *rest = get_test_pipeline_cfg(config)
    steps = [dict(first, type="LoadImageFromNDArray"), *(s for s in rest if "Annotations" not in s["type"])]
    if scale is not None:
        _set_scale(steps, (int(scale[0]), int(scale[1])))
    return steps


def _set_scale(steps: list[Any], scale: tuple[int, int]) -> None:
    """Resize to ``scale`` (width, height), and pad to a square of it where the pipeline pads to one size (RTMDet).

    Raises:
        UserError: the pipeline does not resize, or stretches every image to one size (YOLACT) and ``scale`` is no
            square: images that lie and that stand would not be scaled alike.
    """
    resizes = [step for step in steps if step["type"] == "Resize"]
    if not resizes:
        raise UserError(
            "model.config: its test pipeline has no Resize, so it takes neither input_size nor model.options.scale"
        )
    for step in resizes:
        if not step.get("keep_ratio", False) and scale[0] != scale[1]:
            raise UserError(
                f"model.config: stretches every image to one size, so it takes only a square one and not "
                f"{min(scale)}x{max(scale)}; give {max(scale)}x{max(scale)}"
            )
        step["scale"] = scale
    side = math.ceil(max(scale) / STRIDE) * STRIDE
    for step in steps:
        if step["type"] == "Pad" and step.get("size") is not None:
            step["size"] = (side, side)
