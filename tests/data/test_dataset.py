from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.cli import dataset as dataset_command
from bench.data import dataset, images
from bench.errors import UserError
from bench.schema.config import DatasetConfig

REPOSITORY = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = REPOSITORY / ".." / "shared" / "data" / "coco_val_cc"
needs_photographs = pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason=f"{PHOTOGRAPHS} is absent")

HEIGHT, WIDTH = 40, 60
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


def coco() -> dict[str, Any]:
    """A right file: polygons, both kinds of RLE, a crowd, an image without annotations, a file in a subfolder."""
    # The same square column by column: 10 pixels from row 10 on, in the columns 10 to 19.
    runs = [410, *([10, 30] * 9), 10, 1620]
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "height": HEIGHT, "width": WIDTH},
            {"id": 3, "file_name": "sub/a.jpg", "height": HEIGHT, "width": WIDTH},
            {"id": 9, "file_name": "c.jpg", "height": HEIGHT, "width": WIDTH},
        ],
        "categories": [{"id": 5, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 5, "segmentation": SQUARE},
            {
                "id": 2,
                "image_id": 3,
                "category_id": 2,
                "iscrowd": 1,
                "area": 100,
                "bbox": [10, 10, 10, 10],
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs},
            },
            {"id": 3, "image_id": 7, "category_id": 2, "segmentation": compressed(runs)},
        ],
    }


def compressed(runs: list[int]) -> dict[str, Any]:
    from pycocotools import mask

    rle = mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": runs}, HEIGHT, WIDTH)
    return {"size": rle["size"], "counts": rle["counts"].decode()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images" / "sub").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for name in ("sub/a.jpg", "b.png", "c.jpg"):
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    return tmp_path


def config_of(folder: Path, data: object = None, **keys: Any) -> DatasetConfig:
    (folder / "a.json").write_text(data if isinstance(data, str) else json.dumps(coco() if data is None else data))
    return DatasetConfig(
        **{"name": "mine", "images": str(folder / "images"), "annotations": str(folder / "a.json"), **keys}
    )


def test_load_gives_images_and_categories_by_id_and_fills_what_may_be_missing(folder: Path) -> None:
    loaded = dataset.load(config_of(folder))
    assert [(i.id, i.path.name, i.height, i.width) for i in loaded.images] == [
        (3, "a.jpg", 40, 60),
        (7, "b.png", 40, 60),
        (9, "c.jpg", 40, 60),
    ]
    assert loaded.class_names == ("cat", "dog")
    assert [c.id for c in loaded.categories] == [2, 5]
    assert loaded.sha256 == hashlib.sha256((folder / "a.json").read_bytes()).hexdigest()
    assert [(a["area"], a["iscrowd"], a["bbox"]) for a in loaded.annotations] == [
        (100, 0, [10, 10, 10, 10]),
        (100, 1, [10, 10, 10, 10]),
        (100, 0, [10, 10, 10, 10]),
    ]
    dataset.check_images(loaded)


def test_limit_takes_the_first_images_by_id_and_their_annotations(folder: Path) -> None:
    loaded = dataset.load(config_of(folder, limit=1))
    assert [i.id for i in loaded.images] == [3]
    assert loaded.total_images == 3
    assert [a["id"] for a in loaded.annotations] == [1, 2]
    truth = loaded.ground_truth()
    assert [i["id"] for i in truth["images"]] == [1]
    assert [(a["id"], a["image_id"]) for a in truth["annotations"]] == [(1, 1), (2, 1)]


def broken(path: str, value: Any) -> dict[str, Any]:
    """The right file with one value replaced, or removed where ``value`` is ``...``; a path as "images.0.id"."""
    data = coco()
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    node: Any = data
    for key in parents:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return data


BAD = [
    ([1, 2], "is a JSON list, must be a COCO object"),
    (broken("images", ...), "images is missing"),
    (broken("annotations", ...), "annotations is missing"),
    (broken("categories", ...), "categories is missing"),
    (broken("annotations", {}), "annotations is a JSON object, must be a list"),
    (broken("images", []), "images is empty"),
    (broken("categories", []), "categories is empty"),
    (broken("images.1", "a.jpg"), "images[1] is a JSON string"),
    (broken("images.1.id", 7), "images[1]: id 7 stands there twice"),
    (broken("images.1.id", 10**400), "images[1]: id is 1000000"),
    (broken("images.1.id", "a\0b"), "images[1]: id is 'a\\x00b'"),
    (broken("images.1.id", True), "images[1]: id is True"),
    (broken("images.0.height", ...), "images[0] (id 7): height and width are None and 60"),
    (broken("images.0.width", 0), "height and width are 40 and 0"),
    (broken("images.0.width", 60.5), "height and width are 40 and 60.5"),
    (broken("images.0.file_name", ...), "1 image without a usable file_name"),
    (broken("categories.1.id", 5), "categories[1]: id 5 stands there twice"),
    (broken("categories.1.name", "dog"), "categories[1] (id 2): name 'dog' is also the name of id 5"),
    (broken("categories.1.name", ...), "name is None"),
    (broken("annotations.1.image_id", 8), "1 annotation of an image that the file does not have"),
    (broken("annotations.1.image_id", [3]), "(annotations[1] (id 2): image_id [3])"),
    (broken("annotations.1.category_id", 1), "annotations[1] (id 2): category_id 1"),
    (broken("annotations.1.iscrowd", 2), "must be 0 or 1 (annotations[1] (id 2): iscrowd is 2)"),
    (broken("annotations.1.iscrowd", "0"), "iscrowd is '0'"),
    (broken("annotations.1.iscrowd", float("nan")), "iscrowd is nan"),
    (broken("annotations.1.area", float("nan")), "area is nan"),
    (broken("annotations.1.bbox", [1, 2, 3]), "bbox is [1, 2, 3]"),
    (broken("annotations.0.segmentation", ...), "1 annotation without a mask: give dataset.without_mask=drop"),
    (broken("annotations.0.segmentation", None), "or dataset.without_mask=ignore"),
    (broken("annotations.0.segmentation", []), "1 annotation without a mask"),
    (broken("annotations.0.segmentation", [[]]), "1 annotation without a mask"),
    (broken("annotations.0.segmentation", [[1, 1, 5, 5], [2, 2]]), "1 annotation without a mask"),
    (broken("annotations.0.segmentation", [[1, 1, 5, 5, 1, 5, 2]]), "segmentation[0] has 7 numbers"),
    (broken("annotations.0.segmentation", [*SQUARE, [1, 1, 5]]), "segmentation[1] has 3 numbers"),
    (broken("annotations.0.segmentation", [[1, 1, 5, 5, 1, float("inf")]]), "holds NaN or infinity"),
    (broken("annotations.0.segmentation", [[1, 1, 5, 5, 1, "5"]]), "must be a list of numbers [x1, y1, x2, y2, ...]"),
    (broken("annotations.0.segmentation", [10, 10, 20, 10, 20]), "segmentation[0] has 5 numbers"),
    (broken("annotations.0.segmentation", "mask.png"), 'segmentation is "mask.png"'),
    (broken("annotations.0.segmentation", {"png": "x"}), "must be a list of polygons"),
    (broken("annotations.1.segmentation.size", [60, 40]), "1 annotation with an RLE of the size [width, height]"),
    (broken("annotations.1.segmentation.size", [41, 60]), "1 annotation with an RLE of another size"),
    (broken("annotations.1.segmentation.counts", [2000]), "cover 2000 pixels, the image has 40 x 60 = 2400"),
    (broken("annotations.1.segmentation.counts", [2500, -100]), "a run of impossible length"),
    (broken("annotations.1.segmentation.counts", [10**30]), "a run of impossible length"),
    (broken("annotations.1.segmentation.counts", [1.5]), "must be a list of whole numbers or a string"),
    (broken("annotations.1.segmentation.counts", None), "segmentation.counts are null"),
    (broken("annotations.2.segmentation.counts", "0"), "cover 0 pixels"),
    (broken("annotations.2.segmentation.counts", "Y" * 3), "not a compressed RLE string, or one that is cut off"),
    (broken("annotations.2.segmentation.counts", "é~"), "not a compressed RLE string"),
]


@pytest.mark.parametrize(("data", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_file_is_told_in_one_line_with_file_and_key(folder: Path, data: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        dataset.load(config_of(folder, data))
    assert message in str(caught.value)
    assert str(folder / "a.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"annotations": "/nowhere.json"}, r"/nowhere\.json: no such file \(dataset\.annotations\)"),
        ({"annotations": "/"}, r"is a directory, must be a file.*\(dataset\.annotations\)"),
        ({"annotations": "/no.json", "how_to_get": "get val2017.zip"}, "; get val2017.zip"),
        ({"images": None, "annotations": None}, "give dataset.images=PATH and dataset.annotations=PATH"),
        ({"limit": 0}, "dataset.limit=0: must be 1 or more"),
        ({"limit": -3}, "dataset.limit=-3"),
    ],
)
def test_a_wrong_key_is_told(folder: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataset.load(config_of(folder, **keys))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            json.dumps(coco())[:200],
            r"a\.json: cannot be read \(dataset\.annotations\): it ends in the middle after 200",
        ),
        ("", "the file is empty"),
        (" \n", "the file is empty, it has 2 bytes"),
        ("{'images': 1}", "not JSON"),
        ("[" * 100_000, "it ends in the middle"),
        ('{"images": ' + "9" * 5000 + "}", "not JSON: Exceeds the limit"),
    ],
)
def test_a_file_that_is_no_json(folder: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataset.load(config_of(folder, text))


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[: len(content) * 2 // 3])
    elif how == "not an image":
        path.write_text("<html>404</html>")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "size":
        Image.new("RGB", (HEIGHT, WIDTH)).save(path)


@pytest.mark.parametrize("name", ["sub/a.jpg", "b.png"])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "no such image file"),
        ("truncated", "is truncated or damaged"),
        ("not an image", "is not an image"),
        ("empty", "is not an image"),
        ("size", r"has 60 x 40 pixels \(height x width\), the annotation file says 40 x 60"),
    ],
)
def test_a_bad_image_is_found_and_named(folder: Path, name: str, how: str, message: str) -> None:
    loaded = dataset.load(config_of(folder))
    damage(folder / "images" / name, how)
    with pytest.raises(UserError, match=message) as caught:
        dataset.check_images(loaded)
    assert name in str(caught.value)
    record = next(i for i in loaded.images if i.path.match(name))
    with pytest.raises(UserError) as caught:
        images.read_image(record)
    assert str(folder / "images" / name) in str(caught.value)


def test_a_jpeg_cut_off_anywhere_is_found_and_trailing_bytes_are_no_damage(folder: Path) -> None:
    loaded = dataset.load(config_of(folder))
    path = folder / "images" / "sub" / "a.jpg"
    whole = path.read_bytes()
    for missing in (1, 2, 3, 40, 500):
        path.write_bytes(whole[:-missing])
        with pytest.raises(UserError, match="truncated or damaged"):
            dataset.check_images(loaded)
    path.write_bytes(whole + bytes(5000))
    dataset.check_images(loaded)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("/no/images", r"^/no/images: no such folder \(dataset\.images\); get val2017\.zip$"),
        ("???", r"^dataset=mine: model=yolo reads images; give dataset\.images=PATH \(the image folder\)$"),
        (None, r"give dataset\.images=PATH"),
    ],
)
def test_without_an_image_folder_annotations_are_read(folder: Path, images: str | None, message: str) -> None:
    """Results that a model gave elsewhere need no image; what reads pixels asks for them."""
    with_images, config = (
        dataset.load(config_of(folder)),
        config_of(folder, images=images, how_to_get="get val2017.zip"),
    )
    loaded = dataset.load(config)
    assert not loaded.has_images
    assert (loaded.annotations, loaded.file_names) == (with_images.annotations, with_images.file_names)
    assert [record.path.name for record in loaded.images] == [record.path.name for record in with_images.images]
    assert not any(record.path.is_absolute() for record in loaded.images)
    assert dataset.digest(loaded) == dataset.digest(loaded)
    assert dataset.digest(loaded) != dataset.digest(with_images)
    with pytest.raises(UserError, match=message):
        dataset.require_images(loaded, config, "model=yolo")
    dataset.require_images(with_images, config, "model=yolo")


def average_precision(truth: dict[str, Any]) -> float:
    """pycocotools' mask AP of the ground truth as its own detections, crowds left out."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = truth
        ground_truth.createIndex()
        detections = [
            {
                "image_id": a["image_id"],
                "category_id": a["category_id"],
                "segmentation": ground_truth.annToRLE(a),
                "score": 0.9,
            }
            for a in truth["annotations"]
            if not a["iscrowd"]
        ]
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(detections), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def test_annotation_id_zero_does_not_lower_pycocotools_ap(folder: Path) -> None:
    data = broken("annotations.0.id", 0)
    truth = dataset.load(config_of(folder, data)).ground_truth()
    assert average_precision(truth) == pytest.approx(1.0)


@needs_photographs
def test_the_photographs_load_in_both_evaluators_and_their_ground_truth_scores_one() -> None:
    hotcoco = pytest.importorskip("hotcoco")
    paths = {"images": str(PHOTOGRAPHS / "images"), "annotations": str(PHOTOGRAPHS / "instances.json")}
    loaded = dataset.load(DatasetConfig(name="coco", **paths))
    dataset.check_images(loaded)
    truth = loaded.ground_truth()
    assert (len(truth["images"]), len(truth["annotations"]), len(truth["categories"])) == (59, 534, 80)
    assert sum(a["iscrowd"] for a in truth["annotations"]) == 7
    assert len(hotcoco.COCO(copy.deepcopy(truth)).getAnnIds()) == 534
    assert average_precision(truth) == pytest.approx(1.0)
    assert all(images.read_image(i).shape == (i.height, i.width, 3) for i in loaded.images[:5])


def check(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "bench.cli.dataset", "check", str(folder / "a.json"), *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


def test_check_of_a_right_set_tells_what_is_in_it(folder: Path) -> None:
    config_of(folder)
    code, text = check(folder, "--images", str(folder / "images"))
    assert code == 0, text
    assert "3 images (1 without annotations)" in text
    assert "2 instances, 1 crowds, 2 categories" in text
    assert "No problem found" in text


def test_check_lists_all_problems_and_exits_with_2(folder: Path) -> None:
    data = coco()
    data["annotations"][0]["segmentation"] = [[1, 1, 5, 5, 6]]
    data["annotations"][1]["category_id"] = 99
    data["categories"][1]["name"] = "dog"
    config_of(folder, data)
    code, text = check(folder)
    assert code == 2
    assert "3 kinds of problems" in text
    assert "annotations[0] (id 1): segmentation[0] has 5 numbers" in text
    assert "annotations[1] (id 2): category_id 99" in text
    assert "categories[1] (id 2): name 'dog'" in text


def test_check_lists_every_bad_image(folder: Path) -> None:
    config_of(folder)
    damage(folder / "images" / "sub" / "a.jpg", "truncated")
    damage(folder / "images" / "b.png", "missing")
    code, text = check(folder, "--images", str(folder / "images"))
    assert code == 2
    assert "2 kinds of problems" in text
    assert "a.jpg (id 3) is truncated" in text
    assert "b.png (id 7) no such image file" in text


@pytest.mark.parametrize(("area", "size"), [(1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large")])
def test_size_buckets_are_cocos(area: int, size: str) -> None:
    assert dataset_command.bucket(area) == size


def test_the_command_for_the_other_problems_is_ready_to_paste(folder: Path) -> None:
    data = coco()
    data["annotations"][0]["category_id"] = 99
    data["annotations"][1]["area"] = -1
    (folder / "a b.json").write_text(json.dumps(data))
    with pytest.raises(UserError) as caught:
        dataset.load(config_of(folder, annotations=str(folder / "a b.json"), max_pixels=5000, strict=True))
    told, _, command = str(caught.value).partition("; 1 more kind of problems: ")
    assert told.endswith("(annotations[0] (id 1): category_id 99)")
    *start, file, _, images, pixels, strict = shlex.split(command)
    assert start == ["python", "-m", "bench.cli.dataset", "check"]
    assert images == str(folder / "images")
    assert [file, pixels, strict] == [str(folder / "a b.json"), "dataset.max_pixels=5000", "dataset.strict=true"]
    done = subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert "2 kinds of problems" in done.stdout
    assert "area is -1" in done.stdout
