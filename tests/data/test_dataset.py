from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import subprocess
import sys
import time
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
    assert [i["id"] for i in truth["images"]] == [3]
    assert [a["id"] for a in truth["annotations"]] == [1, 2]


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
    (broken("images.1.id", "3"), "images[1]: id is '3'"),
    (broken("images.1.id", True), "images[1]: id is True"),
    (broken("images.0.height", ...), "images[0] (id 7): height and width are None and 60"),
    (broken("images.0.width", 0), "height and width are 40 and 0"),
    (broken("images.0.width", 60.0), "height and width are 40 and 60.0"),
    (broken("images.0.file_name", ...), "file_name is None"),
    (broken("categories.1.id", 5), "categories[1]: id 5 stands there twice"),
    (broken("categories.1.name", "dog"), "categories[1] (id 2): name 'dog' is also the name of id 5"),
    (broken("categories.1.name", ...), "name is None"),
    (broken("annotations.1.id", 1), "annotations[1]: id 1 stands there twice"),
    (broken("annotations.1.id", ...), "annotations[1]: id is None"),
    (broken("annotations.1.image_id", 8), "annotations[1] (id 2): image_id 8 is no image of this file"),
    (broken("annotations.1.image_id", [3]), "image_id [3] is no image"),
    (broken("annotations.1.category_id", 1), "category_id 1 is no category of this file"),
    (broken("annotations.1.iscrowd", 2), "iscrowd is 2, must be 0 or 1"),
    (broken("annotations.1.area", float("nan")), "area is nan"),
    (broken("annotations.1.bbox", [1, 2, 3]), "bbox is [1, 2, 3], must be [x, y, width, height]"),
    (broken("annotations.0.segmentation", ...), "annotations[0] (id 1): segmentation is missing"),
    (broken("annotations.0.segmentation", [[1, 1, 5, 5]]), "segmentation[0] has 4 numbers (a polygon of 2 points"),
    (broken("annotations.0.segmentation", [[1, 1, 5, 5, 1, 5, 2]]), "segmentation[0] has 7 numbers, must be an even"),
    (broken("annotations.0.segmentation", [*SQUARE, [1, 1]]), "segmentation[1] has 2 numbers"),
    (broken("annotations.0.segmentation", [[1, 1, 5, 5, 1, float("inf")]]), "holds NaN or infinity"),
    (broken("annotations.0.segmentation", [[1, 1, 5, 5, 1, "5"]]), "must be a polygon: a list of numbers"),
    (broken("annotations.0.segmentation", SQUARE[0]), "segmentation[0] is 10, must be a polygon"),
    (broken("annotations.0.segmentation", []), "segmentation is empty"),
    (broken("annotations.0.segmentation", "mask.png"), 'segmentation is "mask.png", must be a list of polygons'),
    (broken("annotations.0.segmentation", {"png": "x"}), "must be a list of polygons"),
    (broken("annotations.1.segmentation.size", [60, 40]), "segmentation.size is [60, 40], must be the image's"),
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
        ({"annotations": "/"}, r"Is a directory \(dataset\.annotations\)"),
        ({"annotations": "/no.json", "how_to_get": "get val2017.zip"}, "; get val2017.zip"),
        ({"images": "/no/images"}, r"/no/images: no such folder \(dataset\.images\)"),
        ({"images": None, "annotations": None}, "give dataset.images=PATH and dataset.annotations=PATH"),
        ({"images": "???"}, r"give dataset\.images=PATH \("),
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
        ("", "it ends in the middle after 0 bytes"),
        ("{'images': 1}", "not JSON"),
        ("[" * 100_000, "it ends in the middle"),
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
    assert str(folder / "images" / name) in str(caught.value)
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


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_read_image_gives_rgb_of_every_kind_of_file(tmp_path: Path, mode: str) -> None:
    # Gray 85 and 170 survive all of these kinds, a palette and a CMYK file of gray included.
    gray = np.full((12, 20), 85, dtype=np.uint8)
    gray[:, 10:] = 255 if mode == "1" else 170
    gray[:, :10] = 0 if mode == "1" else 85
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.fromarray(gray).convert("RGB").convert(mode, dither=Image.Dither.NONE).save(path)
    pixels = images.read_image(images.ImageRecord(1, path, 12, 20))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (12, 20, 3)
    assert pixels.flags["C_CONTIGUOUS"]
    # The web palette has steps of 51.
    assert np.abs(pixels.astype(int) - gray[..., None]).max() <= (26 if mode == "P" else 0)


def test_read_image_scales_sixteen_bits(tmp_path: Path) -> None:
    values = np.array([[0, 256, 0x80FF, 0xFFFF]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    pixels = images.read_image(images.ImageRecord(1, tmp_path / "x.png", 1, 4))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 12))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.jpg", exif=exif)
    assert images.read_image(images.ImageRecord(1, tmp_path / "x.jpg", 12, 20)).shape == (12, 20, 3)


def test_labels_meet_categories_by_name(folder: Path) -> None:
    loaded = dataset.load(config_of(folder))
    assert dataset.match_labels(loaded, ["dog", "person", "cat"], {}) == [5, None, 2]
    assert dataset.match_labels(loaded, ["hound", "cat"], {"dog": "hound"}) == [5, 2]


@pytest.mark.parametrize(
    ("classes", "aliases", "message"),
    [
        (
            ["cat", "dogs"],
            {},
            "1 of 2 categories match no class of the model: dog;.*dataset.aliases.*did you mean dogs",
        ),
        (["person"], {}, "2 of 2 categories .*: cat, dog;"),
        (["cat", "dog"], {"dgo": "dog"}, "'dgo' is no category of mine; did you mean dog"),
        (["cat", "dog"], {"dog": "hound"}, r"dataset\.aliases\.dog: 'hound' is no class of the model"),
        (["cat", "dog"], {"dog": "cat"}, "two categories of mine stand for the class 'cat'"),
    ],
)
def test_names_that_do_not_match(folder: Path, classes: list[str], aliases: dict[str, str], message: str) -> None:
    loaded = dataset.load(config_of(folder))
    with pytest.raises(UserError, match=message):
        dataset.match_labels(loaded, classes, aliases)


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


@needs_photographs
def test_annotations_of_the_size_of_val2017_load_in_seconds(tmp_path: Path) -> None:
    data = json.loads((PHOTOGRAPHS / "instances.json").read_text())
    copies = 68
    large = {
        "categories": data["categories"],
        "images": [{**i, "id": i["id"] + k * 10**7} for k in range(copies) for i in data["images"]],
        "annotations": [
            {**a, "id": a["id"] + k * 10**13, "image_id": a["image_id"] + k * 10**7}
            for k in range(copies)
            for a in data["annotations"]
        ],
    }
    assert len(large["annotations"]) > 36_000
    (tmp_path / "large.json").write_text(json.dumps(large))
    start = time.perf_counter()
    dataset.load(DatasetConfig(name="large", images=str(tmp_path), annotations=str(tmp_path / "large.json")))
    assert time.perf_counter() - start < 10


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
    data["annotations"][0]["segmentation"] = [[1, 1, 5, 5]]
    data["annotations"][1]["category_id"] = 99
    data["categories"][1]["name"] = "dog"
    config_of(folder, data)
    code, text = check(folder)
    assert code == 2
    assert "3 problems" in text
    assert "annotations[0] (id 1): segmentation[0] has 4 numbers" in text
    assert "annotations[1] (id 2): category_id 99" in text
    assert "categories[1] (id 2): name 'dog'" in text


def test_check_lists_every_bad_image(folder: Path) -> None:
    config_of(folder)
    damage(folder / "images" / "sub" / "a.jpg", "truncated")
    damage(folder / "images" / "b.png", "missing")
    code, text = check(folder, "--images", str(folder / "images"))
    assert code == 2
    assert "2 problems" in text
    assert "a.jpg: is truncated" in text
    assert "b.png: no such image file" in text


@pytest.mark.parametrize(("area", "size"), [(1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large")])
def test_size_buckets_are_cocos(area: int, size: str) -> None:
    assert dataset_command.bucket(area) == size


def test_the_command_for_the_other_problems_is_ready_to_paste(folder: Path) -> None:
    data = coco()
    for annotation in data["annotations"][:2]:
        annotation["category_id"] = 99
    (folder / "a b.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"\(and 1 more: python -m bench\.cli\.dataset check '.*/a b\.json'\)"):
        dataset.load(config_of(folder, annotations=str(folder / "a b.json")))
