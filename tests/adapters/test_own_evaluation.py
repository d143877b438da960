"""Compare our evaluation with each library's own on the same trained weights: mask AP agrees within 0.0005.

The library's side uses its own file reading, resize, network call, mask encoding and COCO evaluation.
detectron2's ``COCOEvaluator`` stands in test_detectron2_evaluation.py.
"""

from __future__ import annotations

import contextlib
import copy
import io
import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from library_evaluation import mmdet_test_loop, torchvision_reference_evaluate
from PIL import Image
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.classes import match_labels
from bench.data.dataset import CocoDataset, load
from bench.jobs.worker.load_model import build_predictor
from bench.passes.accuracy import mask_ap_of
from bench.passes.runner import Runner
from bench.predictor import Predictor
from bench.schema.config import DatasetConfig, ShapesConfig
from bench.schema.parts.accuracy import COCO_FIGURES

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "weights"
SIZES = ("mask_ap", "mask_ap50", "mask_ap75", "mask_ap_small", "mask_ap_medium", "mask_ap_large")
CPU = torch.device("cpu")

MMDET_CLASS_COUNTS: dict[str, dict[str, Any]] = {
    "mask_rcnn": {"roi_head": {"bbox_head": {"num_classes": 6}, "mask_head": {"num_classes": 6}}},
    "point_rend": {
        "roi_head": {
            "bbox_head": {"num_classes": 6},
            "mask_head": {"num_classes": 6},
            "point_head": {"num_classes": 6},
        }
    },
    "solo": {"mask_head": {"num_classes": 6}},
    "solov2": {"mask_head": {"num_classes": 6}},
    "mask2former": {
        "panoptic_head": {
            "num_things_classes": 6,
            "num_stuff_classes": 0,
            "loss_cls": {"class_weight": [1.0] * 6 + [0.1]},
        },
        "panoptic_fusion_head": {"num_things_classes": 6, "num_stuff_classes": 0},
    },
}
"""The changes for the six shapes that mmdet's guide to custom datasets tells a user to make."""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    cache = str(tmp_path_factory.mktemp("shapes"))
    return load(DatasetConfig(name="shapes", shapes=ShapesConfig(count=12, cache=cache)))


def weights_of(name: str) -> Path:
    path = WEIGHTS / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"no trained weights at {path}")
    return path


def model_config(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "configs" / "model" / f"{name}.yaml").read_text())


def ours(name: str, dataset: CocoDataset) -> tuple[Predictor, dict[str, float | None]]:
    """Give the predictor that the command builds, and six of its figures from the accuracy pass."""
    from run_bench import compose

    [job] = compose([f"model={name}", "dataset=shapes", "device=cpu", "detections=thresholded"])
    predictor = build_predictor(job.config, dataset, CPU, str(weights_of(name)))
    assert isinstance(predictor, Predictor)
    labels = match_labels(dataset, predictor.classes, {})
    figures = mask_ap_of(Runner(predictor, CPU, "fp32"), dataset, labels, job.config)
    assert figures["mask_ap"] > 0.1
    return predictor, {key: figures[key] for key in SIZES}


def stats(evaluation: COCOeval) -> dict[str, float | None]:
    values = zip(COCO_FIGURES, evaluation.stats.tolist(), strict=True)
    return {key: value if value > -1 else None for key, value in values if key in SIZES}


@pytest.mark.parametrize("model", MMDET_CLASS_COUNTS)
def test_mmdet_coco_metric(model: str, shapes: CocoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mmdet", reason="mmdet is not installed")
    from mmdet.evaluation.metrics import coco_metric

    _, figures = ours(f"demo_{model}_mmdet", shapes)
    evaluations: list[COCOeval] = []

    class Kept(coco_metric.COCOeval):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            evaluations.append(self)

    monkeypatch.setattr(coco_metric, "COCOeval", Kept)
    with contextlib.redirect_stdout(io.StringIO()):
        printed = mmdet_evaluates(f"demo_{model}_mmdet", MMDET_CLASS_COUNTS[model], shapes)
    [evaluation] = evaluations
    assert figures == pytest.approx(stats(evaluation), abs=0.0005)
    assert printed["coco/segm_mAP"] == pytest.approx(evaluation.stats[0], abs=0.0005)


def mmdet_evaluates(name: str, class_counts: Mapping[str, Any], dataset: CocoDataset) -> dict[str, float]:
    """mmdet's own test loop runs the zoo's config with the changes that a user makes for a model and a dataset."""
    import safetensors.torch
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.config import Config

    from adapters.mmdet.zoo import config_path

    register_all_modules()
    demo = model_config(name)
    config = Config.fromfile(config_path(demo["config"]))
    config.merge_from_dict(copy.deepcopy(demo["options"]["cfg_options"]))
    config.merge_from_dict({"model": copy.deepcopy(dict(class_counts))})
    config.model.backbone.init_cfg = None
    [resize] = [step for step in config.test_dataloader.dataset.pipeline if step.type == "Resize"]
    resize.scale = tuple(demo["options"]["scale"])
    detector = MODELS.build(config.model).eval()
    detector.load_state_dict(safetensors.torch.load_file(weights_of(name)))
    return mmdet_test_loop(config, detector, dataset)


def test_torchvision_references(shapes: CocoDataset) -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    predictor, figures = ours("demo_mask_rcnn_torchvision", shapes)
    category_of = {label: category.id for label, category in enumerate(shapes.categories, start=1)}
    assert isinstance(predictor.module, torch.nn.Module)
    evaluation = torchvision_reference_evaluate(predictor.module, shapes, category_of, CPU)
    assert figures == pytest.approx(stats(evaluation), abs=0.0005)


def test_mask2former_of_the_paper(shapes: CocoDataset) -> None:
    """transformers has no evaluation, so this takes ``instance_inference`` of the paper's code and pycocotools.

    Image processor and network are the library's; the paper's function is in maskformer_model.py.
    """
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    predictor, figures = ours("demo_mask2former_transformers", shapes)
    results: list[dict[str, Any]] = []
    for record in shapes.images:
        image = Image.open(record.path)
        logits, masks = mask2former_logits(transformers, predictor, image)
        scores = logits.softmax(-1)[:, :-1].flatten()
        best, index = scores.topk(100)
        masks = masks[index.div(len(shapes.categories), rounding_mode="floor")]
        inside = [mask[mask > 0].sigmoid() for mask in masks]
        certainty = torch.stack([values.mean() if len(values) else values.sum() for values in inside])
        for mask, label, score in zip(masks > 0, index % len(shapes.categories), best * certainty, strict=True):
            category_id = shapes.categories[int(label)].id
            rle = mask_api.encode(np.asfortranarray(mask.numpy()))
            results.append(
                {"image_id": record.id, "category_id": category_id, "segmentation": rle, "score": float(score)}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(shapes.annotations_path))
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert figures == pytest.approx(stats(evaluation), abs=0.0005)


def mask2former_logits(
    transformers: ModuleType, predictor: Predictor, image: Image.Image
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the paper's instances for class logits (Q, classes + 1) and mask logits (Q, H, W) at the image's size."""
    from torch.nn.functional import interpolate

    options = model_config("demo_mask2former_transformers")["options"]
    edges = {"shortest_edge": options["shortest_edge"], "longest_edge": options["longest_edge"]}
    processor = transformers.Mask2FormerImageProcessor
    height, width = processor(size=edges, size_divisor=0)(image, return_tensors="pt").pixel_values.shape[-2:]
    padded = {"height": math.ceil(height / 32) * 32, "width": math.ceil(width / 32) * 32}
    batch = processor(size=edges, size_divisor=0, pad_size=padded)(image, return_tensors="pt")
    with torch.inference_mode():
        output = predictor.module(**batch)
        at_input = interpolate(output.masks_queries_logits, tuple(padded.values()), mode="bilinear")
        at_image = interpolate(at_input[:, :, :height, :width], (image.height, image.width), mode="bilinear")
    return output.class_queries_logits[0], at_image[0]
