"""``maskbench check`` takes the keys that it prints, ends with what can be evaluated, and never in a traceback."""

from __future__ import annotations

import copy
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.cli.dataset import evaluating, main
from bench.cli.run import compose

HEIGHT, WIDTH = 40, 60
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


def right() -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "segmentation": SQUARE, "bbox": [10, 10, 10, 10]} for n in (1, 2)
        ],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "it's, a [set]"
    made.mkdir()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(made / "a.png")
    return made


@pytest.fixture
def check(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(data: Any, *arguments: str, images: bool = True) -> tuple[int, str]:
        (folder / "a.json").write_text(json.dumps(data))
        status = main(["check", str(folder / "a.json"), *(["--images", str(folder)] if images else []), *arguments])
        told = capsys.readouterr()
        return status, told.out + told.err

    return run


def test_it_ends_with_what_can_be_evaluated_and_the_command(check: Any, folder: Path) -> None:
    status, text = check(right(), "protocol.max_detections=300")
    assert status == 0
    *_, evaluated, _, command = text.rstrip().splitlines()
    assert evaluated == ("Can be evaluated: 2 of 2 annotations, 2 categories, 1 images; mask AP at 300 detections")
    assert command == f"  {evaluating(folder / 'a.json', folder, ['protocol.max_detections=300'])}"
    python, program, *arguments = shlex.split(command)
    assert (python, program) == ("python", "run_bench.py")
    [job] = compose(arguments)
    assert job.config.dataset.annotations == str(folder / "a.json")
    assert job.config.dataset.images == str(folder)
    assert job.config.protocol.max_detections == 300
    assert job.config.model.options["results"] == "results.json"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        *[("a b", "a,b"), ("[a]", "it's"), ('a"b', "$a"), ("{a: b}", "a\\b"), ("ü=1", " a")],
        *[("null", "Null"), ("${oc.env:HOME}", "a\\${study}"), ("true", "choice(a)"), ("1", "${nothing}, b")],
    ],
)
def test_the_command_holds_any_path(name: str, other: str) -> None:
    [job] = compose(shlex.split(evaluating(Path(name), Path(other), []))[2:])
    assert (job.config.dataset.annotations, job.config.dataset.images) == (name, other)


def test_a_folder_called_as_the_home_folder_is_given_whole() -> None:
    [job] = compose(shlex.split(evaluating(Path("~/a.json"), Path("~"), []))[2:])
    assert (job.config.dataset.annotations, job.config.dataset.images) == (f"{Path.cwd()}/~/a.json", f"{Path.cwd()}/~")


def test_two_folders_are_refused(check: Any, folder: Path) -> None:
    status, text = check(right(), "dataset.images=/elsewhere")
    assert (status, len(text.splitlines())) == (2, 1)
    assert text.endswith(f"{folder} (--images), /elsewhere (dataset.images): give one folder\n")
    assert check(right(), f"dataset.images='{str(folder).replace(chr(39), chr(92) + chr(39))}'")[0] == 0


def test_the_remedy_that_it_prints_is_pasted_behind_it(check: Any) -> None:
    data = right()
    data["annotations"][0]["segmentation"] = []
    status, text = check(data)
    assert status == 2
    remedies = [word.strip(":,;") for word in text.split() if word.startswith("dataset.without_mask=")]
    assert remedies == ["dataset.without_mask=drop", "dataset.without_mask=ignore"]
    for remedy, evaluated in zip(
        remedies, ("1 of 2 annotations,", "2 of 2 annotations (1 of them crowds or ignored regions),"), strict=True
    ):
        status, text = check(data, remedy)
        assert status == 0
        assert evaluated in text
        assert "As your keys ask for:\n  1 annotation without a mask: " in text
        assert text.rstrip().endswith(remedy)


def test_repairs_are_told_and_strict_refuses_them(check: Any) -> None:
    data = right()
    data["annotations"][0]["iscrowd"] = None
    status, text = check(data)
    line = "1 annotation with a null: read as if the key were absent (annotations[0] (id 1): iscrowd)"
    assert status == 0
    assert f"Repaired (dataset.strict=true refuses it):\n  {line}" in text
    status, text = check(data, "dataset.strict=true")
    assert status == 2
    assert f"1 kind of problems:\n  {line}" in text
    assert "Repaired" not in text


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("dataset.strikt=true", "dataset.strikt: no such key"),
        ("dataset.without_mask=yes", "dataset.without_mask=yes"),
        ("dataset.limit=1,2", "a comma makes a sweep; check takes one value for each key"),
        ("dataset.annotations=b.json", "the annotation file is FILE; leave dataset.annotations out"),
        ("model=replay", "model=replay: check takes keys of a dataset and protocol.max_detections"),
        ("protocol.rounds=3", "check takes keys of a dataset"),
        ("drop", "drop: check takes keys of a dataset"),
        ("dataset.shapes.count=3", "dataset.shapes.count=3: check takes no keys of dataset.shapes or dataset.train"),
        ("dataset.train.limit=3", "dataset.train.limit=3: check takes no keys of dataset.shapes or dataset.train"),
        ("dataset.image_range=0,4095", "must be a list of numbers; give 'dataset.image_range=[0,4095]'"),
    ],
)
def test_another_argument_is_refused_in_one_line(check: Any, argument: str, line: str) -> None:
    status, text = check(right(), argument)
    assert status == 2
    assert line in text
    assert len(text.strip().splitlines()) == 1


def test_the_keys_stand_before_or_behind_the_option(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.json").write_text(json.dumps(right()))
    words = [str(folder / "a.json"), "dataset.strict=true", "--images", str(folder), "dataset.limit=1"]
    assert main(["check", *words]) == 0
    assert main(["check", "--images", str(folder), words[1], words[0]]) == 2  # FILE comes first
    assert "dataset.strict=true" in capsys.readouterr().out


@pytest.mark.parametrize("identity", [-5, -(10**40), "日本", "[/x]"])
def test_ids_of_any_form_reach_no_library_and_places_are_the_files(check: Any, identity: Any) -> None:
    data = right()
    data["images"].insert(0, {"id": 99, "file_name": "a.png", "height": HEIGHT, "width": WIDTH})
    data["images"][1]["id"] = data["categories"][0]["id"] = identity
    for annotation in data["annotations"]:
        annotation.update(image_id=identity, category_id=identity, id=identity)
    data["annotations"].insert(0, copy.deepcopy(data["annotations"][0]) | {"segmentation": [], "bbox": [30, 30, 2, 2]})
    status, text = check(data, "dataset.without_mask=drop")
    assert status == 0, text
    assert "near-duplicates (same class, same image, IoU > 0.95) (annotations[1], annotations[2])" in text


def test_the_table_of_1203_categories_is_cut(check: Any) -> None:
    data = right()
    data["categories"] = [{"id": n, "name": f"class {n}"} for n in range(1203)]
    data["annotations"][0]["category_id"] = data["annotations"][1]["category_id"] = 1202
    status, text = check(data)
    assert status == 0
    assert len(text.splitlines()) < 130
    assert "class 1202 " in text
    assert "The table leaves out 1103 categories" in text
    assert "fewer than 10 annotation instances" not in text


def test_what_is_no_dataset_is_told_and_not_raised(check: Any) -> None:
    for data in ([], {"images": 3}, {"images": [], "annotations": [], "categories": []}, "x"):
        status, text = check(data)
        assert status == 2
        assert "Traceback" not in text
