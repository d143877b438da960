"""Tests what the outputs of each layout mean, by numbers that are worked out by hand, and how layouts are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx_files import constant_network

from adapters.onnx.frame import Frame, Normalisation, Preprocessing
from adapters.onnx.layouts import choose
from adapters.onnx.predictor import OnnxPredictor
from adapters.onnx.telling import Port
from bench.errors import UserError
from bench.predictor import Instances, Settings, predict

CPU = torch.device("cpu")
WIDE = np.zeros((40, 80, 3), np.uint8)
"""In a letterbox of 64 x 64 it is 32 x 64, with 16 lines of padding above and below."""
CLASSES = ("cat", "dog")
TOLD: dict[str, Any] = {"resize": "fit", "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}


def load(path: Path, classes: tuple[str, ...] | None = CLASSES, device: torch.device = CPU, **options: Any):
    settings = Settings(device, classes=classes, weights_path=path, classes_told=classes is not None)
    return OnnxPredictor(settings, **options)


def found(path: Path, image: np.ndarray = WIDE, **options: Any) -> Instances:
    model = load(path, **options)
    [instances] = predict(model, [image])
    instances.validate(*image.shape[:2], len(model.classes), 100)
    return instances


def area(mask: torch.Tensor) -> tuple[int, int, int, int]:
    """Give the rows and columns of a mask that is a rectangle, but for its corners: first and beyond the last."""
    rows, columns = torch.nonzero(mask.any(1))[:, 0], torch.nonzero(mask.any(0))[:, 0]
    box = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    assert bool(mask[box[0] + 2 : box[1] - 2, box[2] : box[3]].all())
    assert bool(mask[box[0] : box[1], box[2] + 2 : box[3] - 2].all())
    return box


def yolo_outputs(anchors: list[list[float]]) -> dict[str, np.ndarray]:
    """Predictions of 84 anchors, those given and others of score 0, and two prototypes: 1 everywhere, and -1."""
    predictions = np.zeros((1, 8, 84), np.float32)
    predictions[0, :, : len(anchors)] = np.array(anchors, np.float32).T
    prototypes = np.stack([np.ones((16, 16)), -np.ones((16, 16))])[None].astype(np.float32)
    return {"output0": predictions, "output1": prototypes}


def test_yolo_with_its_letterbox_and_nms(tmp_path: Path) -> None:
    # x, y, width, height in the input, the scores of cat and dog, two coefficients.
    anchors = [
        [32, 32, 32, 16, 0.9, 0.0, 1, 0],
        [33, 32, 32, 16, 0.8, 0.0, 1, 0],  # the same cat
        [32, 32, 32, 16, 0.0, 0.7, 0, 1],  # a dog at its place, without a mask
    ]
    instances = found(constant_network(tmp_path / "y.onnx", yolo_outputs(anchors)))
    assert instances.labels.tolist() == [0, 1]
    torch.testing.assert_close(instances.scores, torch.tensor([0.9, 0.7]))
    # (16..48 of 64) / 0.8 = 20..60; (24..40 - 16) / 0.8 = 10..30
    torch.testing.assert_close(instances.boxes, torch.tensor([[20.0, 10, 60, 30]] * 2))
    assert area(instances.masks[0]) == (10, 30, 20, 60)
    assert not bool(instances.masks[1].any())


def test_yolo_whose_labels_are_in_its_metadata(tmp_path: Path) -> None:
    metadata = {"names": "{0: 'tom', 1: 'spike'}", "imgsz": "[64, 64]"}
    anchors = [[32, 32, 32, 16, 0.9, 0.0, 1, 0]]
    path = constant_network(tmp_path / "y.onnx", yolo_outputs(anchors), metadata=metadata)
    assert load(path, classes=None).classes == ("tom", "spike")
    assert load(path).classes == CLASSES


def test_yolo_end_to_end_needs_no_nms(tmp_path: Path) -> None:
    rows = np.zeros((1, 3, 8), np.float32)
    rows[0, 0] = [16, 24, 48, 40, 0.6, 1, 1, 0]
    rows[0, 1] = [17, 24, 48, 40, 0.9, 1, 1, 0]
    outputs = {"output0": rows, "output1": yolo_outputs([])["output1"]}
    instances = found(constant_network(tmp_path / "e.onnx", outputs))
    assert instances.labels.tolist() == [1, 1]
    torch.testing.assert_close(instances.scores, torch.tensor([0.9, 0.6]))
    assert area(instances.masks[1]) == (10, 30, 20, 60)
    rows[0, 0, 5] = 0.4
    with pytest.raises(UserError, match="holds no labels"):
        found(constant_network(tmp_path / "e.onnx", outputs))


def test_rfdetr_is_stretched(tmp_path: Path) -> None:
    masks = np.full((1, 2, 16, 16), -5, np.float32)
    masks[0, 0, 4:8, 8:16] = 5
    outputs = {
        "dets": np.array([[[0.75, 0.375, 0.5, 0.25], [0.5, 0.5, 1, 1]]], np.float32),
        "labels": np.array([[[-9, 2, -9], [-9, -9, 0]]], np.float32),
        "masks": masks,
    }
    instances = found(constant_network(tmp_path / "r.onnx", outputs))
    assert instances.labels[0] == 1
    torch.testing.assert_close(instances.scores[0], torch.tensor(2.0).sigmoid())
    # The output of index 2 is of no class, though it scores higher than the others.
    assert 0.5 not in instances.scores.tolist()
    torch.testing.assert_close(instances.boxes[0], torch.tensor([40.0, 10, 80, 20]))
    assert area(instances.masks[0]) == (10, 20, 40, 80)


def test_logits_of_no_class_take_no_places_of_rfdetr(tmp_path: Path) -> None:
    """COCO's 91 logits with gaps: the best scores are of ids that COCO does not use, and the best two are asked for."""
    logits = np.full((1, 3, 91), -9, np.float32)
    logits[0, :, [0, 12, 26]] = 5
    logits[0, 0, 90], logits[0, 2, 13] = 1, 2
    outputs = {
        "dets": np.full((1, 3, 4), 0.5, np.float32),
        "labels": logits,
        "masks": np.ones((1, 3, 16, 16), np.float32),
    }
    path, names = constant_network(tmp_path / "r.onnx", outputs), tuple(f"class {label}" for label in range(80))
    settings = Settings(CPU, classes=names, weights_path=path, classes_told=True, max_detections=2)
    [instances] = predict(OnnxPredictor(settings), [WIDE])
    assert instances.labels.tolist() == [11, 79]  # COCO's twelfth category has the id 13, its last 90
    torch.testing.assert_close(instances.scores, torch.tensor([2.0, 1.0]).sigmoid())


def test_torchvision_with_masks_of_boxes_and_of_the_whole_image(tmp_path: Path) -> None:
    whole = np.zeros((2, 1, 40, 80), np.float32)
    whole[1, 0, 10:20, 40:80] = 1
    outputs = {
        "boxes": np.array([[0, 0, 8, 8], [40, 10, 80, 20]], np.float32),
        "labels": np.array([1, 2]),
        "scores": np.array([0.1, 0.8], np.float32),
        "masks": whole,
    }
    image = (3, "height", "width")
    path = constant_network(tmp_path / "t.onnx", outputs, image)
    instances = found(path)
    assert instances.labels.tolist() == [1, 0]  # 1 and 2 of the file: its 0 is the background
    assert area(instances.masks[0]) == (10, 20, 40, 80)
    outputs["masks"] = np.ones((2, 1, 28, 28), np.float32)
    path = constant_network(tmp_path / "t.onnx", outputs, image)
    top, bottom, left, right = area(found(path).masks[0])
    assert (abs(top - 10) <= 1, abs(bottom - 20) <= 1, abs(left - 40) <= 1, abs(right - 80) <= 1) == (True,) * 4
    assert load(path).fixed_batch == 1
    with pytest.raises(UserError, match=r"gave label 2, and 2 labels are known; give model.classes"):
        found(path, classes=("cat",))


def test_mmdeploy_fills_up_with_labels_below_zero(tmp_path: Path) -> None:
    outputs = {
        "dets": np.array([[[32, 8, 64, 16, 0.9], [0, 0, 0, 0, 0]]], np.float32),
        "labels": np.array([[1, -1]]),
        "masks": np.ones((1, 2, 28, 28), np.float32),
    }
    path = constant_network(tmp_path / "m.onnx", outputs)
    instances = found(path, **TOLD)  # 40 x 80 in the top left corner: 32 x 64
    assert instances.labels.tolist() == [1]
    assert area(instances.masks[0]) == (10, 20, 40, 80)
    with pytest.raises(UserError, match=r"nor its layout mmdeploy tells resize, mean, std of the images; give them"):
        load(path)
    outputs["masks"] = outputs["masks"] * 7
    with pytest.raises(UserError, match="must be probabilities"):
        found(constant_network(tmp_path / "m.onnx", outputs), **TOLD)


def test_queries_are_those_of_mask2former_in_transformers(tmp_path: Path) -> None:
    """The oracle is the adapter of the library, whose inference is tested against the paper's."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    from adapters.transformers.predictor import Mask2FormerPredictor, Raw

    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (1, 5, 3)).astype(np.float32)
    masks = random.normal(0, 2, (1, 5, 16, 16)).astype(np.float32)
    path = constant_network(tmp_path / "q.onnx", {"class_logits": logits, "mask_logits": masks})
    instances = found(path, **TOLD)
    eager = Mask2FormerPredictor.__new__(Mask2FormerPredictor)
    eager.classes, eager.max_detections, eager.score_threshold = CLASSES, 100, 0.0
    raw = Raw(torch.from_numpy(logits), torch.from_numpy(masks), None, (64, 64), [(32, 64)], [(40, 80)])
    [expected] = eager.postprocess(raw)
    assert instances.labels.tolist() == expected.labels.tolist()
    torch.testing.assert_close(instances.scores, expected.scores)
    assert torch.equal(instances.masks, expected.masks)


def test_pixels_are_normalised_in_the_order_and_range_that_was_told() -> None:
    image = torch.tensor([10, 20, 30], dtype=torch.uint8)[:, None, None].expand(3, 1, 1)
    frame = Frame((1, 1), (0, 0, 1, 1), (1, 2))
    rgb = Normalisation(Preprocessing("fit", mean=(0.1, 0.2, 0.3), std=(1, 2, 4)), CPU, torch.float32)
    expected = torch.tensor([10 / 255 - 0.1, (20 / 255 - 0.2) / 2, (30 / 255 - 0.3) / 4])
    given = rgb([image], [frame], 2)
    torch.testing.assert_close(given[0, :, 0, 0], expected)
    assert not bool(given[0, :, 0, 1].any() or given[1].any())  # padded with 0 after the normalisation
    how = Preprocessing("letterbox", value_range=255, mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0), channels="bgr")
    given = Normalisation(how, CPU, torch.float32)([image], [frame], 1)
    torch.testing.assert_close(given[0, :, 0, 0], torch.tensor([29 / 2, 18 / 2, 7 / 2]))
    torch.testing.assert_close(given[0, :, 0, 1], torch.tensor([113 / 2, 112 / 2, 111 / 2]))


@pytest.mark.parametrize(("rounding", "size"), [("nearest", (288, 240)), ("down", (288, 239)), ("shorter", (287, 240))])
def test_edges_are_rounded_as_the_libraries_do(rounding: str, size: tuple[int, int]) -> None:
    """371 x 309 into 288 x 288: 288 / 371 of 309 is 239.87; of transformers, 288 * 309 / 371 = 239.87 is first 240."""
    how = Preprocessing("fit", size=(288, 288), rounding=rounding)
    expected = {"shorter": (int(288 * 309 / 371 * 371 / 309), 240)}.get(rounding, size)
    assert how.place(371, 309, None)[0] == expected


def ports(**shapes: tuple[int | None, ...]) -> list[Port]:
    return [Port(name, shape, integer=name == "labels") for name, shape in shapes.items()]


@pytest.mark.parametrize(
    ("layout", "outputs"),
    [
        ("yolo", ports(output0=(1, 116, 8400), output1=(1, 32, 160, 160))),
        ("yolo", ports(output0=(None, 37, None), output1=(None, 32, None, None))),
        ("yolo_end_to_end", ports(output0=(1, 300, 38), output1=(1, 32, 160, 160))),
        ("rfdetr", ports(dets=(1, 200, 4), scores=(1, 200, 91), masks=(1, 200, 108, 108))),
        ("rfdetr", ports(pred_logits=(1, 200, 4), pred_boxes=(1, 200, 4), pred_masks=(1, 200, 96, 96))),
        ("torchvision", ports(boxes=(None, 4), labels=(None,), scores=(None,), masks=(None, None, None, None))),
        ("mmdeploy", ports(dets=(1, None, 5), labels=(1, None), masks=(1, None, None, None))),
        ("queries", ports(class_logits=(None, 100, 81), mask_logits=(None, 100, 96, 96))),
    ],
)
def test_a_layout_is_told_by_names_and_shapes(layout: str, outputs: list[Port]) -> None:
    for order in (outputs, outputs[::-1]):
        assert choose(order, None, "f.onnx")[0].name == layout
    if any(port.name == "pred_boxes" for port in outputs):
        assert choose(outputs, None, "f.onnx")[1]["boxes"].name == "pred_boxes"


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (ports(a=(1, 32, 38), b=(1, 32, 160, 160)), "fit the layouts yolo_end_to_end and queries; give model.options"),
        (ports(scores=(1, 1000)), r"its outputs scores \(1, 1000\) fit no layout that is known. yolo: predictions"),
        (ports(a=(1, 200, 4), b=(1, 200, 4), masks=(1, 200, 96, 96)), "fit no layout"),
        # Of YOLOv5 with one class, which has another order of values.
        (ports(output0=(1, 25200, 38), output1=(1, 32, 160, 160)), "fit no layout"),
    ],
)
def test_outputs_that_are_ambiguous_or_unknown_are_refused(outputs: list[Port], words: str) -> None:
    with pytest.raises(UserError, match=words):
        choose(outputs, None, "f.onnx")


def test_a_layout_that_is_asked_for_decides_or_is_refused() -> None:
    both = ports(a=(1, 32, 38), b=(1, 32, 160, 160))
    assert choose(both, "queries", "f.onnx")[0].name == "queries"
    with pytest.raises(
        UserError, match=r"layout=mmdeploy has boxes with scores \(B, N, 5\).*; f.onnx has a \(1, 32, 38"
    ):
        choose(both, "mmdeploy", "f.onnx")
    with pytest.raises(UserError, match=r"layout=yolov8: no such layout; did you mean yolo\?"):
        choose(both, "yolov8", "f.onnx")
