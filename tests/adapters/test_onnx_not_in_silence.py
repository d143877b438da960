"""Tests what would be wrong in silence in ONNX files: NaN, uint8 inputs, DETR's outputs, masks of the whole input,
labels below 0 and options of another kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from contexts import context_of
from onnx_files import constant_network
from test_onnx_layouts import CLASSES, CPU, TOLD, area, found, load, yolo_outputs
from test_onnx_runtimes import RUNTIMES, in_runtime

from adapters.onnx.frame import Frame, Normalisation, Preprocessing
from bench.data import dataset as datasets
from bench.data.dataset import CocoDataset
from bench.data.shapes.generate import generate
from bench.errors import UserError
from bench.passes import accuracy, speed
from bench.passes.runner import Runner
from bench.predictor import predict
from bench.schema.config import BenchConfig, DatasetConfig, ModelConfig, ShapesConfig

ANCHORS = [[32, 32, 32, 16, 0.9, 0.0, 1, 0], [32, 32, 32, 16, 0.0, 0.7, 0, 1]]
Outputs = dict[str, np.ndarray]


def end_to_end() -> Outputs:
    rows = np.zeros((1, 3, 8), np.float32)
    rows[0, :2] = [[16, 24, 48, 40, 0.6, 1, 1, 0], [17, 24, 48, 40, 0.5, 0, 1, 0]]
    return {"output0": rows, "output1": yolo_outputs([])["output1"]}


def boxes_and_logits() -> Outputs:
    return {
        "dets": np.array([[[0.75, 0.375, 0.5, 0.25], [0.5, 0.5, 1, 1]]], np.float32),
        "labels": np.array([[[-9, 2, -9], [-9, -9, 0]]], np.float32),
        "masks": np.full((1, 2, 16, 16), 5, np.float32),
    }


def of_torchvision(masks: np.ndarray | None = None) -> Outputs:
    return {
        "boxes": np.array([[0, 0, 8, 8], [40, 10, 80, 20]], np.float32),
        "labels": np.array([1, 2]),
        "scores": np.array([0.1, 0.8], np.float32),
        "masks": np.ones((2, 1, 28, 28), np.float32) if masks is None else masks,
    }


def of_mmdeploy() -> Outputs:
    return {
        "dets": np.array([[[32, 8, 64, 16, 0.9], [0, 0, 0, 0, 0]]], np.float32),
        "labels": np.array([[1, -1]]),
        "masks": np.ones((1, 2, 28, 28), np.float32),
    }


def of_queries() -> Outputs:
    return {"logits": np.ones((1, 5, 3), np.float32), "masks": np.ones((1, 5, 16, 16), np.float32)}


ONE_IMAGE = (3, "height", "width")


@pytest.mark.parametrize(
    ("outputs", "image", "options", "places"),
    [
        (lambda: yolo_outputs(ANCHORS), None, {}, [("output0", (0, 4, 0)), ("output0", (0, 0, 0)), ("output1", 0)]),
        (end_to_end, None, {}, [("output0", (0, 0, 4)), ("output0", (0, 0, 1)), ("output1", 0)]),
        (boxes_and_logits, None, {}, [("labels", (0, 0, 1)), ("dets", (0, 0, 0)), ("masks", (0, 1))]),
        (boxes_and_logits, None, {**TOLD, "layout": "detr"}, [("labels", (0, 0, 1)), ("dets", 0), ("masks", (0, 1))]),
        (of_torchvision, ONE_IMAGE, {}, [("scores", 0), ("boxes", (0, 0)), ("masks", (1, 0, 3, 3))]),
        (of_mmdeploy, None, TOLD, [("dets", (0, 0, 4)), ("dets", (0, 0, 0)), ("masks", (0, 0, 3, 3))]),
        (of_queries, None, TOLD, [("logits", (0, 0, 0)), ("masks", (0, 0, 0, 0))]),
    ],
)
def test_nan_is_refused_in_whatever_output_it_is(
    tmp_path: Path, outputs: Callable[[], Outputs], image: Any, options: dict[str, Any], places: list[Any]
) -> None:
    shape = image or ("batch", 3, 64, 64)
    assert len(found(constant_network(tmp_path / "f.onnx", outputs(), shape), **options))
    for name, place in places:
        values = outputs()
        values[name][place] = np.nan
        with pytest.raises(UserError, match=r"f.onnx: the \w+ that it gave hold NaN"):
            found(constant_network(tmp_path / "f.onnx", values, shape), **options)


OF_EVERY_LAYOUT = [
    (lambda: yolo_outputs(ANCHORS), None, {}),
    (end_to_end, None, {}),
    (boxes_and_logits, None, {}),
    (boxes_and_logits, None, {**TOLD, "layout": "detr"}),
    (of_torchvision, ONE_IMAGE, {}),
    (of_mmdeploy, None, TOLD),
    (of_queries, None, TOLD),
]


@pytest.mark.parametrize(("outputs", "image", "options"), OF_EVERY_LAYOUT)
def test_nothing_is_searched_while_the_model_is_timed(
    tmp_path: Path, outputs: Callable[[], Outputs], image: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row in torch pays for a search for NaN; of YOLO's outputs at 640 pixels it took more than 1 ms."""
    predictor = load(constant_network(tmp_path / "f.onnx", outputs(), image or ("batch", 3, 64, 64)), **options)
    runner, searched = Runner(predictor, CPU, "fp32"), []
    isnan, aminmax = torch.Tensor.isnan, torch.Tensor.aminmax
    monkeypatch.setattr(torch.Tensor, "isnan", lambda values: searched.append("isnan") or isnan(values))
    monkeypatch.setattr(
        torch.Tensor, "aminmax", lambda values: searched.extend(["values"] * (values.ndim > 1)) or aminmax(values)
    )
    batch = runner.preprocess([np.zeros((64, 64, 3), np.uint8)])
    [timed] = runner.model(batch)
    assert not searched
    with runner.refusing_nan():
        [checked] = runner.model(batch)
    assert searched
    assert torch.equal(timed.masks, checked.masks)
    assert torch.equal(timed.scores, checked.scores)
    searched.clear()
    runner.model(batch)
    assert not searched


@pytest.mark.parametrize("measured", [speed.PASS, accuracy.PASS])
def test_nan_is_found_before_a_timing_and_in_the_accuracy_pass(
    tmp_path: Path, measured: Any, shapes_of_two: CocoDataset
) -> None:
    """The second of two detections is NaN, and a threshold would drop it; the row of its speed would be ok."""
    values = of_torchvision()
    values["scores"][1] = np.nan
    predictor = load(constant_network(tmp_path / "f.onnx", values, ONE_IMAGE))
    config = BenchConfig(model=ModelConfig(weights="own"))
    context = context_of(predictor, shapes_of_two, config, labels=[None] * len(predictor.classes), folder=tmp_path)
    with pytest.raises(UserError, match=r"f.onnx: the scores that it gave hold NaN"):
        measured.measure(context)


@pytest.fixture(scope="module")
def shapes_of_two(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    folder = tmp_path_factory.mktemp("shapes")
    (folder / "images").mkdir()
    generate(ShapesConfig(count=2, seed=1), folder)
    return datasets.load(DatasetConfig(images=str(folder / "images"), annotations=str(folder / "instances.json")))


def test_nan_of_what_fills_up_is_nothing(tmp_path: Path) -> None:
    outputs = of_mmdeploy()
    outputs["dets"][0, 1] = np.nan
    outputs["masks"][0, 1] = np.nan
    assert len(found(constant_network(tmp_path / "m.onnx", outputs), **TOLD)) == 1


def takes_uint8(path: Path) -> Path:
    """Write a file of torchvision's layout whose first score is the mean of the pixels over 255."""
    model = onnx.load(str(constant_network(path, of_torchvision(), ONE_IMAGE)))
    graph = model.graph
    del graph.initializer[:]
    kept = [node for node in graph.node if node.op_type == "Constant" and node.output[0] != "scores"]
    del graph.node[:]
    graph.initializer.append(numpy_helper.from_array(np.array([255, 2550], np.float32), "by"))
    graph.node.extend(kept)
    graph.node.append(helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("ReduceMean", ["pixels"], ["mean"], keepdims=0))
    graph.node.append(helper.make_node("Div", ["mean", "by"], ["scores"]))
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_input_of_uint8_gets_pixels_as_they_are(tmp_path: Path, runtime: str) -> None:
    path = takes_uint8(tmp_path / "u.onnx")
    model = in_runtime(runtime, path, classes=CLASSES, classes_told=True)
    [instances] = predict(model, [np.full((40, 80, 3), 102, np.uint8)])
    torch.testing.assert_close(instances.scores, torch.tensor([0.4, 0.04]))
    assert "0 to 255, mean 0,0,0, std 1,1,1" in model.runtime.preprocessing


@pytest.mark.parametrize("options", [{"value_range": 1}, {"mean": [0.5, 0.5, 0.5]}, {"std": [58, 57, 57]}])
def test_an_input_of_uint8_takes_nothing_else(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="its input is uint8, so it takes pixels of 0 to 255 as they are; leave"):
        load(takes_uint8(tmp_path / "u.onnx"), **options)


def test_values_for_uint8_are_rounded() -> None:
    how = Preprocessing("letterbox", value_range=255, in_float=True, pad_value=114)
    image, frame = torch.full((3, 1, 1), 10.7), Frame((1, 1), (0, 0, 1, 1), (1, 2))
    assert Normalisation(how, CPU, torch.uint8)([image], [frame], 1)[0, 0].tolist() == [[11, 114]]


def detr_outputs() -> Outputs:
    """One dog of probability 0.9, also for a softmax, and a query of no object with a cat's logit of 3."""
    logits = np.array([[[0, np.log(18), 0], [3, 0, 13]]], np.float32)
    return {"logits": logits, "pred_boxes": boxes_and_logits()["dets"], "pred_masks": boxes_and_logits()["masks"]}


def test_outputs_of_detr_or_rf_detr_need_a_word(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "d.onnx", detr_outputs())
    with pytest.raises(UserError, match=r"fit the layouts rfdetr .* and detr .*give model.options.layout=rfdetr or"):
        load(path)
    assert load(path, layout="rfdetr").layout.name == "rfdetr"
    # With a name for each output there is none for "no object".
    assert load(path, classes=(*CLASSES, "mouse")).layout.name == "rfdetr"
    with pytest.raises(UserError, match="outputs are of 2 classes, and there are 3"):
        load(path, classes=(*CLASSES, "mouse"), layout="detr", **TOLD)


def test_detr_is_a_softmax_with_no_object(tmp_path: Path) -> None:
    instances = found(constant_network(tmp_path / "d.onnx", detr_outputs()), layout="detr", **TOLD)
    # exp: 18 of 1 + 18 + 1; and e^3 of e^3 + 1 + e^13
    expected = [18 / 20, np.exp(3) / (np.exp(3) + 1 + np.exp(13))]
    torch.testing.assert_close(instances.scores, torch.tensor(expected, dtype=torch.float32))
    assert instances.labels.tolist() == [1, 0]
    torch.testing.assert_close(instances.boxes[0], torch.tensor([40.0, 20, 80, 40]))  # (32..64, 16..32) / 0.8


QUARTER = np.zeros((2, 1, 10, 20), np.float32)
QUARTER[1, 0, 3:5, 10:20] = 1


def test_masks_of_the_whole_input_at_another_size_need_a_word(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "t.onnx", of_torchvision(QUARTER), ONE_IMAGE)
    with pytest.raises(UserError, match=r"its masks are 10x20 and its input is 40x80, .* give model.options.masks=box"):
        found(path)
    instances = found(path, masks="input")  # the mask is rows 3..5 and columns 10..20 of 10 x 20, times 4
    top, bottom, left, right = area(instances.masks[0])
    assert (abs(top - 12) <= 1, abs(bottom - 20) <= 1, abs(left - 40) <= 1, right) == (True, True, True, 80)


@pytest.mark.parametrize(("edge", "image", "told"), [(28, 112, False), (100, 112, False), (28, 100, True)])
def test_square_masks_of_a_square_input(tmp_path: Path, edge: int, image: int, told: bool) -> None:
    """28 of 112 may be a quarter, and networks do not give 100 x 100 for a box."""
    path = constant_network(tmp_path / "t.onnx", of_torchvision(np.ones((2, 1, edge, edge), np.float32)), ONE_IMAGE)
    pixels = np.zeros((image, image, 3), np.uint8)
    if not told:
        with pytest.raises(UserError, match=r"give model.options.masks=boxes or model.options.masks=input"):
            found(path, pixels)
    instances = found(path, pixels, **({} if told else {"masks": "boxes"}))
    assert abs(int(instances.masks[0].sum()) - 400) < 200  # of the box 40 x 10, with the pixels at its edges


def test_a_label_below_zero_is_refused(tmp_path: Path) -> None:
    outputs = of_torchvision()
    outputs["labels"][1] = -1
    with pytest.raises(UserError, match=r"t.onnx: it gave label -1, and labels begin at 0"):
        found(constant_network(tmp_path / "t.onnx", outputs, ONE_IMAGE))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"antialias": "no"}, "antialias=no: must be true or false"),
        ({"in_float": "no"}, "in_float=no: must be true or false"),
        ({"in_float": 1}, "in_float=1: must be true or false"),
        ({"nms_iou": 70}, "nms_iou=70: must be an IoU"),
        ({"nms_iou": "0.7"}, "nms_iou=0.7: must be an IoU"),
        ({"nms_iou": float("nan")}, "nms_iou=nan: must be an IoU"),
        ({"size": [0, 640]}, r"size=\[0, 640\]: must be two whole numbers"),
        ({"size": [640.5, 640]}, "must be two whole numbers"),
        ({"size": 640}, "size=640: must be a list of 2 numbers"),
        ({"multiple": 0}, "multiple=0: must be a whole number of pixels from 1"),
        ({"multiple": 1.5}, "multiple=1.5: must be a whole number"),
        ({"pad_value": 256}, "pad_value=256: must be a number from 0 to 255"),
        ({"pad_value": "grey"}, "pad_value=grey: must be a number"),
        ({"value_range": True}, "value_range=True: must be 1 or 255"),
        ({"std": [float("nan")] * 3}, "must be a list of 3 numbers"),
        ({"layout": ["yolo"]}, r"layout=\['yolo'\]: must be the name of a layout"),
        ({"masks": "box"}, "masks=box: no such word; did you mean boxes"),
        ({"masks": "input"}, "masks=input: is of the layouts torchvision and mmdeploy, and the file's is yolo"),
        ({"labels": ["coco"]}, "no such word"),
        ({"resize": ["fit"]}, "no such word"),
    ],
)
def test_options_of_another_kind_are_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    path = constant_network(tmp_path / "y.onnx", yolo_outputs([]), ("batch", 3, "h", "w"))
    with pytest.raises(UserError, match=words):
        load(path, **{"size": [64, 64], **options})


def test_a_row_tells_how_images_were_resized(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "y.onnx", yolo_outputs([]))
    told = [load(path, antialias=on, in_float=on).runtime.preprocessing.partition(",")[0] for on in (True, False)]
    assert told == ["letterbox with antialias", "letterbox without antialias"]
    assert "in float32" in load(path, in_float=True).runtime.preprocessing
    assert "in uint8" in load(path).runtime.preprocessing


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"names": "{0: 'a', 'b': 1}"}, "labels in its metadata 'names' are not 0 to 1; give model.classes"),
        ({"names": "{True: 'a', 0: 'b'}"}, "labels in its metadata 'names' are not 0 to 1"),
        ({"names": "'abcdef'"}, r"its metadata 'names' is a str, must be class names by label, such as \{0: 'cat'"),
        ({"names": "6"}, "its metadata 'names' is a int"),
        ({"names": "{0: 'a', 1: 'b'}", "imgsz": "['64', '64']"}, "'names' or 'imgsz' cannot be read"),
        ({"names": "(" * 500 + ")" * 500}, "cannot be read"),
    ],
)
def test_metadata_that_is_nothing_of_the_kind_is_one_line(tmp_path: Path, metadata: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        load(constant_network(tmp_path / "y.onnx", yolo_outputs([]), metadata=metadata), classes=None)


@pytest.mark.parametrize(
    ("given", "note"),
    [
        (("cat", "dog"), None),
        (("feline", "dog"), None),  # another name for one class
        (
            ("dog", "cat"),
            "model.classes has the names of the file in another order: its class 0 is 'dog', and the file calls it "
            "'cat'; where the file is right, leave model.classes out",
        ),
    ],
)
def test_names_in_another_order_than_the_files_are_told(
    tmp_path: Path, given: tuple[str, ...], note: str | None
) -> None:
    path = constant_network(tmp_path / "y.onnx", yolo_outputs([]), metadata={"names": "{0: 'cat', 1: 'dog'}"})
    assert load(path, classes=given).notes == ((note,) if note else ())
