"""Test the page of a model: its matching against pycocotools, its pictures and its links."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from literal_results import build_result, build_training, with_details
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import reports
from bench.schema.parts.accuracy import ImageFaults
from reports.masks.drawing import Drawn
from reports.masks.faults import sort_out
from reports.masks.ground_truth import Datasets
from reports.page.model_pages import model_pages, write_model_page
from reports.page.worst_images import _id
from reports.table.comparison import load

SHAPE = (40, 60)


def _mask(left: int, top: int = 10, size: int = 10) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[top : top + size, left : left + size] = True
    return mask


def _rle(mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def _drawn(mask: np.ndarray, category: int, score: float = 1.0) -> Drawn:
    return Drawn(_rle(mask), category, score)


def _coco_counts(truth: list[Drawn], crowds: list[Drawn], detections: list[Drawn]) -> tuple[int, int]:
    """Count missed objects and false detections at IoU 0.5, as pycocotools matches detections of 0.3 or more."""
    annotations = [
        {
            "id": n,
            "image_id": 1,
            "category_id": d.category_id,
            "segmentation": d.rle,
            "iscrowd": int(n > len(truth)),
        }
        | {"area": float(coco_mask.area(d.rle)), "bbox": [0, 0, 1, 1]}
        for n, d in enumerate([*truth, *crowds], start=1)
    ]
    image = {"id": 1, "height": SHAPE[0], "width": SHAPE[1]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": [image], "annotations": annotations, "categories": [{"id": 1}, {"id": 2}]}
        coco.createIndex()
        results = [
            {"image_id": 1, "category_id": d.category_id, "segmentation": d.rle, "score": d.score}
            for d in detections
            if d.score >= 0.3
        ]
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.evaluate()
    missed = false = 0
    # The first area range of the first categories is "all"; the first IoU is 0.5.
    for entry in evaluation.evalImgs:
        if entry is not None and entry["aRng"] == evaluation.params.areaRng[0]:
            missed += int(((entry["gtMatches"][0] == 0) & (np.asarray(entry["gtIgnore"]) == 0)).sum())
            false += int(((entry["dtMatches"][0] == 0) & (entry["dtIgnore"][0] == 0)).sum())
    return missed, false


@pytest.mark.parametrize("seed", range(20))
def test_matching_is_that_of_pycocotools(seed):
    rng = np.random.default_rng(seed)

    def drawn(count: int) -> list[Drawn]:
        places = rng.integers((0, 0, 4), (50, 30, 12), (count, 3))
        scores = rng.permutation(count) / count + 0.05
        return [
            _drawn(_mask(int(x), int(y), int(size)), int(rng.integers(1, 3)), float(score))
            for (x, y, size), score in zip(places, scores, strict=True)
        ]

    truth, crowds = drawn(8), drawn(2)
    near = [
        _drawn(np.roll(item.at(*SHAPE), int(rng.integers(-3, 4)), 1), item.category_id, float(score))
        for item, score in zip([*truth, *truth], rng.permutation(16) / 16 + 0.01, strict=True)
    ]
    predictions = [*near, *drawn(6)]
    faults = sort_out(truth, crowds, predictions)
    assert (len(faults.missed), len(faults.false)) == _coco_counts(truth, crowds, predictions)
    assert len(faults.matched) == len(faults.true) == len(truth) - len(faults.missed)


def test_classes_that_are_texts_are_matched():
    faults = sort_out([_drawn(_mask(5), "cat")], [], [_drawn(_mask(5), "cat", 0.9), _drawn(_mask(5), "dog", 0.8)])
    assert (len(faults.matched), [drawn.category_id for drawn in faults.false]) == (1, ["dog"])


@pytest.fixture
def run(tmp_path, write_run, tiny_dataset):
    """Write a run of two models, the first at two batch sizes; they detect one of two squares in image 1."""
    results = [with_details(build_result("A", mask_ap=0.4, dataset=tiny_dataset)) for _ in range(2)]
    results.append(build_result("B<br>", mask_ap=0.3, dataset=tiny_dataset))
    results[1].config["batch_size"] = results[1].speed.batch_size = 8
    results[0].finetune = results[1].finetune = build_training()
    for result in results[:2]:
        result.accuracy.worst_images = {
            "missed": [ImageFaults(1, 1, 1, 0.75), ImageFaults(3, 0, 0, 1.0)],
            "false": [ImageFaults(1, 1, 1, 0.75)],
            "masks": [ImageFaults(1, 1, 1, 0.75), ImageFaults(2, 0, 0, None)],
        }
    run = write_run(tmp_path / "run", results)
    square = np.zeros(SHAPE, dtype=bool)
    square[10:18, 5:13] = True
    results = [
        {"image_id": 1, "category_id": category, "segmentation": _rle(square), "score": 0.9} for category in (1, 2)
    ]
    for number in range(3):
        (run / f"jobs/job{number}/predictions.json").write_text(json.dumps(results))
    return run


def test_a_page_for_each_model_linked_from_the_report(run, tmp_path):
    page = reports.build([run], tmp_path / "report")
    names = sorted(path.name for path in (tmp_path / "report/models").iterdir())
    assert names == ["a-r50-fpn-torchvision-batch-1.html", "b-br-r50-fpn-torchvision.html"]
    text = page.read_text()
    # Both batch sizes lead to the one page, from the table, the details and the list of jobs.
    assert text.count('href="models/a-r50-fpn-torchvision-batch-1.html"') >= 6
    for name in names:
        text = (tmp_path / "report/models" / name).read_text()
        assert not re.search(r'(?:src|href)="(?!data:|#|\.\./comparison\.html)', text)
        assert "<br>" not in text.split("<h1>")[1].split("</h1>")[0]


def _write_pages(run: Path, out: Path) -> None:
    comparison, datasets = load([run], out), Datasets()
    for page in model_pages(comparison):
        write_model_page(comparison, page, None, datasets, out)


def test_the_worst_images_and_their_faults(run, tmp_path):
    _write_pages(run, tmp_path / "report")
    text = (tmp_path / "report/models/a-r50-fpn-torchvision-batch-1.html").read_text()
    missed, false, masks = text.split('<div class="pairs">')[1:]
    assert missed.count("<figure>") == false.count("<figure>") == masks.count("<figure>") == 1
    assert "1.jpg: 1 missed, 1 false, mean IoU 0.75" in missed
    # One square was found, one is missed, and the detection of the other class is false: told apart by their lines.
    truth, predicted = (re.findall(r'class="(mark \w+)" d="m(\d+) ', side) for side in missed.split("<svg ")[1:])
    assert truth == [("mark found", "10"), ("mark missed", "60")]
    assert [kind for kind, _ in predicted] == ["mark found", "mark false"]
    # The photograph is in the page once, though three pictures show it.
    assert text.count('<image id="photograph-1" href="data:image/webp') == 1
    assert text.count('<use href="#photograph-1"') == 6
    for words in ("Training", "80 iterations", "classification", "Boundary AP", "Overlap: difference", "-0.70"):
        assert words in text


def test_split_the_photographs_lie_beside_the_page(run, tmp_path, browser):
    """From a file, without network, under the page's own policy; drawn anew only where something has changed."""
    models = tmp_path / "report/models"
    reports.build([run], tmp_path / "report", split=True)
    a, b = "a-r50-fpn-torchvision-batch-1", "b-br-r50-fpn-torchvision"
    photograph, files = models / f"{a}.1.webp", [f"{a}.1.webp", f"{a}.html", f"{b}.html"]
    assert sorted(path.name for path in models.iterdir()) == files
    page, problems = browser.new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    page.goto((models / f"{a}.html").as_uri())
    assert page.locator("#photograph-1").get_attribute("href") == photograph.name
    page.wait_for_function("document.querySelector('.scroll.paper img').naturalWidth > 0")
    assert _is_grey(page.locator("#worst .pair svg").first.screenshot())
    assert problems == []
    page.close()
    before = photograph.stat().st_mtime_ns
    reports.build([run], tmp_path / "report", split=True)
    assert photograph.stat().st_mtime_ns == before
    photograph.write_bytes(b"damaged")
    reports.build([run], tmp_path / "report", split=True)
    assert Image.open(photograph).size == (60, 40)
    reports.build([run], tmp_path / "report")
    assert sorted(path.name for path in models.iterdir()) == files[1:]
    assert "data:image/webp" in (models / f"{a}.html").read_text()


def _is_grey(picture: bytes) -> bool:
    """Tell whether most of a picture has the grey of image 1 of the tiny dataset."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    return bool((abs(pixels.astype(int) - 40) < 8).mean() > 0.5)


def test_pages_of_an_earlier_report_are_removed_and_other_files_stay(run, tmp_path):
    models = tmp_path / "report/models"
    models.mkdir(parents=True)
    (models / "old.html").write_text('<!doctype html>\n<meta name="generator" content="maskbench">')
    (models / "mine.html").write_text("<!doctype html>")
    reports.build([run], tmp_path / "report")
    assert not (models / "old.html").exists()
    assert (models / "mine.html").exists()


@pytest.mark.parametrize(
    ("remove", "reason"),
    [
        ("data/instances.json", "The dataset that was measured is not there"),
        ("run/jobs/job0/predictions.json", "No image can be shown: no predictions file."),
        ("data/images/1.jpg", "The dataset that was measured is not there"),
    ],
)
def test_what_cannot_be_shown_is_said(run, tmp_path, remove, reason):
    (tmp_path / remove).unlink()
    _write_pages(run, tmp_path / "report")
    assert reason in (tmp_path / "report/models/a-r50-fpn-torchvision-batch-1.html").read_text()


@pytest.fixture
def damaged(tmp_path, tiny_dataset):
    """Damage an image before ``run`` takes the digest of the set: one that was damaged later is of another set."""
    image = tmp_path / "data/images/1.jpg"
    image.write_bytes(bytes(image.stat().st_size))


def test_an_image_that_cannot_be_decoded_is_said(damaged, run, tmp_path):
    _write_pages(run, tmp_path / "report")
    page = (tmp_path / "report/models/a-r50-fpn-torchvision-batch-1.html").read_text()
    assert "(image cannot be shown: cannot be decoded, truncated or not an image" in page


def test_what_would_mislead_on_an_image_is_said_in_its_place(run, tmp_path, monkeypatch):
    """Objects would be shown as missed whose detections cannot be matched."""
    page = tmp_path / "report/models/a-r50-fpn-torchvision-batch-1.html"
    other = {"image_id": 1, "category_id": 1, "segmentation": {"size": [2, 2], "counts": [1, 2, 1]}, "score": 0.9}
    (run / "jobs/job0/predictions.json").write_text(json.dumps([other]))
    _write_pages(run, tmp_path / "report")
    assert "(masks of another size than the image)" in page.read_text()
    (run / "jobs/job0/predictions.json").write_text("[]")
    for room in ("page.worst_images", "masks.ground_truth"):
        monkeypatch.setattr(f"reports.{room}.MOST_OBJECTS", 2)
    _write_pages(run, tmp_path / "report")
    assert "(2 objects or more, too many to be shown)" in page.read_text()
    assert "data:image/webp" not in page.read_text().split('<section id="figures">')[0]


def test_an_id_that_was_too_large_for_the_result_finds_its_image():
    assert _id(ImageFaults("9" * 30, 1, 0, None)) == int("9" * 30)  # type: ignore[arg-type]
    assert _id(ImageFaults(-5, 1, 0, None)) == -5
