"""LVIS files: what they must say, and that neither they nor COCO files are taken for the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lvis_cases import CATEGORIES, by_hand

from bench.cli.run import compose
from bench.data.cautions import cautions
from bench.data.dataset import CocoDataset, load
from bench.errors import UserError
from bench.schema.config import DatasetConfig


def loaded(truth: dict[str, Any], folder: Path, form: str = "lvis") -> CocoDataset:
    (folder / "a.json").write_text(json.dumps(truth))
    return load(DatasetConfig(name="lvis", format=form, annotations=str(folder / "a.json")))


def test_what_an_lvis_file_says(tmp_path: Path) -> None:
    truth, _ = by_hand()
    dataset = loaded(truth, tmp_path)
    assert dataset.federation is not None
    assert dataset.federation.frequency == CATEGORIES
    assert dataset.federation.absent == {i["id"]: set(i["neg_category_ids"]) for i in truth["images"]}
    assert dataset.federation.incomplete == {i["id"]: set(i["not_exhaustive_category_ids"]) for i in truth["images"]}
    assert dataset.file_names[1] == "1.jpg"  # of its coco_url
    assert {a["iscrowd"] for a in dataset.annotations} == {0}
    assert dataset.first(2).federation == dataset.federation


def test_each_is_refused_by_the_name_of_the_other(tmp_path: Path) -> None:
    truth, _ = by_hand()
    with pytest.raises(UserError, match=r"is a file of LVIS \(neg_category_ids and not_ex.*; give dataset=lvis \("):
        loaded(truth, tmp_path, "coco")
    for image in truth["images"]:
        del image["neg_category_ids"], image["not_exhaustive_category_ids"]
    with pytest.raises(UserError, match=r"is no file of LVIS, since no image has .*; give dataset=coco \("):
        loaded(truth, tmp_path)
    assert loaded(truth, tmp_path, "coco").federation is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["images"][2].pop("neg_category_ids"), "1 image without neg_category_ids or not_exhaustive_"),
        (lambda t: t["images"][0].update(not_exhaustive_category_ids=None), "not_exhaustive_category_ids is None"),
        (lambda t: t["images"][0].update(neg_category_ids=[1, 99]), "image 1: neg_category_ids has 99"),
        (lambda t: t["categories"][0].pop("frequency"), "1 category without a frequency: must be r, c or f"),
        (lambda t: t["categories"][0].update(frequency="frequent"), "category 1: frequency is 'frequent'"),
        (lambda t: t["annotations"][3].update(iscrowd=1), r"1 annotation with iscrowd: 1: .*\(annotations\[3\]\)"),
    ],
)
def test_what_is_missing_is_refused(change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    truth, _ = by_hand()
    change(truth)
    with pytest.raises(UserError, match=message):
        loaded(truth, tmp_path)


def test_another_limit_than_that_of_lvis_is_told(tmp_path: Path) -> None:
    dataset = loaded(by_hand()[0], tmp_path)
    assert not any("LVIS" in line for line in cautions(dataset, 300))
    [told] = [line for line in cautions(dataset, 100) if "LVIS" in line]
    assert told.endswith("give protocol.max_detections=300")


def test_images_without_objects_are_no_false_positives_in_lvis(tmp_path: Path) -> None:
    truth, _ = by_hand(images=30)
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] == 1]
    assert not any("every detection in the others is wrong" in line for line in cautions(loaded(truth, tmp_path), 300))
    assert any(
        "every detection in the others is wrong" in line
        for line in cautions(
            loaded(
                {**truth, "images": [{k: v for k, v in i.items() if "_ids" not in k} for i in truth["images"]]},
                tmp_path,
                "coco",
            ),
            100,
        )
    )


def limit_of(*arguments: str) -> list[int]:
    jobs = compose(["model=demo_solo_mmdet", *arguments])
    return [job.config.protocol.max_detections for job in jobs]


def test_lvis_counts_300_detections_unless_another_number_is_given() -> None:
    assert limit_of("dataset=coco,lvis") == [100, 300]
    assert limit_of("dataset=lvis", "protocol=quick") == [300]
    assert limit_of("dataset=lvis", "protocol.max_detections=100") == [100]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dataset=lvis", "evaluator=pycocotools"], "evaluator=pycocotools: knows no rules of LVIS; give evaluator="),
        (["dataset=lvis", "dataset.without_mask=ignore"], "give dataset.without_mask=drop"),
        (["dataset=coco", "dataset.split=test"], "dataset.split=test: only a YOLO set has it; give dataset=yolo"),
        (["dataset=coco", "dataset.format=voc"], "dataset.format=voc: unknown, must be coco or yolo or lvis"),
    ],
)
def test_keys_that_mean_nothing_for_a_format_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose(["model=demo_solo_mmdet", *arguments])
