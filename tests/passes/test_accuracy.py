"""Compares mask AP with pycocotools called directly, and tests the rules that this pass must keep."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts import context_of
from evaluator_cases import Replay, crowded, decoded
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.dataset import CocoDataset, from_coco, load
from bench.evaluation import boundary, matching, overlaps, rle
from bench.evaluation.rle import masks_without_overlap, overlaps_removed, rles_without_overlap
from bench.passes.accuracy import EVALUATORS, PASS, mask_ap_of
from bench.passes.background import Background, done_ahead
from bench.passes.predictions import to_results
from bench.passes.runner import Runner
from bench.predictor import Instances, Predictor
from bench.schema.config import BenchConfig, DatasetConfig, FinetuneConfig, ModelConfig, ProtocolConfig, ShapesConfig
from bench.schema.parts.accuracy import BOUNDARY_FIGURES, COCO_FIGURES, TIDE_ERRORS, AccuracyResult
from bench.schema.result import read_result

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT / ".." / "shared" / "data" / "coco_val_cc"


def referee(truth_file: Path, results: list[dict[str, Any]]) -> tuple[np.ndarray, list[float]]:
    """Run pycocotools on the annotation file itself; give the twelve figures, and the AP by rising category id."""
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
    """Make results that err as a model might: shifted masks, wrong classes, misses, doubles, equal scores."""
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
    for value, wanted in zip(per_class.values(), classes, strict=True):
        assert value == (pytest.approx(wanted, abs=1e-9) if wanted > -1 else None)


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
    assert masks_without_overlap(masks).int().tolist() == expected
    assert masks_without_overlap(masks[:0]).shape == (0, 2, 3)


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


def passed(
    results: list[dict[str, Any]], dataset: CocoDataset, folder: Path, **settings: Any
) -> tuple[AccuracyResult, list[dict[str, Any]]]:
    """Run the accuracy pass over a replay; give its result, and the predictions on disk."""
    config = BenchConfig(**{"model": ModelConfig(weights="own"), **settings})
    accuracy = PASS.measure(context_of(Replay(results), dataset, config, labels=[], folder=folder))
    return accuracy, json.loads((folder / accuracy.predictions).read_text())


def cut_apart(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each pixel to the highest-scoring result of its image, on whole label maps."""
    owners: dict[int, np.ndarray] = {}
    apart = []
    for number, r in enumerate(sorted(results, key=lambda r: -r["score"]), start=1):
        mask = mask_api.decode(r["segmentation"]).astype(bool)
        owner = owners.setdefault(r["image_id"], np.zeros(mask.shape, int))
        owner[mask & (owner == 0)] = number
        encoded = mask_api.encode(np.asfortranarray((owner == number).astype(np.uint8)))
        apart.append({**r, "segmentation": {**encoded, "counts": encoded["counts"].decode()}})
    return apart


@pytest.mark.parametrize("evaluator", sorted(EVALUATORS))
def test_the_pass_says_everything(shapes: CocoDataset, tmp_path: Path, evaluator: str) -> None:
    results = perturbed(shapes.annotations_path, 5)
    accuracy, predictions = passed(results, shapes, tmp_path, evaluator=evaluator)
    stats, classes = referee(shapes.annotations_path, predictions)
    apart, _ = referee(shapes.annotations_path, cut_apart(results))
    assert accuracy.figures == {k: pytest.approx(v, abs=1e-9) for k, v in zip(COCO_FIGURES, stats, strict=True)}
    assert list((accuracy.per_class or {}).values()) == pytest.approx(classes, abs=1e-9)
    assert accuracy.overlap_mask_ap == {
        "keep": pytest.approx(stats[0], abs=1e-9),
        "highest_score": pytest.approx(apart[0], abs=1e-9),
    }
    assert apart[0] < stats[0] - 0.01
    assert accuracy.boundary_figures is not None
    assert list(accuracy.boundary_figures) == list(BOUNDARY_FIGURES)
    assert 0 < (accuracy.boundary_figures["boundary_ap"] or 0) < stats[0]
    assert accuracy.confidence_interval is not None
    low, high = accuracy.confidence_interval
    assert low < stats[0] < high < low + 0.3
    assert accuracy.bootstrap is not None
    assert len(accuracy.bootstrap.mask_ap) == len(accuracy.bootstrap.boundary_ap or []) == 1000
    assert list(accuracy.errors or {}) == list(TIDE_ERRORS)
    assert accuracy.calibration is not None
    assert sum(accuracy.calibration.detections) <= accuracy.detections == len(predictions) == len(results)
    written = (tmp_path / accuracy.predictions).read_bytes()
    assert accuracy.predictions_sha256 == hashlib.sha256(written).hexdigest(), "of the file as it lies there"
    assert {kind: bool(images) for kind, images in (accuracy.worst_images or {}).items()} == {
        "missed": True,
        "false": True,
        "masks": True,
    }


def test_highest_score_is_what_lies_on_disk(shapes: CocoDataset, tmp_path: Path) -> None:
    results = perturbed(shapes.annotations_path, 6)
    accuracy, predictions = passed(results, shapes, tmp_path, overlap="highest_score")
    whole, _ = referee(shapes.annotations_path, results)
    apart, _ = referee(shapes.annotations_path, cut_apart(results))
    assert accuracy.figures == {k: pytest.approx(v, abs=1e-9) for k, v in zip(COCO_FIGURES, apart, strict=True)}
    assert accuracy.overlap_mask_ap == {
        "keep": pytest.approx(whole[0], abs=1e-9),
        "highest_score": accuracy.figures["mask_ap"],
    }
    key = lambda r: (r["image_id"], r["category_id"], r["score"], r["segmentation"]["counts"])  # noqa: E731
    assert sorted(map(key, predictions)) == sorted(map(key, cut_apart(results)))


def test_an_environment_without_hotcoco(shapes: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = perturbed(shapes.annotations_path, 5)
    with_it, _ = passed(results, shapes, tmp_path, evaluator="pycocotools")
    for module in (matching, boundary, rle, overlaps):
        monkeypatch.setattr(module, "mask_library", lambda: mask_api)
    without, _ = passed(results, shapes, tmp_path, evaluator="pycocotools")
    for name in (
        "figures",
        "boundary_figures",
        "overlap_mask_ap",
        "bootstrap",
        "worst_images",
        "errors",
        "calibration",
    ):
        assert getattr(without, name) == getattr(with_it, name)


@pytest.mark.parametrize(("limit", "ap"), [(100, 26 / 101), (1000, 1.0)])
def test_the_limit_of_the_protocol_reaches_every_figure(limit: int, ap: float, tmp_path: Path) -> None:
    """Two images of 400 objects each, all found: at 100 an image, a quarter of them counts."""
    case = crowded([400, 400])
    dataset = from_coco("cells", case.truth, Path("images"), Path("a.json"), sha256="")
    accuracy, predictions = passed(case.results, dataset, tmp_path, protocol=ProtocolConfig(max_detections=limit))
    assert len(predictions) == 800
    figures = accuracy.figures or {}
    assert (figures["mask_ap"], figures["mask_ap_small"]) == (pytest.approx(ap), pytest.approx(ap))
    assert (figures["mask_ar_1"], figures["mask_ar_100"]) == (pytest.approx(1 / 400), pytest.approx(1 / 4))
    assert figures["mask_ar_small"] == pytest.approx(min(limit / 400, 1))
    assert accuracy.per_class == {"cell": pytest.approx(ap)}
    assert accuracy.overlap_mask_ap == {"keep": pytest.approx(ap), "highest_score": pytest.approx(ap)}
    assert (accuracy.boundary_figures or {})["boundary_ap"] == pytest.approx(ap)
    assert accuracy.bootstrap is not None
    assert accuracy.bootstrap.mask_ap == pytest.approx([ap] * 1000)
    assert accuracy.errors == dict.fromkeys(TIDE_ERRORS, 0.0)
    assert accuracy.worst_images == {"missed": [], "false": [], "masks": []}
    assert accuracy.max_detections == limit
    assert accuracy.figures_absent is None


@pytest.mark.parametrize("evaluator", sorted(EVALUATORS))
def test_an_empty_ap_has_its_reason(tmp_path: Path, evaluator: str) -> None:
    case = crowded([9])
    for annotation in case.truth["annotations"]:
        annotation["iscrowd"] = 1
    dataset = from_coco("cells", case.truth, Path("images"), Path("a.json"), sha256="")
    accuracy, _ = passed(case.results, dataset, tmp_path, evaluator=evaluator)
    assert set((accuracy.figures or {"": 0}).values()) == {None}
    assert (accuracy.figures_absent or "").startswith("all 9 annotations are crowds (iscrowd: 1)")
    assert accuracy.errors is accuracy.bootstrap is None


def test_random_weights_say_nothing_and_fine_tuned_ones_do(shapes: CocoDataset, tmp_path: Path) -> None:
    random = ModelConfig(weights="random")
    results = perturbed(shapes.annotations_path, 7)
    accuracy, predictions = passed(results, shapes, tmp_path, model=random)
    assert accuracy.figures_absent == "weights: random"
    assert accuracy.figures is accuracy.bootstrap is accuracy.worst_images is accuracy.overlap_mask_ap is None
    assert len(predictions) == len(results)
    assert not BenchConfig(model=random).trained
    assert BenchConfig(model=random, finetune=FinetuneConfig()).trained
    accuracy, _ = passed(results, shapes, tmp_path, model=random, finetune=FinetuneConfig())
    assert accuracy.figures is not None
    assert accuracy.figures_absent is None


class Knowing(Predictor):
    """Detects everything exactly; it knows an image by its place in the order."""

    def __init__(self, dataset: CocoDataset) -> None:
        self.classes = dataset.class_names
        self._ids = [category.id for category in dataset.categories]
        self._annotations = [
            [a for a in dataset.annotations if a["image_id"] == image.id and not a["iscrowd"]]
            for image in dataset.images
        ]
        self._next = 0

    def preprocess(self, images: Any) -> Any:
        return images

    def forward(self, batch: Any) -> Any:
        return batch

    def postprocess(self, raw: Any) -> list[Instances]:
        outputs = []
        for image in raw:
            annotations = self._annotations[self._next]
            self._next += 1
            masks = np.zeros((len(annotations), *image.shape[:2]), bool)
            for mask, annotation in zip(masks, annotations, strict=True):
                mask[:] = decoded(annotation["segmentation"], *image.shape[:2])
            labels = [self._ids.index(a["category_id"]) for a in annotations]
            number = len(annotations)
            outputs.append(
                Instances(
                    torch.from_numpy(masks), torch.zeros(number, 4), torch.ones(number), torch.tensor(labels).long()
                )
            )
        return outputs


def test_mask_ap_of_a_model(shapes: CocoDataset) -> None:
    labels = [category.id for category in shapes.categories]
    model = Runner(Knowing(shapes), torch.device("cpu"), "fp32")
    figures = mask_ap_of(model, shapes, labels, BenchConfig(batch_size=4))
    assert list(figures) == list(COCO_FIGURES)
    assert figures["mask_ap"] == figures["mask_ap_small"] == pytest.approx(1.0)
    blind = Runner(Knowing(shapes), torch.device("cpu"), "fp32")
    figures = mask_ap_of(blind, shapes, [labels[0], *[None] * (len(labels) - 1)], BenchConfig())
    assert figures["mask_ap"] == pytest.approx(1 / len(labels))


def test_the_threads_beside_the_model_leave_it_its_cores() -> None:
    """It runs in a process of its own, where no thread has asked for torch's number of threads yet."""
    code = """
import torch
from bench.passes.predictions import leaves_cores_to_the_model
from bench.passes.background import done_ahead
def work(_): return torch.get_num_threads()
print(list(done_ahead(work, range(3), 2, 2, leaves_cores_to_the_model())), torch.get_num_threads())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[0] == "[1, 1, 1] 2"


def test_rles_without_overlap_equal_those_of_the_masks() -> None:
    rng = np.random.default_rng(0)
    masks = torch.from_numpy(rng.random((6, 20, 30)) < rng.random((6, 1, 1)))
    masks[4] = False
    apart = rles_without_overlap(rle.masks_to_rle(masks))
    assert apart == rle.masks_to_rle(masks_without_overlap(masks))
    assert apart == overlaps_removed(masks, rle.masks_to_rle(masks))
    assert (mask_api.decode(apart).sum(axis=2) == masks.any(dim=0).numpy()).all()
    assert rles_without_overlap([]) == overlaps_removed(masks[:0], []) == []


def test_overlaps_removed_at_the_border_of_the_image() -> None:
    """Noise fills its box from border to border: runs go on from one column to the next, and to the last pixel."""
    rng = np.random.default_rng(1)
    for share in (0.5, 0.9, 0.99, 1.0):
        masks = torch.from_numpy(rng.random((5, 7, 9)) < share)
        masks[3, :3] = masks[4, :, :4] = False
        whole = rle.masks_to_rle(masks)
        assert overlaps_removed(masks, whole) == rle.masks_to_rle(masks_without_overlap(masks))


def test_masks_that_lose_nothing_keep_their_rle() -> None:
    masks = torch.zeros(4, 30, 40, dtype=torch.bool)
    masks[0, 2:10, 3:9] = masks[1, 8:20, 20:30] = masks[2, 5:9, 5:30] = True  # the third meets both, the last is empty
    whole = rle.masks_to_rle(masks)
    apart = overlaps_removed(masks, whole)
    assert [one is other for one, other in zip(apart, whole, strict=True)] == [True, True, False, True]
    owners = np.where(masks[0], 1, np.where(masks[1], 2, np.where(masks[2], 3, 0)))
    for number, one_rle in enumerate(apart, start=1):
        assert (mask_api.decode(one_rle).astype(bool) == (owners == number)).all()


def test_background_work_is_done_in_order_and_its_error_is_raised() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 30:
            raise RuntimeError("image 30")
        done.append(number)

    def feed(numbers: range) -> None:
        with Background(work, ahead=4) as background:
            for number in numbers:
                background(number)

    feed(range(30))
    assert done == list(range(30))
    with pytest.raises(RuntimeError, match="image 30"):
        feed(range(30, 31))
    with pytest.raises(RuntimeError, match="image 30"):
        feed(range(30, 100))
    assert max(done) < 40


def test_work_done_ahead_comes_in_order_and_does_not_run_away() -> None:
    began: list[int] = []
    nothing_waits = threading.Event()

    def work(number: int) -> int:
        began.append(number)
        nothing_waits.wait(0.01 * (number % 3))  # so that a later item is often done first
        if number == 40:
            raise RuntimeError("image 40")
        return -number

    furthest = []
    for place, value in enumerate(done_ahead(work, range(30), threads=3, ahead=6)):
        assert value == -place
        furthest.append(max(began) - place)
    assert 1 <= max(furthest) <= 6
    with pytest.raises(RuntimeError, match="image 40"):
        list(done_ahead(work, range(30, 60), threads=3, ahead=6))
    began.clear()
    for value in done_ahead(work, range(1000, 2000), threads=3, ahead=6):
        assert value == -1000
        break
    assert max(began) <= 1006


def test_an_interrupt_drops_the_background_work_that_waits() -> None:
    held, done = threading.Event(), []

    def work(number: int) -> None:
        held.wait(10)
        done.append(number)

    def interrupted() -> None:
        with Background(work, ahead=8) as background:
            for number in range(8):
                background(number)
            threading.Timer(0.1, held.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == [0]


@pytest.mark.skipif(not REAL.exists(), reason="the COCO photographs are not beside this checkout")
def test_replay_on_real_annotations(run_command: Any, tmp_path: Path) -> None:
    """Through the whole command, the truth itself has an AP of 1, and a perturbed one the AP of pycocotools."""
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
    figures = {}
    for path in (tmp_path / "out").glob("jobs/*/result.json"):
        result = read_result(path)
        assert result.accuracy is not None
        figures[Path(result.config["model"]["options"]["results"]).stem] = result.accuracy.figures
    assert figures["perfect"] is not None
    assert figures["perfect"]["mask_ap"] == 1.0
    stats, _ = referee(truth, worse)
    assert figures["worse"] == {name: pytest.approx(v, abs=1e-9) for name, v in zip(COCO_FIGURES, stats, strict=True)}
