"""Compare our evaluation with detectron2's own data loader, model and ``COCOEvaluator``, on generated shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bench.data.classes import match_labels
from bench.data.dataset import CocoDataset, load, paths
from bench.data.shapes.generate import CLASSES
from bench.files.json_file import from_dict
from bench.jobs.worker.load_model import build_predictor
from bench.passes import accuracy
from bench.passes.predictions import to_results
from bench.predictor import Instances
from bench.schema.config import BenchConfig

pytest.importorskip("detectron2", reason="detectron2 is not installed: docs/install.md says how")

from contexts import context_of
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog, build_detection_test_loader
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator, inference_on_dataset
from detectron2.modeling import build_model
from detectron2.projects.point_rend import add_pointrend_config
from detectron2.structures import Boxes
from detectron2.structures import Instances as Detectron2Instances
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
DEMOS = ("demo_mask_rcnn_detectron2", "demo_point_rend_detectron2")
FIGURES = {
    "mask_ap": "AP",
    "mask_ap50": "AP50",
    "mask_ap75": "AP75",
    "mask_ap_small": "APs",
    "mask_ap_medium": "APm",
    "mask_ap_large": "APl",
}
TOLERANCE = 0.0005


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("shapes"))


def bench_config(cache: str, count: int, model: str = DEMOS[0]) -> BenchConfig:
    given = yaml.safe_load((ROOT / "configs" / "model" / f"{model}.yaml").read_text())
    dataset = {"name": "shapes", "shapes": {"split": "val", "count": count, "cache": cache}}
    return from_dict(BenchConfig, {"model": {**given, "name": model}, "dataset": dataset, "device": "cpu"})


def registered(name: str, images: Path, annotations: Path) -> Iterator[str]:
    """Register a dataset in detectron2's catalogue, and remove it at the end."""
    register_coco_instances(name, {}, str(annotations), str(images))
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def assert_same_figures(ours: dict[str, float | None], theirs: dict[str, float], tolerance: float) -> None:
    for our_name, their_name in FIGURES.items():
        assert ours[our_name] == pytest.approx(theirs[their_name] / 100, abs=tolerance), our_name


@pytest.mark.parametrize("name", DEMOS)
def test_trained_model_has_the_librarys_own_ap(name: str, cache: str, tmp_path: Path) -> None:
    weights = ROOT / "weights" / f"{name}.safetensors"
    if not weights.is_file():
        pytest.skip(f"no trained weights yet: {weights.relative_to(ROOT)}")
    config = bench_config(cache, 16, name)
    config.model.weights = str(weights)
    dataset = load(config.dataset)
    predictor = build_predictor(config, dataset, torch.device("cpu"), str(weights))
    labels = match_labels(dataset, predictor.classes, {})
    ours = accuracy.PASS.measure(context_of(predictor, dataset, config, labels=labels, folder=tmp_path))

    cfg = get_cfg()
    add_pointrend_config(cfg)
    cfg.merge_from_file(model_zoo.get_config_file(config.model.config))
    cfg.merge_from_other_cfg(CfgNode(config.model.options["cfg"]))
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.POINT_HEAD.NUM_CLASSES = len(CLASSES)
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg)
    model.load_state_dict(load_file(weights))
    for registration in registered(f"{name}-val", *paths(config.dataset)):
        entries = DatasetCatalog.get(registration)
        assert len(entries) == 16
        assert MetadataCatalog.get(registration).thing_classes == list(predictor.classes)
        loader = build_detection_test_loader(dataset=entries, mapper=DatasetMapper(cfg, is_train=False), num_workers=0)
        evaluator = COCOEvaluator(registration, tasks=("segm",), distributed=False, use_fast_impl=False)
        theirs = inference_on_dataset(model, loader, evaluator)["segm"]
    assert theirs["AP"] > 30
    assert ours.figures is not None
    assert_same_figures(ours.figures, theirs, TOLERANCE)
    assert ours.per_class is not None
    for class_name, value in ours.per_class.items():
        assert value == pytest.approx(theirs[f"AP-{class_name}"] / 100, abs=TOLERANCE)


@pytest.fixture(scope="module")
def sparse(cache: str, tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    """Give sixteen images of shapes, one without annotations and two with crowds.

    The category ids have gaps, and their order is not that of the names.
    """
    config = bench_config(cache, 16)
    images, annotations = paths(config.dataset)
    data = json.loads(annotations.read_text())
    ids = dict(zip(range(1, 7), (90, 3, 17, 44, 8, 61), strict=True))
    for category in data["categories"]:
        category["id"] = ids[category["id"]]
    for annotation in data["annotations"]:
        annotation["category_id"] = ids[annotation["category_id"]]
    path = tmp_path_factory.mktemp("sparse") / "instances.json"
    path.write_text(json.dumps(data))
    config.dataset.shapes, config.dataset.images, config.dataset.annotations = None, str(images), str(path)
    return load(config.dataset)


def made_predictions(dataset: CocoDataset) -> dict[int, Instances]:
    """Give the predictions of a mediocre model by image, labels by ``CLASSES``.

    True masks are moved by up to four pixels, and some have another class. False ones are everywhere, but the first
    image has no predictions. The boxes are twice as wide as the masks, so that their areas fall into other size
    classes.
    """
    from pycocotools.coco import COCO

    coco, rng = COCO(str(dataset.annotations_path)), np.random.default_rng(0)
    names = {category.id: CLASSES.index(category.name) for category in dataset.categories}
    by_image = {}
    for record in dataset.images:
        masks, labels = [], []
        for annotation in coco.loadAnns(coco.getAnnIds(record.id)):
            masks.append(np.roll(coco.annToMask(annotation).astype(bool), rng.integers(-4, 5, 2), (0, 1)))
            right = rng.random() < 0.85
            labels.append(names[annotation["category_id"]] if right else int(rng.integers(len(CLASSES))))
        for _ in range(3):
            mask = np.zeros((record.height, record.width), bool)
            top, left, side = rng.integers(0, 120), rng.integers(0, 120), rng.integers(10, 80)
            mask[top : top + side, left : left + side] = True
            masks.append(mask)
            labels.append(int(rng.integers(len(CLASSES))))
        keep = slice(0, 0 if record is dataset.images[0] else None)
        pixels = torch.from_numpy(np.stack(masks))[keep]
        scores = torch.from_numpy(np.sort(rng.random(len(masks)).astype(np.float32))[::-1].copy())[keep]
        by_image[record.id] = Instances(pixels, wide_boxes(pixels), scores, torch.tensor(labels)[keep])
    return by_image


def wide_boxes(masks: torch.Tensor) -> torch.Tensor:
    boxes = torch.zeros(len(masks), 4)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        width = columns.max() - columns.min()
        box[:] = torch.stack([columns.min(), rows.min(), columns.max() + width, rows.max()]).float()
    return boxes


@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_made_predictions_have_the_same_figures(evaluator: str, sparse: CocoDataset) -> None:
    predictions = made_predictions(sparse)
    labels = match_labels(sparse, CLASSES, {})
    ours = accuracy.EVALUATORS[evaluator](sparse)
    for image_id, instances in predictions.items():
        ours.update(image_id, to_results(instances, image_id, labels))
    figures, per_class = ours.figures()

    for registration in registered("sparse", sparse.images[0].path.parent, sparse.annotations_path):
        assert len(DatasetCatalog.get(registration)) == 16
        metadata = MetadataCatalog.get(registration)
        order = [metadata.thing_classes.index(name) for name in CLASSES]
        assert order != sorted(order)
        library = COCOEvaluator(registration, tasks=("segm",), distributed=False, use_fast_impl=False)
        library.reset()
        for image_id, instances in predictions.items():
            library.process([{"image_id": image_id}], [{"instances": as_detectron2(instances, order)}])
        theirs = library.evaluate()["segm"]
    assert 5 < min(theirs[name] for name in FIGURES.values()) < max(theirs[name] for name in FIGURES.values()) < 95
    assert_same_figures(figures, theirs, 1e-9)
    assert per_class == {name: pytest.approx(theirs[f"AP-{name}"] / 100, abs=1e-9) for name in CLASSES}


def as_detectron2(instances: Instances, order: list[int]) -> Detectron2Instances:
    """Give instances as detectron2 hands them to its evaluator; ``order`` gives its label for each of ours."""
    return Detectron2Instances(
        tuple(instances.masks.shape[-2:]),
        pred_masks=instances.masks,
        pred_boxes=Boxes(instances.boxes),
        scores=instances.scores,
        pred_classes=torch.tensor(order)[instances.labels],
    )
