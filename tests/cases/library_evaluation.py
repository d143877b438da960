"""Evaluates a model as the libraries themselves do: their reading, network call, mask encoding and COCO figures."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.dataset import CocoDataset


def annotations_of(dataset: CocoDataset, folder: Path) -> Path:
    """Write an annotation file of only the data set's images, and give its path."""
    path = folder / "annotations.json"
    path.write_text(json.dumps(dataset.ground_truth()))
    return path


def torchvision_reference_evaluate(
    model: torch.nn.Module,
    dataset: CocoDataset,
    category_of: Mapping[int, int | None],
    device: torch.device,
    workers: int = 0,
) -> COCOeval:
    """Evaluate as ``engine.evaluate`` and ``coco_eval.CocoEvaluator`` of torchvision's references/detection do.

    Masks go to the host as probabilities and are encoded one by one; each image is matched as it comes, and the matches
    of all images are accumulated.

    category_of: the model's label -> category id; other labels are left out
    """
    from torch.utils.data import DataLoader
    from torchvision.datasets import CocoDetection
    from torchvision.transforms.v2.functional import pil_to_tensor, to_dtype

    with contextlib.redirect_stdout(io.StringIO()):
        images = CocoDetection(
            str(dataset.images[0].path.parent),
            str(dataset.annotations_path),
            transform=lambda image: to_dtype(pil_to_tensor(image), torch.float32, scale=True),
        )
        images.ids = [record.id for record in dataset.images]
        loader = DataLoader(images, 1, num_workers=workers, collate_fn=lambda batch: tuple(zip(*batch, strict=True)))
        evaluation = COCOeval(images.coco, iouType="segm")
        matched = []
        for image_id, (batch, _) in zip(images.ids, loader, strict=True):
            with torch.inference_mode():
                [output] = model([image.to(device) for image in batch])
            results = _torchvision_results(output, image_id, category_of)
            evaluation.cocoDt = images.coco.loadRes(results) if results else COCO()
            evaluation.params.imgIds = [image_id]
            evaluation.evaluate()
            matched.append(np.reshape(evaluation.evalImgs, (len(dataset.categories), -1, 1)))
        _accumulate(evaluation, images.ids, matched)
    return evaluation


def _accumulate(evaluation: COCOeval, image_ids: list[int], matched: list[np.ndarray]) -> None:
    """Accumulate the matches of single images, each (categories, areas, 1), as those of one evaluation."""
    evaluation.params.imgIds = image_ids
    evaluation._paramsEval = copy.deepcopy(evaluation.params)
    evaluation.evalImgs = list(np.concatenate(matched, axis=2).flatten())
    evaluation.accumulate()
    evaluation.summarize()


def _torchvision_results(
    output: Mapping[str, torch.Tensor], image_id: int, category_of: Mapping[int, int | None]
) -> list[dict[str, Any]]:
    """Give the model's output for one image as COCO results, without labels that have no category."""
    host = {key: value.cpu() for key, value in output.items()}
    return [
        {
            "image_id": image_id,
            "category_id": category_of[label],
            "segmentation": mask_api.encode(np.asfortranarray(mask[0] > 0.5)),
            "score": score,
        }
        for mask, label, score in zip(
            host["masks"].numpy(), host["labels"].tolist(), host["scores"].tolist(), strict=True
        )
        if category_of.get(label) is not None
    ]


def mmdet_test_loop(
    config: Any, detector: Any, dataset: CocoDataset, folder: Path | None = None, workers: int = 0
) -> dict[str, float]:
    """Evaluate as mmengine's ``TestLoop`` does, with ``test_dataloader``, ``test_step`` on batches of one and
    ``CocoMetric`` of the config.

    folder: the folder for an annotation file of only the data set's images; None evaluates all images of its file
    """
    from mmdet.utils import register_all_modules
    from mmengine.evaluator import Evaluator
    from mmengine.runner import Runner

    register_all_modules()
    loading, metric = copy.deepcopy(config.test_dataloader), copy.deepcopy(config.test_evaluator)
    annotations = str(annotations_of(dataset, folder) if folder else dataset.annotations_path)
    names = {"classes": dataset.class_names}
    loading.dataset.update(data_root="", ann_file=annotations, metainfo=names)
    loading.dataset.data_prefix = {"img": str(dataset.images[0].path.parent)}
    loading.update(num_workers=workers, persistent_workers=workers > 0)
    metric.update(ann_file=annotations, metric=["segm"])
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        loader = Runner.build_dataloader(loading)
        evaluator = Evaluator(metric)
        evaluator.dataset_meta = loader.dataset.metainfo
        for batch in loader:
            evaluator.process(data_samples=detector.test_step(batch), data_batch=batch)
        return evaluator.evaluate(len(loader.dataset))


def detectron2_inference_on_dataset(
    predictor: Any, dataset: CocoDataset, folder: Path, workers: int = 0
) -> dict[str, float]:
    """Evaluate by ``inference_on_dataset`` with ``COCOEvaluator``; give its figures of masks, in points."""
    from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog, build_detection_test_loader
    from detectron2.data.datasets import register_coco_instances
    from detectron2.evaluation import COCOEvaluator, inference_on_dataset

    name = f"evaluated {folder}"
    register_coco_instances(name, {}, str(annotations_of(dataset, folder)), str(dataset.images[0].path.parent))
    try:
        entries = DatasetCatalog.get(name)
        assert MetadataCatalog.get(name).thing_classes == list(predictor.classes)
        mapper = DatasetMapper(
            is_train=False, augmentations=[predictor.resize], image_format="BGR" if predictor.flip_channels else "RGB"
        )
        loader = build_detection_test_loader(dataset=entries, mapper=mapper, num_workers=workers)
        evaluator = COCOEvaluator(name, tasks=("segm",), distributed=False)
        with contextlib.redirect_stdout(io.StringIO()):
            return inference_on_dataset(predictor.module, loader, evaluator)["segm"]
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
