"""What has one meaning is repaired and counted, and what has two is refused with a key; figures are pycocotools'."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bench.data import repairs
from bench.data.coco_json import OUTLINE, POLYGON_FAR, to_rle
from bench.data.dataset import CocoDataset, load
from bench.data.findings import Finding, Findings, Kind
from bench.data.ids import as_id
from bench.data.results.reader import read_results
from bench.errors import UserError
from bench.evaluation.evaluators import EVALUATORS
from bench.predictor import ResultsFile
from bench.schema.config import DatasetConfig

CASES = Path(__file__).resolve().parents[2] / ".." / "shared" / "cases" / "data"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is absent")

HEIGHT, WIDTH = 40, 60
SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]


def right() -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [SQUARE], "area": 100, "bbox": [10, 10, 10, 10]},
            {
                "id": 2,
                "image_id": 1,
                "category_id": 2,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": [2300, 100]},
            },
        ],
    }


def loaded(folder: Path, data: Any, **keys: Any) -> CocoDataset:
    file = folder / "a.json"
    file.write_text(json.dumps(data))
    return load(DatasetConfig("mine", images=str(folder), annotations=str(file), **keys))


def with_annotation(**keys: Any) -> dict[str, Any]:
    data = right()
    data["annotations"][0].update(keys)
    return data


def with_values(*changes: tuple[str, Any]) -> dict[str, Any]:
    data: Any = right()
    for path, value in changes:
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        node = data
        for key in parents:
            node = node[key]
        node[last] = value
    return data


def without(*keys: str) -> dict[str, Any]:
    data = right()
    for key in keys:
        del data["annotations"][0][key]
    return data


TWINS = with_values(("categories", [{"id": 0, "name": "cat"}, *right()["categories"]]))

REPAIRED: list[tuple[Kind, int, dict[str, Any]]] = [
    (repairs.NULLS, 3, with_annotation(iscrowd=None, area=None, bbox=None)),
    (repairs.NULLS, 1, with_annotation(bbox=[])),
    (repairs.WHOLE_NUMBERS, 1, with_values(("images.0.height", 40.0))),
    (
        repairs.WHOLE_NUMBERS,
        3,
        with_values(("images.0.id", 1.0), ("annotations.0.image_id", 1.0), ("categories.0.id", 1.0)),
    ),
    (repairs.WHOLE_NUMBERS, 1, with_annotation(iscrowd=False)),
    (repairs.WHOLE_NUMBERS, 1, with_annotation(iscrowd=0.0)),
    (repairs.WHOLE_NUMBERS, 1, with_values(("annotations.1.segmentation.size", [40.0, 60]))),
    (repairs.WHOLE_NUMBERS, 1, with_values(("annotations.1.segmentation.counts", [2300.0, 100.0]))),
    (repairs.TEXT_NUMBERS, 2, with_values(("images.0.id", "1"), ("annotations.0.image_id", "1"))),
    (repairs.ANNOTATION_IDS, 1, without("id")),
    (repairs.ANNOTATION_IDS, 1, with_annotation(id=2)),
    (repairs.ANNOTATION_IDS, 1, with_annotation(id=-7)),
    (repairs.ANNOTATION_IDS, 1, with_annotation(id="4fa3")),
    (repairs.ANNOTATION_IDS, 1, with_annotation(id=None)),
    (repairs.EMPTY_TWIN, 1, TWINS),
    (repairs.STRAY_PARTS, 1, with_annotation(segmentation=[[5, 5], SQUARE, [], [1, 1, 2, 2]])),
    (repairs.FLAT_POLYGON, 1, with_annotation(segmentation=SQUARE)),
    (repairs.POINT_LISTS, 1, with_annotation(segmentation=[[10, 10], [20, 10], [20, 20], [10, 20]])),
    (repairs.POINT_LISTS, 1, with_annotation(segmentation=[[[10, 10], [20, 10], [20, 20], [10, 20]]])),
]


@pytest.mark.parametrize(
    ("kind", "count", "data"), REPAIRED, ids=[f"{k.name}{n}" for n, (k, _, _) in enumerate(REPAIRED)]
)
def test_what_has_one_meaning_is_read_so_and_counted(tmp_path: Path, kind: Kind, count: int, data: Any) -> None:
    found = loaded(tmp_path, data)
    assert [(c.id, c.name) for c in found.categories] == [(1, "cat"), (2, "dog")]
    assert [(i.id, i.height, i.width) for i in found.images] == [(1, HEIGHT, WIDTH)]
    assert [type(i.height) for i in found.images] == [int]
    assert [(a["id"], a["image_id"], a["category_id"]) for a in found.annotations] == [(1, 1, 1), (2, 1, 2)]
    assert [(a["iscrowd"], a["area"], a["bbox"]) for a in found.annotations] == [
        (0, 100, [10, 10, 10, 10]),
        (0, 100, [57, 0, 3, 40]),
    ]
    theirs = coco_mask.merge(coco_mask.frPyObjects([SQUARE], HEIGHT, WIDTH))["counts"].decode()
    assert to_rle(found.annotations[0]["segmentation"], HEIGHT, WIDTH)["counts"] == theirs
    [note] = found.notes
    assert note.startswith(f"{count} ")
    assert f": {kind.then} (" in note
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, data, strict=True)
    assert note in str(caught.value)


def test_a_right_set_needs_no_repair(tmp_path: Path) -> None:
    assert loaded(tmp_path, right(), strict=True).notes == ()


def test_texts_that_are_no_numbers_are_ids(tmp_path: Path) -> None:
    data = right()
    data["images"] = [{**data["images"][0], "id": name} for name in ("b.jpg", "a.jpg", "01")] + data["images"]
    data["categories"][0]["id"] = "cat"
    data["annotations"][0].update(image_id="b.jpg", category_id="cat")
    found = loaded(tmp_path, data, strict=True)
    assert [image.id for image in found.images] == [1, "01", "a.jpg", "b.jpg"]
    assert [category.id for category in found.categories] == [2, "cat"]
    assert found.annotations[0]["image_id"] == "b.jpg"


def test_ids_have_one_form() -> None:
    assert [as_id(v) for v in (1, 1.0, "1", "-3", "0", "007", "a", -(2**70))] == [1, 1, 1, -3, 0, "007", "a", -(2**70)]
    assert [as_id(v) for v in (True, None, 1.5, "", float("nan"), float("inf"), [1], {}, 10**100)] == [None] * 9


def test_ids_that_are_one_id_in_two_forms_are_refused(tmp_path: Path) -> None:
    data = right()
    data["images"].append({**data["images"][0], "id": "1"})
    with pytest.raises(UserError, match=r"1 entry with the id of another.*images\[1\]: id 1 stands"):
        loaded(tmp_path, data)


def test_two_categories_of_one_name_are_refused_where_both_have_annotations(tmp_path: Path) -> None:
    data = with_values(("categories.1.name", "cat"))
    with pytest.raises(UserError, match=r"categories\[1\] \(id 2\): name 'cat' is also the name of id 1"):
        loaded(tmp_path, data)
    data["annotations"].pop(0)
    assert [category.id for category in loaded(tmp_path, data).categories] == [2]
    data["annotations"].clear()
    assert [category.id for category in loaded(tmp_path, data).categories] == [1]


NO_MASKS: list[Any] = [[], None, ..., [[]], [[5, 5]], [[5, 5], [1, 1, 2, 2]]]


@pytest.mark.parametrize("segmentation", NO_MASKS)
def test_an_annotation_without_a_mask_needs_a_key(tmp_path: Path, segmentation: Any) -> None:
    data = without("segmentation") if segmentation is ... else with_annotation(segmentation=segmentation)
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, data)
    assert "dataset.without_mask=drop" in str(caught.value)
    assert "dataset.without_mask=ignore" in str(caught.value)
    dropped = loaded(tmp_path, data, without_mask="drop", strict=True)
    assert [a["id"] for a in dropped.annotations] == [2]
    assert dropped.notes[0].startswith("1 annotation without a mask: left out")
    ignored = loaded(tmp_path, data, without_mask="ignore", strict=True)
    assert [(a["id"], a["iscrowd"]) for a in ignored.annotations] == [(1, 1), (2, 0)]
    mask = coco_mask.decode(
        coco_mask.merge(coco_mask.frPyObjects(ignored.annotations[0]["segmentation"], HEIGHT, WIDTH))
    )
    assert np.argwhere(mask).min(axis=0).tolist() == [10, 10]
    assert mask.sum() == 100 == ignored.annotations[0]["area"]


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [70, 5, 5, 5], [5, 5, -3, 4], None])
def test_an_annotation_with_neither_mask_nor_box_is_left_out(tmp_path: Path, box: Any) -> None:
    found = loaded(tmp_path, with_annotation(segmentation=[], bbox=box), without_mask="ignore")
    assert [a["id"] for a in found.annotations] == [2]
    assert any("neither a mask nor a box" in note for note in found.notes)


def test_ignore_never_turns_a_wrong_mask_into_a_region(tmp_path: Path) -> None:
    """Only the absence of a mask has these meanings; a damaged mask is refused with every key."""
    for segmentation in ("mask.png", [[1, 1, 5, 5, 1, 5, 2]], [SQUARE, [1, 2, 3]], {"counts": [1]}, [[1, 1, "a", 2]]):
        for key in ("drop", "ignore"):
            with pytest.raises(UserError):
                loaded(tmp_path, with_annotation(segmentation=segmentation), without_mask=key)


def test_far_polygons_have_pycocotools_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(15):
        points = rng.uniform(-100, 400, (rng.integers(3, 8), 2))
        points[rng.random(len(points)) < 0.5] *= rng.uniform(50, 2000)
        points[0] = [-15_000, 300]
        polygon = [float(value) for value in np.clip(points, -1e6, 1e6).ravel()]
        segmentation, fault, kinds = repairs.mended([polygon], 240, 320)
        assert (fault, kinds) == (None, [repairs.FAR_POLYGON])
        theirs = coco_mask.merge(coco_mask.frPyObjects([polygon], 240, 320))
        assert segmentation == {"size": [240, 320], "counts": theirs["counts"].decode()}


def test_polygons_beyond_every_image_and_too_long_ones_stay_problems() -> None:
    for polygon, kind in (([0, 0, 1_000_001, 0, 9, 9], POLYGON_FAR), ([0, 0, 1e6, 1e6] * 20, OUTLINE)):
        assert repairs.mended([polygon], 240, 320)[1].kind is kind  # type: ignore[union-attr]


def test_a_line_has_a_count_the_first_places_and_the_singular() -> None:
    kind = Kind("some", "images of a kind", "do this")
    assert Finding(kind, 1, ["images[4]"]).line() == "1 image of a kind: do this (images[4])"
    findings = Findings()
    for place in "abcde":
        findings.repair(kind, place)
    [repair] = findings.repairs()
    assert repair.line() == "5 images of a kind: do this (a, b, c, ...)"
    assert findings.problems() == []
    assert findings.problems(strict=True) == [repair]


def test_the_consequences_of_a_problem_are_not_told(tmp_path: Path) -> None:
    for change in (
        ("images.0.height", 0),
        ("images.0.id", None),
        ("images.0", "a.png"),
        ("images", []),
        ("categories", []),
        ("categories.0.name", ""),
        ("categories.1.id", [2]),
    ):
        with pytest.raises(UserError) as caught:
            loaded(tmp_path, with_values(change))
        assert " more kind" not in str(caught.value), change


def test_all_annotations_of_a_kind_are_one_line(tmp_path: Path) -> None:
    data = right()
    data["annotations"] = [{**copy.deepcopy(data["annotations"][0]), "id": n, "area": -1} for n in range(50)]
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, data)
    assert "50 annotations with an impossible area: " in str(caught.value)
    assert str(caught.value).count("annotations[") == 3
    assert "annotations[2] (id 2): area is -1, ...)" in str(caught.value)


def mask_ap(dataset: CocoDataset, results: Path) -> list[float]:
    """Give mask AP of a results file by each evaluator, in points."""
    read = read_results(ResultsFile(results), dataset).by_image
    found = []
    for make in EVALUATORS.values():
        evaluator = make(dataset)
        for image in dataset.images:
            evaluator.update(image.id, read[image.id])
        figure = evaluator.figures()[0]["mask_ap"]
        assert figure is not None
        found.append(100 * figure)
    return found


def pycocotools_ap(annotations: Path, results: list[dict[str, Any]]) -> float:
    """Give mask AP as pycocotools alone has it, of the file as it is."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * float(evaluation.stats[0])


def all_results(dataset: CocoDataset, results: Path) -> list[dict[str, Any]]:
    return [result for found in read_results(ResultsFile(results), dataset).by_image.values() for result in found]


def of_case(name: str, **keys: Any) -> tuple[CocoDataset, Path]:
    file = CASES / name
    config = DatasetConfig("case", images=str(file.parent / "images"), annotations=str(file), **keys)
    return load(config), file.parent / "results.json"


@needs_cases
@pytest.mark.parametrize(
    ("name", "ap", "kinds"),
    [
        ("c00_plain/annotations.json", 45.6285, 0),
        ("c04_degenerate_part/annotations.json", 45.6285, 1),
        ("c04_degenerate_part/annotations_empty_part.json", 45.6285, 1),
        ("c05_all_crowd/annotations_half.json", 40.6243, 0),
        ("c06_roboflow_root_category/annotations.json", 45.6285, 0),
        ("c06_roboflow_root_category/annotations_same_name.json", 45.6285, 1),
        ("c16_iscrowd_absent/annotations.json", 45.6285, 0),
        ("c16_iscrowd_absent/annotations_false.json", 45.6285, 1),
        ("c16_iscrowd_absent/annotations_float.json", 45.6285, 1),
        ("c16_iscrowd_absent/annotations_null.json", 45.6285, 1),
        ("c18_ignore/annotations.json", 45.6285, 0),
        ("c21_outside_and_empty/annotations.json", 20.8729, 1),
        ("c22_text_forms/annotations_bom.json", 45.6285, 0),
        ("c22_text_forms/annotations.json.gz", 45.6285, 0),
        ("c32_category_ids/annotations.json", 45.6285, 0),
    ],
)
def test_the_cases_that_are_accepted_give_their_ap(name: str, ap: float, kinds: int) -> None:
    dataset, results = of_case(name)
    assert len(dataset.notes) == kinds
    assert mask_ap(dataset, results) == pytest.approx([ap, ap], abs=1e-4)
    if name.startswith(("c00", "c18", "c21", "c32")):
        theirs = pycocotools_ap(CASES / name, all_results(dataset, results))
        assert mask_ap(dataset, results) == pytest.approx([theirs, theirs], abs=1e-9)


@needs_cases
def test_the_cases_without_masks_are_what_pycocotools_gives_without_them_or_as_crowds(tmp_path: Path) -> None:
    for name in ("", "_null", "_missing", "_ghosts"):
        file = f"c03_empty_segmentation/annotations{name}.json"
        with pytest.raises(UserError, match=r"4 annotations without a mask: give dataset\.without_mask=drop"):
            of_case(file)
        data = json.loads((CASES / file).read_text())
        bare = [a for a in data["annotations"] if not a.get("segmentation")]
        data["annotations"] = [a for a in data["annotations"] if a.get("segmentation")]
        dataset, results = of_case(file, without_mask="drop")
        (tmp_path / "dropped.json").write_text(json.dumps(data))
        theirs = pycocotools_ap(tmp_path / "dropped.json", all_results(dataset, results))
        assert mask_ap(dataset, results) == pytest.approx([theirs, theirs])
        for a in bare:
            x, y, w, h = a["bbox"]
            if w * h:
                box = [[x, y, x + w, y, x + w, y + h, x, y + h]]
                data["annotations"].append({**a, "segmentation": box, "iscrowd": 1})
        (tmp_path / "ignored.json").write_text(json.dumps(data))
        dataset, results = of_case(file, without_mask="ignore")
        theirs = pycocotools_ap(tmp_path / "ignored.json", all_results(dataset, results))
        assert mask_ap(dataset, results) == pytest.approx([theirs, theirs])


@needs_cases
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("c04_degenerate_part/annotations_only_point.json", "1 annotation without a mask"),
        ("c16_iscrowd_absent/annotations_string.json", "20 annotations with an iscrowd of an unknown form"),
        ("c22_text_forms/annotations_nan.json", "1 annotation with a coordinate that is no number"),
        ("c22_text_forms/annotations_cut.json", "it ends in the middle after 4758 bytes"),
        ("c22_text_forms/annotations_empty_file.json", "the file is empty"),
        ("c22_text_forms/annotations_latin1.json", "iconv -f WINDOWS-1252 -t UTF-8"),
        ("c22_text_forms/annotations_utf16.json", "its text is in UTF-16, must be in UTF-8"),
    ],
)
def test_the_cases_that_are_refused_say_why(name: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        of_case(name)
    assert line in str(caught.value)
