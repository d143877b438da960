"""Mask AP against pycocotools called directly, and the rules that are ours to keep."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.accuracy import EVALUATORS, to_results, without_overlap
from bench.config import DatasetConfig, ShapesConfig
from bench.dataset import CocoDataset, load
from bench.predictor import Instances
from bench.result import COCO_FIGURES, read_result

REAL = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "coco_val_cc"


def referee(truth_file: Path, results: list[dict[str, Any]]) -> tuple[np.ndarray, list[float]]:
    """pycocotools on the annotation file itself: the twelve figures, and AP by rising category id."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth_file))
        evaluation = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_class = [p[p > -1].mean() if (p > -1).any() else -1.0 for p in np.moveaxis(precision, 2, 0)]
    return evaluation.stats, per_class


def perturbed(truth_file: Path, seed: int) -> list[dict[str, Any]]:
    """The ground truth as a model might see it: shifted masks, wrong classes, misses, doubles, ties in scores."""
    rng = np.random.default_rng(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth_file))
    categories = truth.getCatIds()
    results = []
    for annotation in truth.dataset["annotations"]:
        if annotation["iscrowd"] or rng.random() < 0.15:
            continue
        for _ in range(rng.integers(1, 4)):
            mask = np.roll(truth.annToMask(annotation), rng.integers(-6, 7, size=2), axis=(0, 1))
            rle = mask_api.encode(np.asfortranarray(mask))
            rle["counts"] = rle["counts"].decode()
            wrong = rng.random() < 0.2
            results.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": int(rng.choice(categories)) if wrong else annotation["category_id"],
                    "segmentation": rle,
                    "score": round(float(rng.random()), 1) if rng.random() < 0.5 else float(rng.random()),
                }
            )
    return results


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    cache = str(tmp_path_factory.mktemp("shapes"))
    return load(DatasetConfig(name="shapes", shapes=ShapesConfig(count=30, seed=3, cache=cache)))


@pytest.mark.parametrize("evaluator", sorted(EVALUATORS))
@pytest.mark.parametrize("seed", [0, 1])
def test_figures_equal_pycocotools(shapes: CocoDataset, evaluator: str, seed: int) -> None:
    results = perturbed(shapes.annotations_path, seed)
    ours = EVALUATORS[evaluator](shapes)
    for image in shapes.images:
        ours.update(image.id, [r for r in results if r["image_id"] == image.id])
    figures, per_class = ours.figures()
    stats, classes = referee(shapes.annotations_path, results)
    assert 0.1 < stats[0] < 0.9
    expected = {name: value if value > -1 else None for name, value in zip(COCO_FIGURES, stats, strict=True)}
    assert figures == {k: v if v is None else pytest.approx(v, abs=1e-9) for k, v in expected.items()}
    assert list(per_class) == list(shapes.class_names)
    for found, wanted in zip(per_class.values(), classes, strict=True):
        assert found == (pytest.approx(wanted, abs=1e-9) if wanted > -1 else None)


@pytest.mark.parametrize("evaluator", sorted(EVALUATORS))
def test_no_detections_at_all_is_zero(shapes: CocoDataset, evaluator: str) -> None:
    ours = EVALUATORS[evaluator](shapes)
    for image in shapes.images:
        ours.update(image.id, [])
    figures, _ = ours.figures()
    assert figures["mask_ap"] == 0.0


def test_limited_dataset_counts_only_its_images(shapes: CocoDataset) -> None:
    limited = load(
        DatasetConfig(
            name="s", images=str(shapes.images[0].path.parent), annotations=str(shapes.annotations_path), limit=5
        )
    )
    results = [r for r in perturbed(shapes.annotations_path, 2) if r["image_id"] in {i.id for i in limited.images}]
    ours = EVALUATORS["hotcoco"](limited)
    for image in limited.images:
        ours.update(image.id, [r for r in results if r["image_id"] == image.id])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(shapes.annotations_path))
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.params.imgIds = [i.id for i in limited.images]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert ours.figures()[0]["mask_ap"] == pytest.approx(evaluation.stats[0], abs=1e-9)


def test_without_overlap_gives_each_pixel_to_the_highest_score() -> None:
    masks = torch.tensor(
        [
            [[1, 1, 0], [0, 0, 0]],
            [[1, 1, 1], [0, 0, 0]],
            [[0, 1, 1], [0, 1, 0]],
        ],
        dtype=torch.bool,
    )
    expected = [
        [[1, 1, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 0]],
        [[0, 0, 0], [0, 1, 0]],
    ]
    assert without_overlap(masks).int().tolist() == expected
    assert without_overlap(masks[:0]).shape == (0, 2, 3)


def test_results_carry_no_box_and_unrounded_scores() -> None:
    instances = Instances(
        masks=torch.ones(2, 2, 3, dtype=torch.bool),
        boxes=torch.zeros(2, 4),
        scores=torch.tensor([0.1234567, 0.1]),
        labels=torch.tensor([1, 0]),
    )
    [result] = to_results(instances, 5, [None, 9])
    assert result == {
        "image_id": 5,
        "category_id": 9,
        "segmentation": {"size": [2, 3], "counts": "06"},
        "score": float(np.float32(0.1234567)),
    }


@pytest.mark.skipif(not REAL.exists(), reason="the COCO photographs are not beside this checkout")
def test_replay_on_real_annotations(run_command: Any, tmp_path: Path) -> None:
    """The whole way through the command: the truth itself is perfect, a perturbed one equals pycocotools."""
    truth = REAL / "instances.json"
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
    perfect = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "segmentation": a["segmentation"], "score": 1.0}
        for a in coco.dataset["annotations"]
        if not a["iscrowd"]
    ]
    worse = perturbed(truth, 4)
    (tmp_path / "perfect.json").write_text(json.dumps(perfect))
    (tmp_path / "worse.json").write_text(json.dumps(worse))
    files = f"{tmp_path / 'perfect.json'},{tmp_path / 'worse.json'}"
    done = run_command(
        "model=replay",
        f"model.options.results={files}",
        "dataset=coco",
        f"dataset.images={REAL / 'images'}",
        f"dataset.annotations={truth}",
        "device=cpu",
        f"out={tmp_path / 'out'}",
    )
    assert done.returncode == 0, done.stderr
    found = {}
    for path in (tmp_path / "out").glob("jobs/*/result.json"):
        result = read_result(path)
        assert result.accuracy is not None
        found[Path(result.config["model"]["options"]["results"]).stem] = result.accuracy.figures
    assert found["perfect"] is not None
    assert found["perfect"]["mask_ap"] == 1.0
    stats, _ = referee(truth, worse)
    assert found["worse"] == {name: pytest.approx(v, abs=1e-9) for name, v in zip(COCO_FIGURES, stats, strict=True)}
