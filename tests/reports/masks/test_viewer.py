"""Test what the viewer of masks is given: figures against pycocotools, and what must not be shown."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from masks_study import write_masks_study
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from squares import detection

from bench.schema.result import read_result, write_result
from reports.masks import viewer as module
from reports.masks.ground_truth import Datasets
from reports.masks.shown import Masks
from reports.masks.viewer import viewers, write_viewer
from reports.table.comparison import load


def _written(run: Path, out: Path) -> tuple[dict[str, Any], Masks]:
    (out / "plots").mkdir(parents=True, exist_ok=True)
    comparison, datasets = load([run], out), Datasets()
    (viewer,) = viewers(comparison, datasets)
    masks = write_viewer(comparison, viewer, out / "plots", datasets)
    return _data(masks), masks


def _data(masks: Masks) -> dict[str, Any]:
    text = masks.script.read_text(encoding="utf-8")
    head, tail = "(self.maskbenchMasks ??= []).push(", ");\n"
    assert text.startswith(head)
    assert text.endswith(tail)
    return json.loads(text[len(head) : -len(tail)])


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return write_masks_study(tmp_path_factory.mktemp("viewer"), 3)


def test_found_missed_and_false_are_those_of_pycocotools(study, tmp_path):
    data, _ = _written(study, tmp_path)
    assert len(data["images"]) == module.IMAGES
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(study.parent / "data/instances.json")
        for row in data["rows"]:
            results = json.loads((study / f"jobs/job{row['row']}/predictions.json").read_text())
            kept = [one for one in results if one["score"] >= data["least"]]
            evaluation = COCOeval(truth, truth.loadRes(kept), "segm")
            evaluation.evaluate()
            for image, of in zip(data["images"], row["images"], strict=True):
                image_id = int(Path(image["name"]).stem)
                _compare(evaluation, image_id, image, of["detections"], truth)


def _compare(evaluation: COCOeval, image_id: int, image: dict, detections: list, truth: COCO) -> None:
    entries = [
        entry
        for entry in evaluation.evalImgs
        if entry and entry["image_id"] == image_id and entry["aRng"] == evaluation.params.areaRng[0]
    ]
    found = missed = false = in_crowd = 0
    for entry in entries:
        matched, ignored = entry["dtMatches"][0] > 0, entry["dtIgnore"][0] > 0
        found += int((matched & ~ignored).sum())
        in_crowd += int((matched & ignored).sum())
        false += int((~matched & ~ignored).sum())
        missed += sum(
            not match and not ignore for match, ignore in zip(entry["gtMatches"][0], entry["gtIgnore"], strict=True)
        )
    kinds = [kind for _, _, kind, *_ in detections]
    objects = {index for _, _, kind, index, *_ in detections if kind == "found"}
    assert (kinds.count("found"), kinds.count("false"), kinds.count("crowd")) == (found, false, in_crowd)
    assert sum(not crowd for _, crowd, *_ in image["objects"]) - len(objects) == missed
    assert len(image["objects"]) == len(truth.getAnnIds(imgIds=image_id))


def test_every_photograph_is_there_once_at_the_size_shown(study, tmp_path):
    data, masks = _written(study, tmp_path)
    names = [image["photograph"] for image in data["images"]]
    assert [path.name for path in masks.photographs] == names
    for image, path in zip(data["images"], masks.photographs, strict=True):
        with Image.open(path) as photograph:
            assert photograph.format == "WEBP"
            assert (2 * photograph.width, 2 * photograph.height) == (image["width"], image["height"])
            assert max(photograph.size) <= module.MOST_PIXELS


def test_panels_show_images_of_the_viewer(study, tmp_path):
    from reports.masks.panels import panels

    comparison, datasets = load([study], tmp_path), Datasets()
    (viewer,) = viewers(comparison, datasets)
    assert {panel.image_id for panel in panels(comparison, datasets)} < set(viewer.image_ids)


def test_photographs_that_are_not_those_measured_are_not_shown(tmp_path):
    """A result may come from anybody, and name a folder of this machine."""
    run = write_masks_study(tmp_path, 1, images=4)
    assert viewers(load([run], tmp_path), Datasets())
    image = tmp_path / "data/images/000001.jpg"
    with Image.open(image) as picture:
        Image.new("RGB", picture.size, "red").save(image)
    assert viewers(load([run], tmp_path), Datasets()) == []


def test_a_text_of_the_data_cannot_end_the_script(make_result, write_run, tiny_dataset, tmp_path):
    file = Path(tiny_dataset["annotations"])
    evil = "</script><script>alert(1)</script><!--\u2028"
    content = json.loads(file.read_text())
    content["categories"][0]["name"] = evil
    file.write_text(json.dumps(content))
    run = write_run(tmp_path / "run", [make_result("A", dataset=tiny_dataset)])
    (run / "jobs/job0/predictions.json").write_text(f"[{detection(1, 5, 0.9)}]")
    data, masks = _written(run, tmp_path / "out")
    assert [name for name, _ in data["classes"]] == [evil, "car"]
    text = masks.script.read_text(encoding="utf-8")
    assert "<" not in text
    assert "\u2028" not in text


@pytest.mark.parametrize(("score", "shown"), [(0.49999, 0.499), (0.5, 0.5), (0.99999, 0.999)])
def test_figures_are_cut_and_not_rounded(make_result, write_run, tiny_dataset, tmp_path, score, shown):
    run = write_run(tmp_path / "run", [make_result("A", dataset=tiny_dataset)])
    (run / "jobs/job0/predictions.json").write_text(f"[{detection(1, 5, score)}]")
    data, _ = _written(run, tmp_path / "out")
    ((_, shown_score, kind, index, iou, path, coarse),) = data["rows"][0]["images"][0]["detections"]
    # The detection has 100 pixels; 64 of them are the square.
    assert (shown_score, kind, index, iou, coarse) == (shown, "found", 0, 0.64, 0)
    assert path


def test_what_cannot_be_shown_is_said(make_result, write_run, tiny_dataset, tmp_path):
    names = ("A", "B", "C")
    run = write_run(tmp_path / "run", [make_result(name, dataset=tiny_dataset) for name in names])
    (run / "jobs/job0/predictions.json").write_text(f"[{detection(1, 5, 0.9)}]")
    other = json.dumps(
        {"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": {"size": [9, 9], "counts": [81]}}
    )
    (run / "jobs/job1/predictions.json").write_text(f"[{other}]")
    data, _ = _written(run, tmp_path / "out")
    assert [row["reason"] for row in data["rows"]] == ["", "", "no predictions file"]
    assert data["rows"][1]["images"][0] == {"note": "masks of another size than the image", "detections": None}
    assert data["rows"][2]["images"] == []


def test_more_masks_than_are_kept_make_missed_ones_uncertain(
    make_result, write_run, tiny_dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "MOST_MASKS", 1)
    run = write_run(tmp_path / "run", [make_result("A", dataset=tiny_dataset)])
    (run / "jobs/job0/predictions.json").write_text(f"[{detection(1, 45, 0.9)},{detection(1, 5, 0.8)}]")
    data, _ = _written(run, tmp_path / "out")
    note = data["rows"][0]["images"][0]["note"]
    assert note == (
        "only the 1 highest scores of 2 are shown, so an object that is shown as missed may have been found"
    )


def test_many_masks_are_listed_and_matched_but_not_drawn(make_result, write_run, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_OUTLINES", 1)
    run = write_run(tmp_path / "run", [make_result("A", dataset=tiny_dataset)])
    (run / "jobs/job0/predictions.json").write_text(f"[{detection(1, 20, 0.9)},{detection(1, 5, 0.8)}]")
    data, _ = _written(run, tmp_path / "out")
    first, second = data["rows"][0]["images"][0]["detections"]
    assert first[2] == "false"
    assert first[5] != ""
    assert second[2:4] == ["found", 0]
    assert second[5] == ""


def test_an_untrained_model_shows_its_highest_scores(make_result, write_run, tiny_dataset, tmp_path):
    run = write_run(tmp_path / "run", [make_result("A", dataset=tiny_dataset, weights="random", mask_ap=None)])
    lines = [detection(1, 5, 0.001 * n) for n in range(module.TOP + 3)]
    (run / "jobs/job0/predictions.json").write_text(f"[{','.join(lines)}]")
    data, _ = _written(run, tmp_path / "out")
    assert data["rows"][0]["untrained"] is True
    assert len(data["rows"][0]["images"][0]["detections"]) == module.TOP


def test_classes_that_do_not_stand_in_the_images_are_left_out(make_result, write_run, tiny_dataset, tmp_path):
    """LVIS has 1,203."""
    file = Path(tiny_dataset["annotations"])
    content = json.loads(file.read_text())
    content["categories"] = [{"id": -n, "name": f"idle {n}"} for n in range(1, 1202)] + content["categories"]
    file.write_text(json.dumps(content))
    run = write_run(tmp_path / "run", [make_result("A", dataset=tiny_dataset)])
    (run / "jobs/job0/predictions.json").write_text(f"[{detection(1, 5, 0.9, 2)}]")
    data, _ = _written(run, tmp_path / "out")
    assert [name for name, _ in data["classes"]] == ["person", "car"]
    assert data["rows"][0]["images"][0]["detections"][0][0] == 1
    assert [category for category, *_ in data["images"][0]["objects"]] == [0, 1, 0]


def test_images_beyond_the_longest_text_are_left_out(study, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_CHARACTERS", 12_000)
    data, masks = _written(study, tmp_path)
    assert 1 <= len(data["images"]) < module.IMAGES
    assert all(len(row["images"]) == len(data["images"]) == len(masks.photographs) for row in data["rows"])


def test_rows_that_share_masks_stand_together(tmp_path):
    run = write_masks_study(tmp_path, 2, images=4)
    result = read_result(run / "jobs/job0/result.json")
    result.config["batch_size"] = result.speed.batch_size = 8
    job = run / "jobs/job9"
    write_result(result, job / "result.json")
    (job / "predictions.json").write_bytes((run / "jobs/job0/predictions.json").read_bytes())
    data, _ = _written(run, tmp_path / "out")
    assert sorted(len(row["rows"]) for row in data["rows"]) == [1, 2]
