"""The panels of a YOLO or an LVIS set are of the split and the images that were measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from lvis_cases import SIZE, by_hand
from PIL import Image
from yolo_sets import plain

from bench.data.dataset import digest, load
from bench.schema.config import DatasetConfig
from bench.schema.result import Result
from bench.schema.row import Row
from reports.masks.ground_truth import Datasets


def shown(config: DatasetConfig, make_result: Callable[..., Result]) -> list[object]:
    """Give the ids of the images that panels can show of a row measured on a set."""
    result = make_result()
    result.config["dataset"] = asdict(config)
    result.contents["dataset"] = digest(load(config))
    truth = Datasets().of(Row(Path("result.json"), result))
    return [] if truth is None else list(truth.images)


def test_a_split_of_a_yolo_set(make_result: Callable[..., Result], tmp_path: Path) -> None:
    places = {"annotations": str(plain(tmp_path)), "images": str(tmp_path)}
    assert shown(DatasetConfig(name="y", format="yolo", split="train", **places), make_result) == ["t"]
    assert shown(DatasetConfig(name="y", format="yolo", **places), make_result) == ["a", "b"]


def test_an_lvis_set(make_result: Callable[..., Result], tmp_path: Path) -> None:
    truth, _ = by_hand(images=2)
    (tmp_path / "val2017").mkdir()
    for name in ("1", "2"):
        Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "val2017" / f"{name}.jpg")
    (tmp_path / "lvis.json").write_text(json.dumps(truth))
    places = {"annotations": str(tmp_path / "lvis.json"), "images": str(tmp_path)}
    assert shown(DatasetConfig(name="l", format="lvis", **places), make_result) == [1, 2]
