"""Tests that a results file means what its numbers say, in whatever form a tool wrote it, or is refused in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_api

from bench.data import dataset
from bench.data.results.category_ids import ways_that_fit
from bench.data.results.reader import ReadResults, read_results
from bench.errors import UserError
from bench.predictor import ResultsFile
from bench.schema.config import DatasetConfig, ShapesConfig

HEIGHT, WIDTH = 40, 60
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dataset.CocoDataset:
    return dataset.load(
        DatasetConfig(name="shapes", shapes=ShapesConfig(count=7, cache=str(tmp_path_factory.mktemp("shapes"))))
    )


def limited(truth: dataset.CocoDataset, count: int) -> dataset.CocoDataset:
    folder = truth.images[0].path.parent
    return dataset.load(
        DatasetConfig(name="few", images=str(folder), annotations=str(truth.annotations_path), limit=count)
    )


def as_results(truth: dataset.CocoDataset) -> list[dict[str, Any]]:
    """Give the ground truth without its crowds as results with a ``bbox``, scores rising in the order of the file."""
    return [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"],
            "segmentation": a["segmentation"],
            "score": k / 1000,
            "bbox": a["bbox"],
        }
        for k, a in enumerate(truth.annotations)
        if not a["iscrowd"]
    ]


def read(
    folder: Path, content: object, truth: dataset.CocoDataset, strict: bool = False, **options: Any
) -> ReadResults:
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_results(ResultsFile(path, **options), truth, DatasetConfig(strict=strict))


def named(*names: str, first_id: int = 1) -> dataset.CocoDataset:
    """A set without images of these file names, ids counted from ``first_id``, of the categories 1 and 2."""
    return dataset.from_coco(
        "named",
        {
            "images": [
                {"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH} for n, name in enumerate(names, first_id)
            ],
            "annotations": [],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        },
        None,
        Path("truth.json"),
        "",
    )


def result(image_id: Any, category_id: Any = 1, segmentation: Any = SQUARE, **more: Any) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": category_id, "segmentation": segmentation, "score": 0.5, **more}


def images_of(read: ReadResults) -> dict[Any, int]:
    """The number of results of each image that has any."""
    return {image: len(results) for image, results in read.by_image.items() if results}


def test_results_come_by_image_and_falling_score_as_rle_without_box(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    given = as_results(truth)
    assert {type(entry["segmentation"]) for entry in given} == {list, dict}
    found = read(tmp_path, given, truth)
    assert found.notes == ()
    assert set(found.by_image) == {1, 2, 3, 4, 5, 6, 7}
    assert found.by_image[7] == []
    assert sum(map(len, found.by_image.values())) == len(given)
    by_score = {entry["score"]: entry for entry in given}
    areas = {k / 1000: a["area"] for k, a in enumerate(truth.annotations)}
    for entries in found.by_image.values():
        scores = [entry["score"] for entry in entries]
        assert scores == sorted(scores, reverse=True)
        for entry in entries:
            assert set(entry) == {"image_id", "category_id", "segmentation", "score"}
            assert isinstance(entry["segmentation"]["counts"], str)
            assert entry["category_id"] == by_score[entry["score"]]["category_id"]
            assert mask_api.area(entry["segmentation"]) == areas[entry["score"]]


def test_an_uncompressed_rle_is_the_same_mask(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    image = truth.images[0]
    mask = np.zeros((image.height, image.width), dtype=np.uint8)
    mask[0:10, 0:5] = 1
    rest = image.height * image.width - 4 * image.height - 10
    counts = [0, 10, *([image.height - 10, 10] * 4), rest]
    entry = {"image_id": image.id, "category_id": 1, "score": 1, "segmentation": {"size": list(mask.shape)}}
    entry["segmentation"]["counts"] = counts
    (one,) = read(tmp_path, [entry], truth).by_image[image.id]
    assert (mask_api.decode(one["segmentation"]) == mask).all()


def test_more_than_100_results_of_an_image_are_all_kept(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    assert len(read(tmp_path, as_results(truth)[:1] * 150, truth).by_image[1]) == 150


def test_results_of_the_whole_set_serve_a_limited_one(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    found = read(tmp_path, as_results(truth), limited(truth, 2))
    assert found.notes == ()
    assert set(found.by_image) == {1, 2}
    assert len(found.by_image[1]) == sum(a["image_id"] == 1 and not a["iscrowd"] for a in truth.annotations)


def test_no_results_at_all_is_a_model_that_finds_nothing_and_is_told(
    tmp_path: Path, truth: dataset.CocoDataset
) -> None:
    found = read(tmp_path, [], truth, strict=True)
    assert not any(found.by_image.values())
    assert found.notes == ("results: the file holds no result, so mask AP is 0",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 8}, "1 image_id that is no image .* (entry 1: image_id 8)"),
        ({"image_id": True}, "entry 1: image_id True"),
        ({"image_id": 1.5}, "entry 1: image_id 1.5"),
        ({"category_id": True}, "entry 1: category_id True"),
        ({"category_id": []}, "entry 1: category_id []"),
        ({"score": math.nan}, "1 result whose score is no finite number: AP needs their order (entry 1: nan)"),
        ({"score": math.inf}, "entry 1: inf"),
        ({"score": "0.9"}, "entry 1: '0.9'"),
        ({"score": None}, "1 result without score: every result has"),
        ({"score": ...}, "1 result without score"),
        ({"image_id": ...}, "1 result without image_id"),
        ({"segmentation": ...}, "1 result without a segmentation: mask AP compares masks, and a box is none"),
        ({"segmentation": None}, "1 result without a segmentation"),
        ({"segmentation": {"size": [10, 10], "counts": [100]}}, "1 RLE of another size than their image"),
        ({"segmentation": [[1, 1, 5, 5, 9]]}, "entry 1: segmentation[0] has 5 numbers"),
        ({"segmentation": "circle"}, 'entry 1: segmentation is "circle"'),
    ],
)
def test_a_bad_entry_is_named(tmp_path: Path, truth: dataset.CocoDataset, change: dict[str, Any], message: str) -> None:
    given = as_results(truth)[:3]
    entry = {**given[1], **change}
    given[1] = {key: value for key, value in entry.items() if value is not ...}
    with pytest.raises(UserError) as caught:
        read(tmp_path, given, truth)
    line = str(caught.value)
    for part in message.split(" .* "):
        assert part in line
    assert str(tmp_path / "results.json") in line


@pytest.mark.parametrize(
    ("counts", "message"),
    [("zz", "not a compressed RLE string"), ("1", "cover 1 pixels"), ([5], "cover 5 pixels"), (7, "counts are 7")],
)
def test_a_bad_rle_is_named(tmp_path: Path, truth: dataset.CocoDataset, counts: object, message: str) -> None:
    image = truth.images[0]
    rle = {"size": [image.height, image.width], "counts": counts}
    with pytest.raises(UserError, match=f"entry 0: segmentation.*{message}"):
        read(tmp_path, [result(image.id, segmentation=rle)], truth)


def test_problems_come_by_kind_with_their_number(tmp_path: Path) -> None:
    given = [result("a", score=math.nan) for _ in range(5)] + [result("b", segmentation=[["x"]])]
    with pytest.raises(UserError) as caught:
        read(tmp_path, given, named("a.jpg", "b.jpg"))
    line = str(caught.value)
    assert "5 results whose score is no finite number" in line
    assert "(entry 0: nan, entry 1: nan, entry 2: nan, ...); also 1 segmentation that is no mask" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"image_id": 1, "category_id": 1', "it ends in the middle"),
        ('{"annotations": [{"id": 1}]}', "a COCO object whose annotations have no score, as a data set is"),
        ('{"predictions": []}', r"a JSON object with the keys \['predictions'\], must be a COCO results array"),
        ('"x"', "is 'x', must be a COCO results array"),
        ('["x"]', r"1 result that is no object: .* \(entry 0: 'x'\)"),
    ],
)
def test_a_file_that_is_no_results_file(tmp_path: Path, truth: dataset.CocoDataset, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, text, truth)
    assert "results.json" in str(caught.value)


def test_an_absent_file(tmp_path: Path, truth: dataset.CocoDataset) -> None:
    with pytest.raises(UserError, match=r"none\.json: no such file \(model\.options\.results\)"):
        read_results(ResultsFile(tmp_path / "none.json"), truth)


def test_ids_as_other_tools_write_them(tmp_path: Path) -> None:
    """1.0 and "1" are 1; c14."""
    given = [result(1.0, 2.0), result("2", "1"), result(2, 1)]
    found = read(tmp_path, given, named("a.jpg", "b.jpg"))
    assert [(r["image_id"], r["category_id"]) for r in found.by_image[1] + found.by_image[2]] == [
        (1, 2),
        (2, 1),
        (2, 1),
    ]
    assert all(type(r["image_id"]) is int for r in found.by_image[1])
    assert found.notes == (
        "results: 2 results whose ids are written as 1.0 or as text: read as whole numbers (entry 0, entry 1)",
    )
    with pytest.raises(UserError, match=r"2 results whose ids .*; dataset\.strict=true refuses repairs"):
        read(tmp_path, given, named("a.jpg", "b.jpg"), strict=True)


@pytest.mark.parametrize(
    "segmentation",
    [[], [[]], [[50.0, 60.0]], [[50.0, 60.0, 51.0, 60.0]], [[1, 1], [2, 2, 3, 3]]],
    ids=["none", "empty", "point", "line", "two"],
)
def test_a_result_without_an_area_is_an_empty_mask(tmp_path: Path, segmentation: Any) -> None:
    """sahi 1118: it is a false positive, as an empty RLE is to pycocotools, and not left out; c31."""
    given = [result(1), result(1, segmentation=segmentation)]
    found = read(tmp_path, given, named("a.jpg"))
    areas = [int(mask_api.area(r["segmentation"])) for r in found.by_image[1]]
    assert areas == [400, 0]
    assert found.by_image[1][1]["segmentation"]["size"] == [HEIGHT, WIDTH]
    [note] = found.notes
    assert note.startswith("results: 1 result without an area (no polygon, or one of fewer than three points): read as")
    assert note.endswith("(entry 1)")


def test_stray_parts_and_a_flat_polygon_have_one_meaning(tmp_path: Path) -> None:
    """pycocotools would take the four numbers of the line for a box."""
    given = [result(1, segmentation=[[1, 1, 2, 2], *SQUARE, []]), result(1, segmentation=SQUARE[0])]
    found = read(tmp_path, given, named("a.jpg"))
    assert [int(mask_api.area(r["segmentation"])) for r in found.by_image[1]] == [400, 400]
    assert found.notes == (
        "results: 1 result with a polygon of fewer than three points beside a sound one: it is left out (entry 0)",
        "results: 1 segmentation that is one list of numbers: read as one polygon (entry 1)",
    )


def test_boxes_alone_are_no_masks(tmp_path: Path) -> None:
    """sahi writes ``[]`` beside the box of a model that has no masks."""
    boxes = [result(1, segmentation=[], bbox=[1, 2, 3, 4]) for _ in range(3)]
    with pytest.raises(UserError, match="3 results with an empty segmentation beside a box that has an area, which is"):
        read(tmp_path, boxes, named("a.jpg"))


def test_an_rle_of_the_transposed_size_is_named(tmp_path: Path) -> None:
    given = [result(1, segmentation={"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]})]
    with pytest.raises(UserError, match=r"1 RLE of the size \[width, height\] of their image: must be \[height, width"):
        read(tmp_path, given, named("a.jpg"))


def test_classes_that_the_set_lacks_are_left_out_and_counted(tmp_path: Path) -> None:
    given = [result(1), result(1, 3), result(1, 3), result(1, 90)]
    found = read(tmp_path, given, named("a.jpg"))
    assert images_of(found) == {1: 1}
    assert found.notes == (
        "results: 3 results of categories that the data set lacks: left out (entry 1: category_id 3, "
        "entry 2: category_id 3, entry 3: category_id 90)",
    )
    with pytest.raises(UserError, match=r"3 results of categories that the data set lacks, which is all of them: must"):
        read(tmp_path, given[1:], named("a.jpg"))


def test_an_offset_is_added_to_each_category(tmp_path: Path) -> None:
    found = read(tmp_path, [result(1, 0), result(1, 1)], named("a.jpg"), category_offset=1)
    assert [r["category_id"] for r in found.by_image[1]] == [1, 2]
    assert found.notes == ()
    with pytest.raises(UserError, match=r"model\.options\.category_offset='one': must be a whole number"):
        read(tmp_path, [result(1, 0)], named("a.jpg"), category_offset="one")
    with pytest.raises(UserError, match=r"category_offset=1: entry 0 has the category_id 'cat', which is a text"):
        read(tmp_path, [result(1, "cat")], named("a.jpg"), category_offset=1)


def test_a_few_images_that_a_set_lost_are_left_out(tmp_path: Path) -> None:
    """The set has a gap where its image was, so that the others are numbered as before."""
    images = [n for n in range(1, 41) if n != 17]
    thinned = dataset.from_coco(
        "thinned",
        {
            "images": [{"id": n, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in images],
            "annotations": [],
            "categories": [{"id": 1, "name": "cat"}],
        },
        None,
        Path("truth.json"),
        "",
    )
    given = [result(n) for n in range(1, 41)]
    found = read(tmp_path, given, thinned)
    assert set(images_of(found)) == set(images)
    assert found.notes == ("results: 1 result of images that the data set lacks: left out (entry 16: image_id 17)",)
    with pytest.raises(UserError, match="1 result of images"):
        read(tmp_path, given, thinned, strict=True)


def test_images_that_were_numbered_anew_are_refused(tmp_path: Path) -> None:
    """One of 40 images is gone and the others have other numbers now, so that the last one is unknown."""
    given = [result(n) for n in range(1, 41)]
    anew = named(*(f"{n}.png.jpg" for n in range(1, 40)))
    with pytest.raises(UserError, match=r"1 image_id that is no image .*other_images=drop \(entry 39: image_id 40\)"):
        read(tmp_path, given, anew)
    assert len(images_of(read(tmp_path, given, anew, other_images="drop"))) == 39


def test_results_of_another_set_are_refused_with_a_key_to_go_on(tmp_path: Path) -> None:
    given = [result(1), result(5, segmentation="consequence of the other image")]
    with pytest.raises(UserError) as caught:
        read(tmp_path, given, named("a.jpg"))
    assert "1 image_id that is no image of the data set" in str(caught.value)
    assert "consequence" not in str(caught.value)
    assert images_of(read(tmp_path, given, named("a.jpg"), other_images="drop")) == {1: 1}
    with pytest.raises(UserError, match=r"other_images='keep': must be drop, or null"):
        read(tmp_path, given, named("a.jpg"), other_images="keep")


@pytest.mark.parametrize(
    ("names", "ids", "what"),
    [
        (["a/été.jpg", "b.jpg"], ["a\\e\u0301te\u0301.jpg", "b.jpg"], "the file name of image 11"),
        (["a/x.jpg", "b.jpg"], ["x.jpg", "val/b.jpg"], "the file name without folder of image 11"),
        (["a/x.v2.jpg", "b.jpg"], ["x.v2", "b"], "the file name without folder and extension of image 11"),
        (["000000000139.jpg", "b_7.jpg"], [139, "b_7"], "the number in the file name of image 11"),
        (
            ["000000000139.jpg", "285.jpg"],
            ["000000000139", "285"],
            "the file name without folder and extension of image 11",
        ),
    ],
)
def test_images_are_found_by_the_names_of_their_files(
    tmp_path: Path, names: list[str], ids: list[Any], what: str
) -> None:
    """Ultralytics' predictions.json has the stem, as a number where it is one."""
    found = read(tmp_path, [result(ids[0]), result(ids[0]), result(ids[1])], named(*names, first_id=11))
    assert images_of(found) == {11: 2, 12: 1}
    note = next(note for note in found.notes if "no id of an image" in note)
    assert note.startswith("results: 3 results whose image_id is no id of an image: found by the names of the files (")
    assert what in note


def test_a_name_of_two_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"entry 0: image_id 'x\.jpg' is \['a/x\.jpg', 'b/x\.jpg'\]"):
        read(tmp_path, [result("x.jpg")], named("a/x.jpg", "b/x.jpg"))
    with pytest.raises(UserError, match=r"1 image_id that is the name of several images"):
        read(tmp_path, [result("a/x.jpg"), result("b/x.jpg")], named("x.jpg"))


def test_numbers_that_are_ids_and_also_names_are_read_as_ids_and_told(tmp_path: Path) -> None:
    files = named("0.jpg", "1.jpg", "2.jpg")
    found = read(tmp_path, [result(1), result(2)], files)
    assert images_of(found) == {1: 1, 2: 1}
    assert found.notes == (
        "results: image_id 1 is the id of '0.jpg' and also the name of '1.jpg'; it was read as the id, and "
        "model.options.image_ids=name reads it as the name",
    )
    assert images_of(read(tmp_path, [result(1), result(2)], files, image_ids="name")) == {2: 1, 3: 1}
    assert images_of(read(tmp_path, [result(0), result(1), result(2)], files)) == {1: 1, 2: 1, 3: 1}
    assert read(tmp_path, [result(1), result(2), result(3)], files).notes == ()  # no name is 3
    [*_, told] = read(tmp_path, [result(n) for n in range(9)], files, other_images="drop").notes
    assert "image_id 1 is the id of '0.jpg' and also the name of '1.jpg'" in told
    with pytest.raises(UserError, match="image_ids=stem: must be one of auto, id, name"):
        read(tmp_path, [result(1)], files, image_ids="stem")


def test_a_file_name_beside_the_id_decides(tmp_path: Path) -> None:
    files = named("0.jpg", "1.jpg", "2.jpg")
    given = [result(1, file_name="1.jpg"), result(2, file_name="2.jpg")]
    assert images_of(read(tmp_path, given, files)) == {2: 1, 3: 1}
    as_ids = [result(1, file_name="0.jpg"), result(2, file_name="1.png")]
    assert images_of(read(tmp_path, as_ids, files)) == {1: 1, 2: 1}
    assert read(tmp_path, as_ids, files).notes == ()
    other = [result(1, file_name="9.jpg"), result(2, file_name="1.jpg")]
    with pytest.raises(
        UserError, match=r"1 image_id that is another file in the results file itself .*image_id 1 is '9\.jpg'"
    ):
        read(tmp_path, other, files)
    assert images_of(read(tmp_path, other, files, image_ids="id")) == {1: 1, 2: 1}


def test_a_coco_object_with_scores_is_read_by_its_own_names(tmp_path: Path) -> None:
    files = named("a.jpg", "b.jpg")
    export = {
        "images": [{"id": 1, "file_name": "b.jpg"}, {"id": 2, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [result(1), result(1), result(2)],
    }
    found = read(tmp_path, export, files)
    assert images_of(found) == {1: 1, 2: 2}
    assert (
        found.notes[0]
        == "results: 1 COCO object in place of a list: its annotations are read as the results (annotations)"
    )
    assert found.by_image[1][0]["category_id"] == 1


def export_of(categories: dict[Any, str], *annotations: dict[str, Any]) -> dict[str, Any]:
    """A COCO object that names its classes, as FiftyOne writes results."""
    return {"categories": [{"id": n, "name": name} for n, name in categories.items()], "annotations": [*annotations]}


@pytest.mark.parametrize(
    ("categories", "given", "meant", "counted"),
    [
        ({0: "cat", 1: "dog"}, [0, 1], [1, 2], 2),
        ({1: "dog", 2: "cat"}, [1, 2], [2, 1], 2),
        ({9: "dog", 1: "cat"}, [9, 1], [2, 1], 1),
        ({1: "CAT", 2: " dog"}, [1, 2], [1, 2], 1),
        ({"1": "cat", "2": "dog"}, [1, 2], [1, 2], 0),
        ({0: "cat", 1: "horse", 2: "dog"}, [0, 1, 2], [1, None, 2], 1),  # cat has an id of its own, so 1 is not cat
        ({1: "cat", 2: "dog", 3: "horse"}, [1, 3], [1, None], 0),
        ({1: "cat", 2: "horse"}, [1], [1], 0),  # no result is of the class that contradicts
    ],
)
def test_classes_that_a_coco_object_names_are_found_by_their_names(
    tmp_path: Path, categories: dict[Any, str], given: list[int], meant: list[int | None], counted: int
) -> None:
    """The order of scores tells the results apart."""
    results = [{**result(1, one), "score": 0.9 - n / 10} for n, one in enumerate(given)]
    found = read(tmp_path, export_of(categories, *results), named("a.jpg"))
    assert [r["category_id"] for r in found.by_image[1]] == [one for one in meant if one is not None]
    notes = [note for note in found.notes if "found by the names of the categories in the results file" in note]
    assert [int(note.split(" ")[1]) for note in notes] == [counted] * bool(counted)


@pytest.mark.parametrize(
    ("categories", "given", "message"),
    [
        ({1: "kitten", 2: "dog"}, [1, 2], r"1 category that .*\(1 is 'kitten' there and 'cat' in the set\)"),
        ({1: "cat", 2: "cat"}, [1, 2], r"1 and 2 are 'cat' there"),
        ({0: "cat", 1: "Cat"}, [0, 1], r"0 and 1 are 'cat' there"),
        ({0: "cat"}, [0, 2], r"2 has no name there and is 'dog' in the set"),
    ],
)
def test_names_of_classes_that_contradict_the_set_are_refused(
    tmp_path: Path, categories: dict[Any, str], given: list[int], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, export_of(categories, *(result(1, one) for one in given)), named("a.jpg"))
    assert "also" not in str(caught.value)


@pytest.mark.parametrize(("option", "value"), [("category_offset", 1), ("category_ids", "index0")])
def test_an_option_about_classes_is_needless_where_the_file_names_them(tmp_path: Path, option: str, value: Any) -> None:
    export = export_of({0: "cat", 1: "dog"}, result(1, 0))
    with pytest.raises(UserError, match=rf"^model\.options\.{option}={value}: the results file names"):
        read(tmp_path, export, named("a.jpg"), **{option: value})
    copied = export_of({1: "cat", 2: "dog"}, result(1, 0), result(1, 1))  # names that are not those of its ids
    assert [r["category_id"] for r in read(tmp_path, copied, named("a.jpg"), **{option: value}).by_image[1]] == [1, 2]


def test_places_of_categories_in_the_place_of_ids(tmp_path: Path) -> None:
    gaps = dataset.from_coco(
        "gaps",
        {
            "images": [{"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
            "annotations": [],
            "categories": [{"id": 90, "name": "brush"}, {"id": 7, "name": "train"}, {"id": 13, "name": "sign"}],
        },
        None,
        Path("truth.json"),
        "",
    )
    for first, way in ((0, "index0"), (1, "index1")):
        given = [result(1, first), result(1, first + 1), result(1, first + 2)]
        found = read(tmp_path, given, gaps, category_ids=way)
        assert [r["category_id"] for r in found.by_image[1]] == [7, 13, 90]
        assert found.notes == ()
        with pytest.raises(UserError, match=rf"which is all of them: .*model\.options\.category_ids={way}"):
            read(tmp_path, given, gaps)
    assert read(tmp_path, [result(1, 0), result(1, 7)], gaps).places == ()
    assert read(tmp_path, [result(1, 3), result(1, 7)], gaps).of_other_classes == 1
    with pytest.raises(UserError, match=r"category_ids='name': must be one of id, index0, index1"):
        read(tmp_path, [result(1)], gaps, category_ids="name")
    with pytest.raises(UserError, match=r"category_ids=index1: a place takes no category_offset"):
        read(tmp_path, [result(1)], gaps, category_ids="index1", category_offset=1)


@pytest.mark.parametrize(
    ("given", "ids", "ways"),
    [
        ([0, 2], [7, 13, 90], ("index0",)),
        ([1, 2], [7, 13, 90], ("index0", "index1")),
        ([1, 3], [7, 13, 90], ("index1",)),
        ([0, 3], [7, 13, 90], ()),
        ([0, 1, 2], [1, 2, 3], ()),
        ([1, 2, 3], [0, 1, 2], ()),
        ([1, "a"], [7, 13, 90], ()),
        ([], [7, 13, 90], ()),
    ],
)
def test_the_counts_that_ids_fit(given: list[Any], ids: list[Any], ways: tuple[str, ...]) -> None:
    assert ways_that_fit(given, ids) == ways


def sized(*sizes: tuple[int, int]) -> dataset.CocoDataset:
    """Images 1, 2, ... named 0.jpg, 1.jpg, ... of these heights and widths."""
    return dataset.from_coco(
        "sized",
        {
            "images": [
                {"id": n + 1, "file_name": f"{n}.jpg", "height": height, "width": width}
                for n, (height, width) in enumerate(sizes)
            ],
            "annotations": [],
            "categories": [{"id": 1, "name": "cat"}],
        },
        None,
        Path("truth.json"),
        "",
    )


def rle(height: int, width: int) -> dict[str, Any]:
    return {"size": [height, width], "counts": [0, height * width]}


def test_the_sizes_of_masks_say_that_ids_are_names(tmp_path: Path) -> None:
    """Ultralytics' stems on ids counted from 1, where the first image has no detection."""
    files = sized((10, 20), (30, 40), (50, 60))
    given = [result(1, segmentation=rle(30, 40)), result(2, segmentation=rle(50, 60))]
    found = read(tmp_path, given, files)
    assert images_of(found) == {2: 1, 3: 1}
    [note] = found.notes
    assert note.startswith("results: 2 results whose image_id is the id of one image and the name of another: read as")
    by_id = [result(1, segmentation=rle(10, 20)), result(2, segmentation=rle(30, 40))]
    found = read(tmp_path, by_id, files)
    assert images_of(found) == {1: 1, 2: 1}
    assert "model.options.image_ids=name" in found.notes[0]
    for key, content in (("id", given), ("name", by_id)):
        with pytest.raises(UserError, match="2 RLEs of another size"):
            read(tmp_path, content, files, image_ids=key)
    neither = [result(1, segmentation=rle(30, 40)), result(2, segmentation=rle(30, 40))]
    with pytest.raises(UserError, match=r"1 RLE of another size .*; image_id 1 is the id .*image_ids=name reads it as"):
        read(tmp_path, neither, files)


@pytest.mark.parametrize("more", [{}, {"images": [], "categories": []}])
def test_a_coco_object_without_a_result_is_an_empty_file(tmp_path: Path, more: dict[str, Any]) -> None:
    found = read(tmp_path, {"annotations": [], **more}, named("a.jpg"))
    assert not any(found.by_image.values())
    assert found.notes[-1] == "results: the file holds no result, so mask AP is 0"


BOX = [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("masks", "boxes", "message"),
    [
        ([[[]]] * 22, BOX, "22 results with an empty segmentation beside a box that has an area, which is more than"),
        ([[]] * 21 + [SQUARE], BOX, "21 results with an empty segmentation beside a box that has an area"),
        ([[]] * 2 + [SQUARE] * 37, BOX, "2 results with an empty segmentation beside a box that has an area"),
        ([[]] * 2, None, "2 results with an empty segmentation, which is all of them"),
        ([[[]]], BOX, "1 result with an empty segmentation, which is all of them"),
        ([[]] * 2, [1, 2, 0, 0], "2 results with an empty segmentation, which is all of them"),
    ],
)
def test_boxes_in_the_place_of_masks_are_refused(tmp_path: Path, masks: list[Any], boxes: Any, message: str) -> None:
    given = [result(1, segmentation=mask, **({"bbox": boxes} if boxes else {})) for mask in masks]
    with pytest.raises(UserError, match=message):
        read(tmp_path, given, named("a.jpg"))


@pytest.mark.parametrize(("empty", "sound"), [(1, 1), (2, 38)])
def test_a_few_empty_masks_beside_boxes_stay_empty_masks(tmp_path: Path, empty: int, sound: int) -> None:
    given = [result(1, segmentation=mask, bbox=BOX) for mask in [[]] * empty + [SQUARE] * sound]
    found = read(tmp_path, given, named("a.jpg"))
    areas = sorted(int(mask_api.area(r["segmentation"])) for r in found.by_image[1])
    assert areas == [0] * empty + [400] * sound
    [note] = found.notes
    noun = "result" if empty == 1 else "results"
    assert note.startswith(f"results: {empty} {noun} with an empty segmentation beside a box that has an area: read as")
    many = [result(1, segmentation=[], bbox=[1, 2, 0, 0]), result(1, segmentation=[]), result(1)]
    assert images_of(read(tmp_path, many, named("a.jpg"))) == {1: 3}  # no box says that a mask was there


def test_a_size_in_text_is_read_as_numbers(tmp_path: Path) -> None:
    text = {"size": [str(HEIGHT), str(WIDTH)], "counts": [0, HEIGHT * WIDTH]}
    found = read(tmp_path, [result(1, segmentation=text)], named("a.jpg"))
    assert int(mask_api.area(found.by_image[1][0]["segmentation"])) == HEIGHT * WIDTH
    assert found.notes == ("results: 1 RLE whose size is written as text: read as whole numbers (entry 0)",)
    with pytest.raises(UserError, match="1 RLE of another size"):
        read(tmp_path, [result(1, segmentation={**text, "size": ["x", "60"]})], named("a.jpg"))
