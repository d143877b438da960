"""Test exports of the demo from the command to the report: what they say of themselves, and what the report says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")

import onnx

from bench.cli import main as command
from bench.files.digests import sha256_of

ROOT = Path(__file__).resolve().parents[2]
MODEL = "demo_mask_rcnn_torchvision"
WEIGHTS = ROOT / "weights" / f"{MODEL}.safetensors"
FEW = ["dataset=shapes", "dataset.limit=6", "dataset.train.shapes.count=12"]


def origin(path: Path) -> dict[str, str]:
    [entry] = [each for each in onnx.load(str(path)).metadata_props if each.key == "maskbench_origin"]
    told: dict[str, str] = json.loads(entry.value)
    return told


@pytest.mark.slow
def test_the_demo_its_exports_and_what_they_cost(run_command, tmp_path):
    """Eager, ONNX Runtime in fp32 and int8, and OpenVINO where it is there; AP in fp32 is within 0.2 points."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    single, int8 = tmp_path / "single.onnx", tmp_path / "int8.onnx"
    assert command.main(["export", str(single), f"model={MODEL}"]) == 0
    assert command.main(["export", str(int8), f"model={MODEL}", "--int8", "--calibration-images", "12", *FEW]) == 0
    assert int8.stat().st_size < 0.4 * single.stat().st_size
    assert origin(single).keys() == {"weights_sha256", "network_sha256"}
    assert origin(single)["weights_sha256"] == sha256_of(WEIGHTS)
    assert origin(int8) == {**origin(single), "calibration": "12 images of shapes train"}
    alike = [*FEW, "study=none", "device=cpu", "protocol=quick", "passes=[speed,accuracy]", f"out={tmp_path / 'out'}"]
    for row in (
        [f"model={MODEL}"],
        ["model=onnx", f"model.weights={single}"],
        ["model=openvino", f"model.weights={single}"],
        ["model=onnx", f"model.weights={int8}", "precision=int8"],
        ["model=openvino", f"model.weights={int8}", "precision=int8"],
    ):
        done = run_command(*row, *alike)
        assert done.returncode == 0, done.stderr
    markdown = (tmp_path / "out" / "comparison.md").read_text()
    table = markdown.split("## AP lost, FPS gained\n\n")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert rows[0][5] == "base: torch, fp32"
    losses = {row[0].split(" ")[0] + " " + row[5][:14].strip(): float(row[2].split(" ")[0]) for row in rows[1:]}
    assert losses.keys() == {"onnx ", "openvino ", "onnx precision int8", "openvino precision int8"}
    assert abs(losses["openvino precision int8"] - losses["onnx precision int8"]) <= 3, "both lose what int8 costs"
    assert abs(losses["onnx "]) <= 0.2
    assert abs(losses["openvino "]) <= 0.2
    assert all(" times " in row[4] for row in rows[1:])
    assert "\n- int8, calibrated on 12 images of shapes train [" in markdown


def write_set(folder: Path, shades: list[int]) -> list[str]:
    """Write images of these shades with one square each; give the path of the images and of the annotations."""
    folder.mkdir()
    images, annotations = [], []
    for number, shade in enumerate(shades, start=1):
        Image.fromarray(np.full((40, 60, 3), shade, np.uint8)).save(folder / f"{folder.name}{number}.png")
        images.append({"id": number, "file_name": f"{folder.name}{number}.png", "height": 40, "width": 60})
        square = {"segmentation": [[5, 10, 13, 10, 13, 18, 5, 18]], "iscrowd": 0, "area": 64, "bbox": [5, 10, 8, 8]}
        annotations.append({"id": number, "image_id": number, "category_id": 1, **square})
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "circle"}]}
    (folder / "set.json").write_text(json.dumps(coco))
    return [str(folder), str(folder / "set.json")]


@pytest.mark.parametrize(
    ("train", "count", "words"),
    [
        (None, "2", "--int8 is calibrated on images of the train set, and there is none; give dataset.train.images="),
        ([10, 20], "3", "--calibration-images 3: coco train has 2 images; give --calibration-images 2"),
        ([10, 20], "0", "--calibration-images 0: must be at least 1"),
        (
            [10, 200],
            "2",
            "train2.png: this image of dataset.train is also one of dataset=coco, on which AP is measured",
        ),
    ],
)
def test_calibration_on_other_images_than_those_of_a_train_set_is_refused(tmp_path, capsys, train, count, words):
    """The last case is a copy of an image of the set under another name, beyond ``dataset.limit``."""
    images, annotations = write_set(tmp_path / "val", [100, 200])
    given = ["dataset=coco", "dataset.limit=1", f"dataset.images={images}", f"dataset.annotations={annotations}"]
    if train is not None:
        images, annotations = write_set(tmp_path / "train", train)
        given += [f"dataset.train.images={images}", f"dataset.train.annotations={annotations}"]
    file = tmp_path / "m.onnx"
    status = command.main(["export", str(file), f"model={MODEL}", "--int8", "--calibration-images", count, *given])
    assert status == 2
    assert words in capsys.readouterr().err
    assert not file.exists()


def test_images_for_the_calibration_without_int8_are_refused(tmp_path, capsys):
    assert command.main(["export", str(tmp_path / "m.onnx"), f"model={MODEL}", "--calibration-images", "5"]) == 2
    assert "only --int8 needs images" in capsys.readouterr().err
