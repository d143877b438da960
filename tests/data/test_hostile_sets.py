"""Tests that hostile and huge annotations and results are refused in one line, and strange but legal ones are not."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_sets import HEIGHT, WIDTH, annotations, results, use_results, use_set
from PIL import Image
from pycocotools import mask as coco_mask
from python_path import python_path
from rich.console import Console

from bench.cli.dataset import check_dataset, main
from bench.data import bounds
from bench.data.coco_json import to_rle
from bench.data.dataset import load
from bench.data.results.reader import read_results
from bench.errors import UserError
from bench.predictor import ResultsFile
from bench.schema.config import DatasetConfig, ShapesConfig

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / "images" / "a.png")
    return tmp_path


def config_of(folder: Path, data: Any, **keys: Any) -> DatasetConfig:
    (folder / "a.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return DatasetConfig(name="mine", images=str(folder / "images"), annotations=str(folder / "a.json"), **keys)


def changed(path: str, value: Any) -> dict[str, Any]:
    """Give the right set with one value replaced; a path as "images.0.id"."""
    data: Any = annotations()
    node = data
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in parents:
        node = node[key]
    node[last] = value
    return data


def test_no_hostile_value_ends_in_a_traceback_or_ends_the_process(tmp_path: Path) -> None:
    """Every value of a set and of a results file is replaced by each of 27; 72 of these once ended in SIGSEGV."""
    program = REPOSITORY / "tests" / "cases" / "hostile_sets.py"
    environment = {**os.environ, "PYTHONPATH": python_path(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


POLYGON = "annotations.0.segmentation"
RUNS = "annotations.1.segmentation"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            POLYGON,
            [[5, 0, 1e9, 0, 25, 1]],
            "segmentation[0] reaches to the coordinate 1000000000.0",
        ),
        (POLYGON, [[5, 0, -(2**70), 0, 25, 1]], "segmentation[0] reaches to the coordinate -1180591620717411303424"),
        (POLYGON, [[5, 0, float("nan"), 0, 25, 1]], "segmentation[0] holds NaN or infinity"),
        (
            POLYGON,
            [[0, 0, 9000, 1] * 300],
            "segmentation has an outline of 5400000 pixels",
        ),
        (
            POLYGON,
            [[5, 0, 25, 0, 25, 1]] * 10_001,
            "segmentation has 10001 polygons",
        ),
        (f"{RUNS}.size", [True, WIDTH], "segmentation.size is [True, 60]"),
        (f"{RUNS}.counts", [-(10**30), 60], "a run of impossible length"),
        (f"{RUNS}.counts", [30, 10, 20] + [0] * 900, "counts has a length of 903, at most 854 is possible"),
        ("annotations.1.area", 10**400, "area is 1000000"),
        ("annotations.1.bbox", [0, 0, 10**400, 1], "bbox is [0, 0, 1000000"),
        ("images.0.id", 10**100, "images[0]: id is 1000000"),
        ("categories.0.id", -(10**100), "categories[0]: id is -1000000"),
        ("categories.0.name", "\ud800", "name '\\ud800' holds half of a character"),
        ("categories.0.name", "x" * 501, "has 501 characters, may have 500 at most"),
        (
            "categories",
            [{"id": n, "name": str(n)} for n in range(20_001)],
            "20001 categories in one file",
        ),
        ("images.0.file_name", "a\0.png", "holds a NUL character"),
        ("images.0.file_name", "\udfff.png", "holds half of a character"),
        ("images.0.file_name", "/etc/other.png", "1 image outside the image folder"),
        ("images.0.file_name", "../other.png", "give dataset.allow_outside=true"),
        ("images.0.file_name", "x/../../other.png", "'x/../../other.png'"),
        ("images.0.width", 2**33, "'a.png' is of 1 x 8589934592 pixels"),
        ("images.0.width", 10**6 + 1, "the most is 1000000 for an edge and 2147483647 in all"),
    ],
)
def test_what_lies_beyond_the_bounds_is_refused_in_one_line(folder: Path, path: str, value: Any, message: str) -> None:
    data = changed(path, value)
    with pytest.raises(UserError) as caught:
        load(config_of(folder, data))
    text = str(caught.value)
    assert message in text
    assert str(folder / "a.json") in text
    assert len(text) < 600
    shown = io.StringIO()
    console = Console(file=shown, soft_wrap=True, width=10_000)
    status = check_dataset(folder / "a.json", folder / "images", DatasetConfig(), console)
    assert status == 2
    assert message in shown.getvalue()


def test_more_pixels_than_allowed_are_refused_with_the_key_that_allows_them(folder: Path) -> None:
    data = changed("images.0", {"id": 1, "file_name": "bits.png", "height": 13_300, "width": 13_300})
    data["annotations"] = []
    with pytest.raises(UserError) as caught:
        load(config_of(folder, data))
    assert "1 image of more pixels than dataset.max_pixels=100000000" in str(caught.value)
    assert "'bits.png' is of 13300 x 13300 pixels" in str(caught.value)
    (remedy,) = (word for word in str(caught.value).split() if word.startswith("dataset.max_pixels=1768"))
    assert len(load(config_of(folder, data, max_pixels=int(remedy.partition("=")[2]))).images) == 1


def test_the_remedies_work_as_they_are_printed() -> None:
    from run_bench import compose

    keys = ["dataset.max_pixels=176890000", "dataset.allow_outside=true", "dataset.max_json_gb=6"]
    for dataset in ("coco", "shapes", "coco_val2017"):
        (job,) = compose([f"dataset={dataset}", "model=custom", "model._target_=a.B", "study=none", *keys])
        config = job.config.dataset
        assert (config.max_pixels, config.allow_outside, config.max_json_gb) == (176_890_000, True, 6.0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (POLYGON, [[-50, -30, 9_000, -30, 9_000, 400, -50, 400]]),
        (POLYGON, [[-50.5, 0.25, 25, 0, 25, 1], [100, 100, 200, 100, 200, 200]]),
    ],
)
def test_polygons_that_leave_the_image_are_legal(folder: Path, path: str, value: Any) -> None:
    loaded = load(config_of(folder, changed(path, value)))
    theirs = coco_mask.merge(coco_mask.frPyObjects(value, HEIGHT, WIDTH))
    assert to_rle(loaded.annotations[0]["segmentation"], HEIGHT, WIDTH)["counts"] == theirs["counts"].decode()


def test_sizes_as_floats_and_crowds_as_booleans_have_one_meaning(folder: Path) -> None:
    data = changed(f"{RUNS}.size", [1.0, 60.0])
    data["annotations"][1]["iscrowd"] = True
    assert [a["iscrowd"] for a in use_set(data, folder / "images").annotations] == [0, 1, 0]


def test_foreign_keys_reach_no_evaluator(folder: Path) -> None:
    data = changed("annotations.0.score", ["not", "a", "number"])
    loaded = use_set(data, folder / "images")
    assert set(loaded.annotations[0]) == {"id", "image_id", "category_id", "segmentation", "iscrowd", "area", "bbox"}


def test_an_image_outside_the_folder_is_read_where_it_is_allowed(folder: Path) -> None:
    outside = folder / "a.png"
    (folder / "images" / "a.png").rename(outside)
    for name in (str(outside), "../a.png"):
        loaded = load(config_of(folder, changed("images.0.file_name", name), allow_outside=True))
        assert loaded.images[0].path.samefile(outside)


def test_links_in_the_image_folder_are_followed_but_not_back(folder: Path) -> None:
    (folder / "elsewhere" / "deep").mkdir(parents=True)
    (folder / "images" / "a.png").rename(folder / "elsewhere" / "a.png")
    (folder / "images" / "linked").symlink_to(folder / "elsewhere" / "deep")
    (folder / "images" / "a.png").symlink_to(folder / "elsewhere" / "a.png")
    loaded = load(config_of(folder, annotations()))
    assert loaded.images[0].path.is_file()
    loaded = load(config_of(folder, changed("images.0.file_name", "linked/../a.png")))
    assert loaded.images[0].path == folder / "images" / "a.png"


def test_a_key_that_stands_twice_is_refused(folder: Path) -> None:
    text = json.dumps(annotations()).replace('"category_id": 1,', '"category_id": 1, "category_id": 2,', 1)
    with pytest.raises(UserError, match=r"a\.json: .* the key 'category_id' stands twice in the object \{"):
        load(config_of(folder, text))


@pytest.mark.timeout(30)
def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    config = config_of(folder, annotations())
    dataset = load(config)
    os.mkfifo(folder / "pipe")
    config.annotations = str(folder / "pipe")
    with pytest.raises(UserError, match=r"pipe: is a pipe or a device, must be a file \(dataset\.annotations\)"):
        load(config)
    with pytest.raises(UserError, match=r"pipe: is a pipe or a device.*\(model\.options\.results\)"):
        read_results(ResultsFile(folder / "pipe"), dataset)


def test_a_file_of_more_gigabytes_than_allowed_is_not_read(folder: Path) -> None:
    config = config_of(folder, annotations())
    dataset = load(config)
    with open(folder / "huge.json", "wb") as file:
        file.truncate(3_400_000_000)  # a hole: it takes no space
    config.annotations = str(folder / "huge.json")
    with pytest.raises(UserError, match=r"huge\.json: has 3\.4 GB, more than dataset\.max_json_gb=2 .*max_json_gb=4$"):
        load(config)
    with pytest.raises(UserError, match=r"has 3\.4 GB"):
        read_results(ResultsFile(folder / "huge.json"), dataset)


def test_results_beyond_the_bounds_are_refused(folder: Path) -> None:
    for place, key, value, message in (
        (0, "score", 10**400, "entry 0: 1000"),
        (1, "image_id", 2**70, "entry 1: image_id 1180591620717411303424"),
        (0, "segmentation", [[0, 0, 1e9, 0, 9, 1]], "entry 0: segmentation[0] reaches to the coordinate"),
        (1, "segmentation", {"size": [True, 60], "counts": [30, 10, 20]}, "entry 1: segmentation.size is [True, 60]"),
    ):
        data = results()
        data[place][key] = value
        with pytest.raises(UserError) as caught:
            use_results(data, folder / "images")
        assert message in str(caught.value)


def test_names_that_look_like_markup_are_shown_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """rich took "[/x]" for the end of a style that nothing began, and raised."""
    config_of(folder, changed("categories.0.name", "[/x]"))
    assert main(["check", str(folder / "a.json"), "--images", str(folder / "images")]) == 0
    assert "[/x]" in capsys.readouterr().out


def test_check_takes_the_keys_that_it_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config_of(folder, changed("images.0.file_name", str(folder / "other.png")))
    shutil.copy(folder / "images" / "a.png", folder / "other.png")
    files = [str(folder / "a.json"), "--images", str(folder / "images")]
    assert main(["check", *files]) == 2
    assert "dataset.allow_outside=true" in capsys.readouterr().out
    assert main(["check", *files, "dataset.allow_outside=true"]) == 0
    assert main(["check", *files, "dataset.allow_outside=true", "dataset.max_pixels=59"]) == 2
    assert "more pixels than dataset.max_pixels=59" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"count": 10**9}, "dataset.shapes.count=1000000000: must be 1 or more, 100000 at most"),
        ({"seed": 10**400}, "must be 0 or more"),
        ({"split": "x" * 300}, "must be a name of letters and digits"),
    ],
)
def test_the_generator_of_shapes_has_bounds(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(DatasetConfig(name="shapes", shapes=ShapesConfig(**{"cache": str(tmp_path), "count": 1, **keys})))
    assert not list(tmp_path.iterdir())


def test_numbers_and_ids() -> None:
    assert all(bounds.is_number(value) for value in (1, 0.5, 1e308, 10**308, -1))
    assert not any(bounds.is_number(value) for value in (True, float("nan"), float("inf"), 10**309, "1", None))
    assert all(bounds.is_id(value) for value in (0, 2**63 - 2))
    assert not any(bounds.is_id(value) for value in (2**63 - 1, -1, True, 1.0, "1", None))
