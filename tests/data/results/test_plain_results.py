"""Tests that results read into columns are those of the reader of any form, and that no other form is read so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as mask_api

from bench.data import dataset
from bench.data.results import plain, reader
from bench.data.results.plain import columns_of
from bench.data.results.reader import ReadResults, read_results
from bench.errors import UserError
from bench.predictor import ResultsFile
from bench.schema.config import DatasetConfig

HEIGHT, WIDTH = 40, 60
SOUND = {
    "size": [HEIGHT, WIDTH],
    "counts": mask_api.frPyObjects([[10, 10, 30, 10, 30, 30, 10, 30]], HEIGHT, WIDTH)[0]["counts"].decode(),
}
PLAIN = {"image_id": 1, "category_id": 3, "segmentation": SOUND, "score": 0.5}


def truth_in(folder: Path, limit: int | None = None) -> dataset.CocoDataset:
    box = [10.0, 10.0, 20.0, 20.0]
    polygon = [[10, 10, 30, 10, 30, 30, 10, 30]]
    common = {"segmentation": polygon, "bbox": box, "area": 400, "iscrowd": 0}
    path = folder / "truth.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": n, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in (1, 2, 7)],
                "annotations": [{"id": n, "image_id": n, "category_id": 3, **common} for n in (1, 2)],
                "categories": [{"id": 3, "name": "a"}, {"id": 5, "name": "b"}],
            }
        )
    )
    return dataset.load(DatasetConfig("few", annotations=str(path), limit=limit))


def both(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch, limit: int | None = None) -> list[ReadResults | str]:
    """Give what is read of a file with columns and without them: the results, or the line of its refusal."""
    truth, path = truth_in(folder, limit), folder / "results.json"
    path.write_text(text)
    read: list[ReadResults | str] = []
    for columns in (columns_of, lambda raw: None):
        monkeypatch.setattr(reader, "columns_of", columns)
        try:
            read.append(read_results(ResultsFile(path), truth))
        except UserError as error:
            read.append(str(error))
    return read


def changed(**keys: Any) -> str:
    """Give a file of three results, the second of which has other keys."""
    return json.dumps([PLAIN, {**PLAIN, **keys}, {**PLAIN, "image_id": 2}])


def test_plain_results_are_read_into_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties keep the order of the file, images without results have none, and keys beside the four are dropped."""
    scores = [0.25, 0.5, 1, 0.5, 0]
    results = [
        {**PLAIN, "image_id": 1 + n % 2, "category_id": (3, 5)[n // 3], "score": score, "bbox": [1, 2, 3, 4.5]}
        for n, score in enumerate(scores)
    ]
    columns, other = both(tmp_path, json.dumps(results, indent=1), monkeypatch)
    assert isinstance(columns, ReadResults)
    assert isinstance(other, ReadResults)
    assert isinstance(columns.by_image, plain.PlainResults)
    assert dict(columns.by_image) == dict(other.by_image)
    assert [(r["score"], r["category_id"]) for r in columns.by_image[1]] == [(1.0, 3), (0.25, 3), (0.0, 5)]
    assert columns.by_image[7] == []
    assert (columns.notes, columns.places, columns.of_other_classes) == (other.notes, other.places, 0)
    for result in columns.by_image[2]:
        assert list(result) == list(PLAIN)
        assert mask_api.area(result["segmentation"]) == mask_api.area(SOUND)


def test_parts_of_the_file_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts may end anywhere between two results, and nowhere else."""
    results = [{**PLAIN, "score": n / 64} for n in range(64)]
    monkeypatch.setattr(plain, "_CHUNK_BYTES", 700)
    for text in (
        json.dumps(results),
        json.dumps(results, indent=2),
        "\n" + json.dumps(results).replace("}, {", "}\n,{"),
    ):
        columns = columns_of(text.encode())
        assert columns is not None
        assert columns.score.tolist() == [n / 64 for n in range(64)]
        assert columns.counts == SOUND["counts"].encode() * 64


def test_results_beyond_the_limit_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns, other = both(tmp_path, changed(image_id=7), monkeypatch, limit=1)
    assert isinstance(columns, ReadResults)
    assert isinstance(columns.by_image, plain.PlainResults)
    assert dict(columns.by_image) == dict(other.by_image) == {1: [PLAIN]}


ODD = [
    changed(image_id=1.0),
    changed(image_id="1"),
    changed(image_id=True),
    changed(image_id=9),
    changed(image_id=2**63),
    changed(image_id=-(2**63)),
    changed(category_id=4),
    changed(category_id="3"),
    changed(category_id=None),
    changed(score=None),
    changed(score="0.5"),
    changed(score=float("nan")),
    changed(score=float("inf")),
    changed(file_name="2.jpg"),
    changed(segmentation={**SOUND, "size": [WIDTH, HEIGHT]}),
    changed(segmentation={**SOUND, "size": [40.0, 60]}),
    changed(segmentation={**SOUND, "size": [HEIGHT, WIDTH, 1]}),
    changed(segmentation={**SOUND, "counts": SOUND["counts"][:-1]}),
    changed(segmentation={**SOUND, "counts": SOUND["counts"] + "0"}),
    changed(segmentation={**SOUND, "counts": "é"}),
    changed(segmentation={**SOUND, "counts": ""}),
    changed(segmentation={**SOUND, "counts": [2400]}),
    changed(segmentation=[]),
    changed(segmentation=[[10, 10, 30, 10, 30, 30]]),
    changed(bbox='a text, "quoted"'),
    changed().replace('"score": 0.5}', '"score": 0.5, "score": 0.9}', 1),
    changed().replace('"score": 0.5}', '"score": 0.5, "sc\\u006fre": 0.9}', 1),
    changed().replace('"score": 0.5}', '"score": 1e999}', 1),
    changed().replace('"score": 0.5}', '"score": 05}', 1),
    changed().replace("}, {", "} {", 1),
    changed().replace("}, {", "}, , {", 1),
    changed() + changed(),
    changed()[:-1],
    changed()[:-40],
    "\ufeff" + changed(),
    json.dumps({"annotations": [PLAIN]}),
    "[]",
    "",
]
"""Files in which something is to be repaired, left out, told or refused."""


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_no_other_form_is_read_as_columns(
    text: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told of the file, and what is read of it, does not depend on the columns."""
    monkeypatch.setattr(plain, "_CHUNK_BYTES", chunk)
    columns, other = both(tmp_path, text, monkeypatch)
    assert columns == other
    assert isinstance(columns, str) or not isinstance(columns.by_image, plain.PlainResults)


def test_without_msgspec_every_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_decoder", lambda: None)
    read, other = both(tmp_path, changed(), monkeypatch)
    assert read == other
    assert isinstance(read, ReadResults)
    assert len(read.by_image[1]) == 2
