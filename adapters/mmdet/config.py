"""Prepare an mmdetection config for measuring: set classes and thresholds, drop pretrained weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config

from adapters.mmdet.pipeline import inference_steps
from adapters.mmdet.zoo import config_path
from bench.errors import UserError
from bench.predictor import Checkpoint, Settings


@dataclass
class ReadyConfig:
    """A config that is ready.

    config: mmdet's config, whose ``model`` builds the network
    classes: the names in the order of the labels
    pipeline: the test transforms, which begin with an array in place of a file
    max_candidates: the most candidates an image that SOLO makes masks for; None for mmdet's own way, no limit
    """

    config: Any
    classes: tuple[str, ...]
    pipeline: list[Any]
    max_candidates: int | None


def ready_config(settings: Settings, scale: Sequence[int] | None, cfg_options: Mapping[str, Any]) -> ReadyConfig:
    """Prepare the config that ``settings.config`` names.

    scale: (width, height) in pixels for the resize of the test pipeline, in place of its own
    cfg_options: changes to the config, nested or dotted as in ``Config.merge_from_dict``

    Raises:
        UserError: the config is unknown or not for instance segmentation, or its pipeline cannot resize to ``scale``.
    """
    if settings.config is None:
        raise UserError("model.config: name the mmdet config, such as mask-rcnn_r50_fpn_2x_coco")
    config = Config.fromfile(config_path(settings.config))
    if not _makes_masks(config):
        raise UserError(
            f"model.config={settings.config}: not an instance-segmentation config, mmdet tests no masks on it"
        )
    config.merge_from_dict(copy.deepcopy(dict(cfg_options)))  # merging removes the _delete_ marks from its argument
    for node in _dicts(config.model):
        _drop_pretrained(node)
    return ReadyConfig(
        config=config,
        classes=_set_classes(config, settings.classes, settings.checkpoint),
        pipeline=inference_steps(config, scale),
        max_candidates=_set_test_cfg(config.model, settings),
    )


def _makes_masks(config: Any) -> bool:
    """Tell whether a config is for instance segmentation.

    Of one architecture for instance and panoptic configs, only the evaluator tells them apart. Those of Cascade Mask
    R-CNN's 3x schedule have an evaluator of boxes, and weights whose mask AP the zoo publishes.
    """
    model = config.model
    has_head = bool((model.get("roi_head") or model).get("mask_head")) and "panoptic_fusion_head" not in model
    return has_head or "'segm'" in str(config.get("test_evaluator"))


def _dicts(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield node
        # HTC and SCNet segment COCO-stuff beside the instances, with other classes than the dataset's.
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


def _set_classes(config: Any, names: tuple[str, ...] | None, checkpoint: Checkpoint | None) -> tuple[str, ...]:
    """Set the number of classes of every head for ``names``, and give the names; None gives the config's own.

    A panoptic network keeps its outputs for stuff where ``names`` or the checkpoint have them.
    """
    model = config.model
    if "panoptic_on" in model.test_cfg:
        model.test_cfg.panoptic_on = False
    if names is None:
        dataset = config.test_dataloader.dataset
        meta = {**DATASETS.get(dataset.type).METAINFO, **dataset.get("metainfo", {})}
        return tuple(meta.get("thing_classes") or meta["classes"])
    head = model.get("panoptic_head", {})
    stuff = head.get("num_stuff_classes", 0)
    if stuff and _has_stuff(checkpoint, names, head["num_things_classes"], stuff):
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


def _has_stuff(checkpoint: Checkpoint | None, names: tuple[str, ...], things: int, stuff: int) -> bool:
    outputs = checkpoint.state_dict.get("panoptic_head.cls_embed.weight") if checkpoint else None
    trained = outputs is not None and len(outputs) == things + stuff + 1  # the last is "no object"
    return len(names) == things + stuff or (len(names) == things and trained)


def _set_test_cfg(model: Any, settings: Settings) -> int | None:
    test, threshold = model.test_cfg.get("rcnn") or model.test_cfg, settings.score_threshold
    if "max_per_img" in test:
        test.max_per_img = settings.max_detections
    if "top_k" in test:  # YOLACT: of one class, before NMS
        test.top_k = max(test.top_k, settings.max_detections)
    if "num_proposals" in model.get("rpn_head", {}):
        test.max_per_img = _queries(model.rpn_head.num_proposals, settings.max_detections)
    if "panoptic_head" in model:
        head = model.panoptic_head
        most = max(settings.max_detections, test.get("max_per_image", 100))  # sorted by another score after this cut
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


def _queries(count: int, max_detections: int) -> int:
    """Give QueryInst's number of instances an image: ``SparseRoIHead.predict_bbox`` can give its queries' number alone.

    Raises:
        UserError: more are asked for.
    """
    if max_detections > count:
        raise UserError(
            f"protocol.max_detections={max_detections}: mmdet's QueryInst gives one instance for each of its {count} "
            f"queries; give protocol.max_detections={count}"
        )
    return count
