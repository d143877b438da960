"""Small data sets and results as other people's tools write them, each made from one plain set by a change.

The plain set has 4 images, 20 objects of 3 classes and 22 results. Every change stands for a kind of report, whose
number is in a comment. The figures that are right are pycocotools': on the file itself where pycocotools reads it, else
on the plain set with the same objects left out or made crowds.
"""

from __future__ import annotations

import copy
import gzip
import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PLAIN_AP = 45.62847713342762

Coco = dict[str, Any]


def plain_set() -> tuple[Coco, list[Coco]]:
    """Give the plain set and the results on it, each time anew."""
    content = json.loads((Path(__file__).parent / "plain_set.json").read_text())
    return content, content.pop("results")


@dataclass
class ForeignSet:
    """A set as a tool writes it.

    annotations, results: what stands in the files; bytes are written as they are
    suffix: of the name of the annotation file
    files: name of an image file -> the size (height, width) in which it is stored; None is that of the annotations
    exif: orientation that the image files say
    """

    annotations: Coco | bytes
    results: Any
    suffix: str = ".json"
    files: dict[str, tuple[int, int]] | None = None
    exif: int | None = None

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the files; gives ``annotations``, ``results`` and the folder ``images``."""
        paths = {
            "annotations": folder / f"annotations{self.suffix}",
            "results": folder / "results.json",
            "images": folder / "images",
        }
        content = self.annotations
        paths["annotations"].write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        paths["results"].write_text(json.dumps(self.results))
        for name, (height, width) in (self.files or dict.fromkeys(_names(plain_set()[0]), (240, 320))).items():
            path = paths["images"] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
            exif = Image.Exif()
            if self.exif is not None:
                exif[0x0112] = self.exif
            Image.fromarray(pixels).save(path, exif=exif)
        return paths


@dataclass(frozen=True)
class Right:
    """What is right for a set.

    mask_ap: in points; None where it is refused, or where COCO defines none
    told: parts of the text that says what was repaired, or what would mislead
    refused: parts of the one line that refuses it
    """

    mask_ap: float | None = None
    told: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One set under one configuration of ``dataset``, with what is right for it."""

    name: str
    make: Callable[[], ForeignSet]
    right: Right
    config: dict[str, Any] = field(default_factory=dict)
    max_detections: int = 100

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{key}={value}" for key, value in self.config.items())])


def changed(change: Callable[[Coco], object], **more: Any) -> Callable[[], ForeignSet]:
    """Give the maker of the plain set with its annotations changed in place."""

    def make() -> ForeignSet:
        annotations, results = plain_set()
        change(annotations)
        return ForeignSet(annotations, results, **more)

    return make


def with_results(change: Callable[[list[Coco]], Any]) -> Callable[[], ForeignSet]:
    """Give the maker of the plain set with other results, which ``change`` gives or changes in place."""

    def make() -> ForeignSet:
        annotations, results = plain_set()
        given = change(results)
        return ForeignSet(annotations, results if given is None else given)

    return make


def as_bytes(encode: Callable[[str], bytes], suffix: str = ".json") -> Callable[[], ForeignSet]:
    """Give the maker of the plain set whose annotation file is what ``encode`` makes of the text."""

    def make() -> ForeignSet:
        annotations, results = plain_set()
        return ForeignSet(encode(json.dumps(annotations)), results, suffix=suffix)

    return make


def _names(annotations: Coco) -> list[str]:
    return [image["file_name"] for image in annotations["images"]]


def _every(number: int, key: str, value: Any) -> Callable[[Coco], None]:
    """Give the change that sets a key of every annotation number 0, ``number``, 2 ``number``, ..."""

    def change(annotations: Coco) -> None:
        for annotation in annotations["annotations"][::number]:
            annotation[key] = copy.deepcopy(value)

    return change


def _without(number: int, key: str) -> Callable[[Coco], None]:
    def change(annotations: Coco) -> None:
        for annotation in annotations["annotations"][::number]:
            del annotation[key]

    return change


def _ghosts(annotations: Coco) -> None:
    for annotation in annotations["annotations"][::5]:
        annotation.update(segmentation=[], area=0, bbox=[0, 0, 0, 0])


def _stray_parts(annotations: Coco) -> None:
    for place, annotation in enumerate(annotations["annotations"][::4]):
        annotation["segmentation"].append([[160.0, 120.0], [160.0, 120.0, 161.0, 120.0], []][place % 3])


def _only_a_point(annotations: Coco) -> None:
    annotations["annotations"][0]["segmentation"] = [[160.0, 120.0]]


def _renamed(rename: Callable[[str, int], str]) -> Callable[[Coco], None]:
    def change(annotations: Coco) -> None:
        for number, image in enumerate(annotations["images"]):
            image["file_name"] = rename(image["file_name"], number)

    return change


def _root_category(name: str) -> Callable[[Coco], None]:
    return lambda annotations: annotations["categories"].insert(0, {"id": 0, "name": name, "supercategory": "none"})


def _odd_category_ids() -> ForeignSet:
    annotations, results = plain_set()
    ids = {1: 90, 2: 7, 3: 902000103548}
    for entry in (*annotations["annotations"], *results):
        entry["category_id"] = ids[entry["category_id"]]
    annotations["categories"] = [
        *({**category, "id": ids[category["id"]]} for category in annotations["categories"][::-1]),
        {"id": 12, "name": "star"},
    ]
    return ForeignSet(annotations, results)


def _outside_and_empty(annotations: Coco) -> None:
    """Put polygons outside of the image, a tiny one, a huge one, and an empty RLE among the annotations."""
    entries = annotations["annotations"]
    entries[0]["segmentation"] = [[-60.3, -41.9, -59.1, -54.8, -78.7, -57.7]]
    entries[3]["segmentation"] = [[300.0, 200.0, 500.0, 200.0, 500.0, 400.0, 300.0, 400.0]]
    entries[6].update(segmentation=[[100.1, 100.1, 100.3, 100.1, 100.3, 100.3, 100.1, 100.3]], area=0.04)
    far = 1000000.0
    entries[9]["segmentation"] = [[-far, -far, far, -far, far, far, -far, far]]
    entries[12].update(segmentation={"size": [240, 320], "counts": [76800]}, area=0)


def outside_and_empty() -> ForeignSet:
    """Give the set of :func:`_outside_and_empty`, with empty and full masks among the results."""
    annotations, results = plain_set()
    _outside_and_empty(annotations)
    empty = {"size": [240, 320], "counts": "PP[2"}
    for image_id, category_id in ((1, 2), (2, 3), (3, 1), (4, 2)):
        results.append({"image_id": image_id, "category_id": category_id, "segmentation": empty, "score": 0.99})
    full = {"size": [240, 320], "counts": [0, 76800]}
    runs_of_zero = {"size": [240, 320], "counts": [0, 0, 1000, 0, 0, 50, 0, 10, 75740]}
    results.append({"image_id": 2, "category_id": 2, "segmentation": full, "score": 0.5})
    results.append({"image_id": 3, "category_id": 2, "segmentation": runs_of_zero, "score": 0.45})
    return ForeignSet(annotations, results)


def dense(objects: int = 400) -> ForeignSet:
    """Give an image of so many objects of one class, all of which are found; the scores fall."""
    width = 520
    squares = [(25 * (n % 20) + 3, 25 * (n // 20) + 3) for n in range(objects)]
    polygons = [[float(v) for v in (x, y, x + 12, y, x + 12, y + 12, x, y + 12)] for x, y in squares]
    return ForeignSet(
        {
            "images": [{"id": 1, "file_name": "cells.png", "width": width, "height": width}],
            "categories": [{"id": 1, "name": "cell"}],
            "annotations": [
                {"id": n + 1, "image_id": 1, "category_id": 1, "segmentation": [p], "area": 144, "iscrowd": 0}
                for n, p in enumerate(polygons)
            ],
        },
        [
            {"image_id": 1, "category_id": 1, "segmentation": [polygon], "score": 0.9 - 0.001 * n}
            for n, polygon in enumerate(polygons)
        ],
        files={"cells.png": (width, width)},
    )


def _floats(results: list[Coco]) -> None:
    for result in results:
        result.update(image_id=float(result["image_id"]), category_id=float(result["category_id"]))


def _by_stem(results: list[Coco]) -> None:
    for result in results:
        result["image_id"] = f"scene_{result['image_id'] - 1:03}"


def _plus_a_mask(segmentation: Any) -> Callable[[list[Coco]], None]:
    result = {"image_id": 1, "category_id": 1, "score": 0.001, "segmentation": segmentation}
    return lambda results: results.append(result)


def _of_an_absent_class(results: list[Coco]) -> None:
    results.append({**results[0], "category_id": 77})


_OTHER_NAMES = {"circle": "Circle", "square": "square ", "triangle": "triangle?, small"}


def _other_names(annotations: Coco) -> None:
    for category in annotations["categories"]:
        category["name"] = _OTHER_NAMES[category["name"]]


_ACCENTED = [f"été ñandú {number}.jpg" for number in range(4)]


def _accented_names(form: Any) -> dict[str, tuple[int, int]]:
    return dict.fromkeys((unicodedata.normalize(form, name) for name in _ACCENTED), (240, 320))


_UPLOADED = dict.fromkeys((f"upload/4/scene_00{number}.jpg" for number in range(4)), (240, 320))

CASES = [
    Case("plain", changed(lambda annotations: None), Right(PLAIN_AP)),
    # coco-annotator 452, fiftyone 1523: boxes among masks
    Case("empty", changed(_every(5, "segmentation", [])), Right(refused=("4 ", "dataset.without_mask=drop", "ignore"))),
    Case("null", changed(_every(5, "segmentation", None)), Right(refused=("4 ", "dataset.without_mask=drop"))),
    Case("absent", changed(_without(5, "segmentation")), Right(refused=("4 ", "dataset.without_mask=drop"))),
    Case("ghosts", changed(_ghosts), Right(refused=("4 ", "dataset.without_mask=drop"))),
    Case("empty", changed(_every(5, "segmentation", [])), Right(37.792079207920786, ("4 ",)), {"without_mask": "drop"}),
    Case(
        "null", changed(_every(5, "segmentation", None)), Right(37.792079207920786, ("4 ",)), {"without_mask": "drop"}
    ),
    Case("absent", changed(_without(5, "segmentation")), Right(43.63366336633663, ("4 ",)), {"without_mask": "ignore"}),
    Case("ghosts", changed(_ghosts), Right(37.792079207920786, ("4 ",)), {"without_mask": "ignore"}),
    # cvat 955, 1769: a stray point, a line, an empty part beside a sound one
    Case("stray", changed(_stray_parts), Right(PLAIN_AP, ("5 ",))),
    Case("stray", changed(_stray_parts), Right(refused=("5 ", "dataset.strict")), {"strict": True}),
    Case("point", changed(_only_a_point), Right(refused=("1 ", "dataset.without_mask=drop"))),
    Case("point", changed(_only_a_point), Right(43.747289014615745, ("1 ",)), {"without_mask": "drop"}),
    # cvat 7030: every brush mask is a crowd
    Case("crowds", changed(_every(1, "iscrowd", 1)), Right(None, ("all 20 annotations are crowds",))),
    # rf-detr 1303: Roboflow's empty root category
    Case("root", changed(_root_category("shapes-abc")), Right(PLAIN_AP)),
    Case("root-same-name", changed(_root_category("circle")), Right(PLAIN_AP)),
    # label-studio 7294, cvat 1385: names of files
    Case("backslashes", changed(_renamed(lambda name, _: f"upload\\4\\{name}"), files=_UPLOADED), Right(PLAIN_AP)),
    Case("subfolder", changed(_renamed(lambda name, _: f"upload/4/{name}"), files=_UPLOADED), Right(PLAIN_AP)),
    Case("url", changed(_renamed(lambda name, _: f"/data/local-files/?d=images/{name}")), Right(PLAIN_AP)),
    Case(
        "nfc",
        changed(_renamed(lambda _, n: unicodedata.normalize("NFC", _ACCENTED[n])), files=_accented_names("NFD")),
        Right(PLAIN_AP),
    ),
    Case(
        "nfd",
        changed(_renamed(lambda _, n: unicodedata.normalize("NFD", _ACCENTED[n])), files=_accented_names("NFC")),
        Right(PLAIN_AP),
    ),
    # label-studio 6608, detectron2 5366: EXIF
    Case(
        "exif-6",
        changed(lambda annotations: None, files=dict.fromkeys(_names(plain_set()[0]), (320, 240)), exif=6),
        Right(PLAIN_AP),
    ),
    Case("exif-3", changed(lambda annotations: None, exif=3), Right(PLAIN_AP, ("4 ", "dataset.exif=apply"))),
    Case("iscrowd-absent", changed(_without(1, "iscrowd")), Right(PLAIN_AP)),
    *(Case(f"iscrowd-{value}", changed(_every(1, "iscrowd", value)), Right(PLAIN_AP)) for value in (False, 0.0, None)),
    Case("iscrowd-text", changed(_every(1, "iscrowd", "0")), Right(refused=("20 ", "iscrowd"))),
    Case("ignore", changed(_every(3, "ignore", 1)), Right(PLAIN_AP)),
    # cocoapi 222, detectron2 3359: more objects than detections
    Case("dense", dense, Right(100 * 26 / 101, ("AP cannot exceed 25.7", "protocol.max_detections"))),
    Case("dense-1000", dense, Right(100.0), max_detections=1000),
    Case("outside", outside_and_empty, Right(20.87289800408612)),
    Case("bom", as_bytes(lambda text: text.encode("utf-8-sig")), Right(PLAIN_AP)),
    Case("gzip", as_bytes(lambda text: gzip.compress(text.encode()), ".json.gz"), Right(PLAIN_AP)),
    Case("utf-16", as_bytes(lambda text: text.encode("utf-16")), Right(refused=("UTF-16",))),
    Case(
        "latin-1", as_bytes(lambda text: text.replace("circle", "kürbis").encode("latin-1")), Right(refused=("UTF-8",))
    ),
    Case("cut-off", as_bytes(lambda text: text[:3000].encode()), Right(refused=("copy it again",))),
    Case("no-bytes", as_bytes(lambda text: b""), Right(refused=("empty",))),
    Case("nan", changed(_every(5, "segmentation", [[1.0, 2.0, float("nan"), 4.0, 5.0, 6.0]])), Right(refused=("NaN",))),
    Case("category-ids", _odd_category_ids, Right(PLAIN_AP)),
    # results as other tools write them
    Case("float-ids", with_results(_floats), Right(PLAIN_AP)),
    Case("stems", with_results(_by_stem), Right(PLAIN_AP, ("22 ",))),
    Case("point-result", with_results(_plus_a_mask([[50.0, 60.0]])), Right(PLAIN_AP, ("1 ",))),
    Case("line-result", with_results(_plus_a_mask([[50.0, 60.0, 51.0, 60.0]])), Right(PLAIN_AP, ("1 ",))),
    Case("empty-result", with_results(_plus_a_mask([])), Right(PLAIN_AP, ("1 ",))),
    Case("absent-class", with_results(_of_an_absent_class), Right(PLAIN_AP, ("1 ",))),
    Case("no-results", with_results(lambda results: []), Right(0.0)),
    # mmdetection 11019: names of classes, which the results know by number
    Case("names", changed(_other_names), Right(PLAIN_AP)),
]
