"""Build detectron2's networks from the two forms of its configs: YAML ("yacs") and Python ("lazy")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from detectron2.config import CfgNode, LazyConfig, get_cfg, instantiate
from detectron2.data import transforms as T  # noqa: N812
from detectron2.modeling import GeneralizedRCNN, build_model
from detectron2.projects.point_rend import add_pointrend_config

from bench.errors import UserError
from bench.predictor import Settings

SCORE_MODULES = (
    *("proposal_generator.rpn_head", "roi_heads.box_predictor", "roi_heads.mask_head.predictor"),
    *("roi_heads.mask_head.coarse_head", "roi_heads.mask_head.point_head"),
)
"""The modules whose output becomes scores and masks, of all heads that a network may have."""


class Built(NamedTuple):
    """A network, and from its config the resize, the channel order and the name of its dataset ("" for none)."""

    module: GeneralizedRCNN
    resize: T.Augmentation
    input_format: str
    dataset: str


def with_edges(resize: T.Augmentation, min_size: int | None, max_size: int | None) -> T.Augmentation:
    """Give the config's resize, with the edges that are given, in pixels, in place of its own.

    Raises:
        UserError: an edge is given and the resize is not ``ResizeShortestEdge``.
    """
    if min_size is None and max_size is None:
        return resize
    if not isinstance(resize, T.ResizeShortestEdge):
        raise UserError(
            f"model.config: resizes by {type(resize).__name__}, which takes neither input_size nor min_size and "
            f"max_size of model.options; choose a config with ResizeShortestEdge"
        )
    shorter = max(resize.short_edge_length) if min_size is None else min_size
    longer = resize.max_size if max_size is None else max_size
    return T.ResizeShortestEdge([shorter, shorter], longer, interp=resize.interp)


def build_yacs(path: str, settings: Settings, overrides: Mapping[str, Any]) -> Built:
    """Build the network of a YAML config, the form of most of the zoo.

    Raises:
        UserError: the config or ``overrides`` hold a key or a value that detectron2 does not know.
    """
    cfg = get_cfg()
    add_pointrend_config(cfg)
    where = path
    try:
        # A config needs no Python objects, and to allow them would let the file run code.
        cfg.merge_from_file(path, allow_unsafe=False)
        where = "model.options.cfg"
        cfg.merge_from_other_cfg(CfgNode(dict(overrides)))
    except (KeyError, ValueError) as error:
        raise UserError(f"{where}: {error.args[0]}; keys are those of detectron2/config/defaults.py") from error
    if settings.classes is not None:
        cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.POINT_HEAD.NUM_CLASSES = len(settings.classes)
    if settings.score_threshold is not None:
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = settings.score_threshold
    cfg.TEST.DETECTIONS_PER_IMAGE = settings.max_detections
    cfg.MODEL.DEVICE = str(settings.device)
    cfg.MODEL.WEIGHTS = ""
    resize = T.ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MIN_SIZE_TEST], cfg.INPUT.MAX_SIZE_TEST)
    return Built(build_model(cfg), resize, cfg.INPUT.FORMAT, next(iter(cfg.DATASETS.TEST), ""))


def build_lazy(path: str, settings: Settings, overrides: Mapping[str, Any]) -> Built:
    """Build the network of a Python ("lazy") config, the form of the zoo's ``new_baselines``."""
    cfg = LazyConfig.load(path)
    cfg.merge_with(dict(overrides))
    heads = cfg.model.roi_heads
    if settings.classes is not None:
        heads.num_classes = len(settings.classes)
    # Cascade heads have a list of predictors, and take the threshold and the limit from the first.
    predictor = heads.box_predictor if "_target_" in heads.box_predictor else heads.box_predictor[0]
    if settings.score_threshold is not None:
        predictor.test_score_thresh = settings.score_threshold
    predictor.test_topk_per_image = settings.max_detections
    test = cfg.dataloader.test
    resize = instantiate(test.mapper.augmentations[0])
    return Built(instantiate(cfg.model).to(settings.device), resize, test.mapper.image_format, test.dataset.names)
