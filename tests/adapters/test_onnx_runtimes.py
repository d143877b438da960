"""Tests exported files against the trained models that they are of, and what a runtime must not do in silence."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx_files import constant_network
from test_onnx_layouts import CLASSES, CPU, load, yolo_outputs

from adapters.onnx import predictor as ort
from adapters.onnx.file import read_onnx
from bench.cli import main as command
from bench.data.dataset import load as load_dataset
from bench.data.images import read_images
from bench.errors import UserError
from bench.jobs.worker.load_model import build_predictor, refuse_device
from bench.predictor import Instances, Predictor, Settings, predict
from bench.schema.config import DatasetConfig, ShapesConfig
from run_bench import compose

ROOT = Path(__file__).resolve().parents[2]
RUNTIMES = {
    "onnxruntime": "adapters.onnx.predictor:OnnxPredictor",
    "openvino": "adapters.openvino.predictor:OpenVinoPredictor",
}
IMAGES = 4


class NoData:
    """Stands for the data set, whose classes are in another order than the labels of the files."""

    class_names = CLASSES[::-1]


def in_runtime(runtime: str, path: Path, **settings: Any) -> Predictor:
    pytest.importorskip(runtime, reason=f"{runtime} is not installed")
    module, _, name = RUNTIMES[runtime].partition(":")
    made: Predictor = getattr(importlib.import_module(module), name)(Settings(CPU, weights_path=path, **settings))
    return made


def eager(name: str, *overrides: str) -> Predictor:
    [job] = compose([f"model={name}", "study=none", "dataset=shapes", "device=cpu", *overrides])
    no_data: Any = NoData()
    made = build_predictor(job.config, no_data, CPU, str(ROOT / job.config.model.weights))
    assert isinstance(made, Predictor)
    return made


def exported(name: str, folder: Path, *overrides: str) -> Path:
    path = folder / f"{name}.onnx"
    assert command.main(["export", str(path), f"model={name}", *overrides]) == 0
    assert [each.name for each in folder.iterdir()] == [path.name]
    return path


@pytest.fixture(scope="module")
def mask_rcnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    return exported("demo_mask_rcnn_torchvision", tmp_path_factory.mktemp("mask_rcnn"))


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Give images of the shapes, wide and tall, uint8 (H, W, 3)."""
    records = load_dataset(DatasetConfig(name="shapes", shapes=ShapesConfig())).images[:IMAGES]
    return [read_images([record])[0] for record in records]


@pytest.fixture(scope="module")
def theirs() -> Predictor:
    return eager("demo_mask_rcnn_torchvision")


def assert_alike(ours: Instances, theirs: Instances) -> None:
    """The certain instances are the same ones: label, score, and a mask with an IoU over 0.99, or two other pixels."""
    count = int((theirs.scores > 0.1).sum())
    assert int((ours.scores > 0.1).sum()) == count
    assert torch.equal(ours.labels[:count], theirs.labels[:count])
    torch.testing.assert_close(ours.scores[:count], theirs.scores[:count], rtol=0, atol=1e-3)
    both = (ours.masks[:count] & theirs.masks[:count]).sum((1, 2))
    either = (ours.masks[:count] | theirs.masks[:count]).sum((1, 2))
    assert bool((either - both <= 0.01 * either + 2).all())
    assert int(both.sum()) >= 0.99 * int(either.sum())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_exported_mask_rcnn_gives_what_the_model_gives(
    runtime: str, mask_rcnn: Path, images: list[np.ndarray], theirs: Predictor
) -> None:
    model = in_runtime(runtime, mask_rcnn)
    assert model.classes == theirs.classes
    for image in images:
        assert model.preprocess([image]).images[0].shape == theirs.preprocess([image]).images[0].shape
        [instances] = predict(model, [image])
        instances.validate(*image.shape[:2], len(model.classes), 100)
        assert_alike(instances, predict(theirs, [image])[0])


@pytest.mark.slow
def test_an_exported_mask2former_gives_what_the_model_gives(tmp_path: Path, images: list[np.ndarray]) -> None:
    """It pads to one square, as the model does with ``protocol.pad_to``; and a batch gives what its images give."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    path = exported("demo_mask2former_transformers", tmp_path)
    theirs = eager("demo_mask2former_transformers", "protocol.pad_to=true", "input_size=288x384")
    for runtime in RUNTIMES:
        model = in_runtime(runtime, path)
        for image in images:
            assert model.preprocess([image]).images[0].shape == theirs.preprocess([image]).images[0].shape
            assert_alike(predict(model, [image])[0], predict(theirs, [image])[0])
        for instances, image in zip(predict(model, images[:3]), images, strict=False):
            assert_alike(instances, predict(model, [image])[0])


def test_an_exported_rf_detr_gives_what_the_model_gives(tmp_path: Path, images: list[np.ndarray]) -> None:
    """It stretches every image to one square, and has the names of its makers' exporter; a batch gives the same."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    path = exported("demo_rf_detr_transformers", tmp_path)
    theirs = eager("demo_rf_detr_transformers")
    for runtime in RUNTIMES:
        model = in_runtime(runtime, path)
        assert model.classes == theirs.classes
        assert model.runtime is not None
        assert model.runtime.layout == "rfdetr"
        for image in images:
            assert_alike(predict(model, [image])[0], predict(theirs, [image])[0])
        for instances, image in zip(predict(model, images[:3]), images, strict=False):
            assert_alike(instances, predict(model, [image])[0])


def test_an_rf_detr_of_another_input_size_gives_what_the_model_gives(tmp_path: Path) -> None:
    """OpenVINO scaled the position embeddings in another way: mask AP on shapes was 52.3, and the model's is 52.8."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    path = exported("demo_rf_detr_transformers", tmp_path, "input_size=192x192")
    theirs: Any = eager("demo_rf_detr_transformers", "input_size=192x192")
    images = torch.randn(2, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = theirs.module(pixel_values=images)
    for runtime in RUNTIMES:
        model: Any = in_runtime(runtime, path)
        given = model.session.run(images)
        for name, values in {"dets": output.pred_boxes, "labels": output.logits, "masks": output.pred_masks}.items():
            torch.testing.assert_close(torch.as_tensor(given[name]), values, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_ap_of_an_exported_model_is_that_of_the_model(runtime: str, mask_rcnn: Path, theirs: Predictor) -> None:
    """By pycocotools, over all 50 images of the shapes."""
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    from pycocotools import mask as rle
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    data = load_dataset(DatasetConfig(name="shapes", shapes=ShapesConfig()))
    category = {each.name: each.id for each in data.categories}
    truth = COCO(str(data.annotations_path))

    def ap(model: Predictor) -> float:
        results = []
        for record in data.images:
            [found] = predict(model, read_images([record]))
            rles = rle.encode(np.asfortranarray(found.masks.permute(1, 2, 0).numpy().astype(np.uint8)))
            for mask, score, label in zip(rles, found.scores.tolist(), found.labels.tolist(), strict=True):
                place = {"image_id": record.id, "category_id": category[model.classes[label]]}
                results.append({**place, "segmentation": mask, "score": score})
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return float(evaluation.stats[0])

    expected = ap(theirs)
    assert 0.5 < expected < 0.7
    assert abs(ap(in_runtime(runtime, mask_rcnn)) - expected) < 0.002


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_row_says_what_ran(runtime: str, mask_rcnn: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        told = in_runtime(runtime, mask_rcnn).runtime
    finally:
        torch.set_num_threads(before)
    assert told is not None
    assert (told.provider, told.threads) == ("CPUExecutionProvider" if runtime == "onnxruntime" else "CPU f32", 1)
    assert (told.file_precision, told.opset, told.file_bytes) == ("fp32", 17, mask_rcnn.stat().st_size)
    assert told.layout == "torchvision"
    assert told.build_seconds > 0


def test_openvino_that_would_compute_in_another_precision_is_refused(tmp_path: Path) -> None:
    """A file of fp16, of which most processors compute every operator in fp32."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    from adapters.openvino.predictor import _refuse_other_precision

    class Network:
        def get_property(self, name: str) -> str:
            return {"INFERENCE_PRECISION_HINT": "bf16"}[name]

    path = constant_network(tmp_path / "y.onnx", yolo_outputs([]))
    with pytest.raises(UserError, match=r"precision=fp32: OpenVINO computes y.onnx in bf16 on this processor"):
        _refuse_other_precision(Network(), "f32", read_onnx(path))


def test_a_session_that_took_another_provider_is_refused() -> None:
    assert ort._that_runs(["CUDAExecutionProvider", "CPUExecutionProvider"], "CUDAExecutionProvider")
    with pytest.raises(UserError, match="was asked for CUDAExecutionProvider and took CPUExecutionProvider"):
        ort._that_runs(["CPUExecutionProvider"], "CUDAExecutionProvider")


def test_onnx_runtime_without_cuda_takes_the_processor_in_silence(tmp_path: Path) -> None:
    """The reason for the check above, with the real runtime; with the wheel for GPUs there is nothing to see."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the provider")
    path = constant_network(tmp_path / "y.onnx", yolo_outputs([]))
    with pytest.raises(UserError, match="took CPUExecutionProvider"):
        ort.OrtSession(read_onnx(path), "cuda", CPU, tf32=False)
    with pytest.raises(UserError, match="TensorrtExecutionProvider and took CPUExecutionProvider"):
        ort.OrtSession(read_onnx(path), "tensorrt", CPU, tf32=False)


@pytest.mark.parametrize(
    ("model", "device", "options", "words"),
    [
        ("onnx", "cuda:0", {}, "has no CUDAExecutionProvider .*install onnxruntime-gpu in place of onnxruntime"),
        ("onnx", "cuda:0", {"provider": "tensorrt"}, "has no TensorrtExecutionProvider"),
        ("onnx", "cpu", {"provider": "cuda"}, "device=cpu is not its device; give device=cuda:0"),
        ("onnx", "cpu", {"provider": "cudaa"}, "no such provider; did you mean cuda"),
        ("openvino", "cuda:0", {}, "OpenVINO is run on the CPU here; give device=cpu"),
    ],
)
def test_a_device_without_a_provider_is_refused_before_anything_runs(
    model: str, device: str, options: dict[str, str], words: str
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the providers")
    runtime = {"onnx": "onnxruntime"}.get(model, model)
    pytest.importorskip(runtime, reason=f"{runtime} is not installed")
    module, _, name = RUNTIMES[runtime].partition(":")
    [job] = compose([f"model={model}", "model.weights=f.onnx"])
    job.config.model.options |= options
    with pytest.raises(UserError, match=words):
        refuse_device(getattr(importlib.import_module(module), name), job.config, torch.device(device))


def built(path: Path, *overrides: str) -> Any:
    classes = [f"model.classes=[{','.join(CLASSES)}]"]
    [job] = compose(["model=onnx", f"model.weights={path}", "device=cpu", *classes, *overrides])
    no_data: Any = NoData()
    return build_predictor(job.config, no_data, CPU, str(path))


def test_a_precision_is_the_files_and_no_label(tmp_path: Path) -> None:
    single = constant_network(tmp_path / "single.onnx", yolo_outputs([]))
    half = constant_network(tmp_path / "half.onnx", yolo_outputs([]), weight=np.float16)
    assert built(single).precisions == ("fp32",)
    with pytest.raises(UserError, match=r"precision=fp16: single.onnx holds fp32.*give precision=fp32"):
        built(single, "precision=fp16")
    with pytest.raises(UserError, match=r"precision=fp32: half.onnx holds fp16.*give precision=fp16"):
        built(half)
    with pytest.raises(UserError, match=r"precision=int8: single.onnx holds fp32"):
        built(single, "precision=int8")
    model = built(half, "precision=fp16")
    assert "computes the others in float32" in model.notes[0]
    assert model.normalise.dtype == torch.float16


def test_a_quantised_file_is_int8(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "q.onnx", yolo_outputs([]))
    model = onnx.load(str(path))
    scale = onnx.numpy_helper.from_array(np.float32(0.1).reshape(()), "scale")
    model.graph.initializer.append(scale)
    for name in ("images", "kernel"):
        model.graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", [f"q_{name}", "scale"], [f"dq_{name}"]))
        model.graph.node.insert(0, onnx.helper.make_node("QuantizeLinear", [name, "scale"], [f"q_{name}"]))
    model.graph.node[-1].input[:] = ["dq_images", "dq_kernel"]
    onnx.save(model, str(path))
    assert read_onnx(path).precision == "int8"
    foreign = built(path, "precision=int8")
    assert foreign.precisions == ("int8",)
    assert foreign.runtime.calibration is None
    assert "the file does not say by which images it was calibrated" in foreign.notes[-1]
    onnx.helper.set_model_props(model, {"maskbench_origin": '{"calibration": "9 images of x train"}'})
    onnx.save(model, str(path))
    told = built(path, "precision=int8")
    assert told.runtime.calibration == "9 images of x train"
    assert told.notes[-1] == "int8, calibrated on 9 images of x train"


@pytest.mark.parametrize("spoilt", ["[1]", "{"])
def test_an_origin_that_cannot_be_read_is_refused(tmp_path: Path, spoilt: str) -> None:
    path = constant_network(tmp_path / "y.onnx", yolo_outputs([]))
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"maskbench_origin": spoilt})
    onnx.save(model, str(path))
    with pytest.raises(UserError, match="its metadata 'maskbench_origin' cannot be read; export the file anew"):
        read_onnx(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def outside(path: Path) -> None:
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="w.bin", size_threshold=0)


@pytest.mark.parametrize(
    ("spoil", "overrides", "words"),
    [
        (cut, [], r"model.weights=.*y.onnx: no whole ONNX file \(.*; export or copy it anew"),
        (lambda path: path.write_bytes(b""), [], "no whole ONNX file"),
        (lambda path: path.write_text("<html>not found</html>"), [], "no whole ONNX file"),
        (outside, [], "weights are in another file"),
        (None, ["model.classes=[cat]"], r"outputs are of 2 classes, and there are 1 class names \(cat"),
        (None, ["model.classes=null"], "the file names no classes.*give model.classes"),
        (None, ["batch_size=2"], "takes 1 images at a time and no other number; give batch_size=1"),
        (None, ["input_size=320x320"], "no dynamic axes for height and width: it takes 64x64"),
        (None, ["model.options.mean=[123.675,116.28,103.53]"], "give model.options.value_range=255 too"),
        (None, ["model.options.mean=[0.5,0.5]"], "must be a list of 3 numbers"),
        (None, ["model.options.resize=letterboxed"], "no such word; did you mean letterbox"),
        (None, ["model.options.resise=fit"], "resise"),
    ],
)
def test_bad_input_gets_one_line(
    tmp_path: Path, spoil: Callable[[Path], object] | None, overrides: list[str], words: str
) -> None:
    path = constant_network(tmp_path / "y.onnx", yolo_outputs([]), image=(1, 3, 64, 64))
    if spoil is not None:
        spoil(path)
    with pytest.raises(UserError, match=words):
        built(path, *[text.replace("model.options.", "+model.options.") for text in overrides])


def test_the_remedy_for_weights_in_another_file_works(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "y.onnx", yolo_outputs([]))
    outside(path)
    with pytest.raises(UserError) as told:
        read_onnx(path)
    import shlex
    import subprocess
    import sys

    program = shlex.split(str(told.value).partition("join both with: ")[2])
    subprocess.run([sys.executable, *program[1:]], check=True)
    assert load(path.with_name("y_whole.onnx")).classes == CLASSES


def test_inputs_of_another_form_are_refused(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "y.onnx", yolo_outputs([]), image=(1, 3, 64, 64))
    model = onnx.load(str(path))
    sizes = onnx.helper.make_tensor_value_info("orig_target_sizes", onnx.TensorProto.INT64, (1, 2))
    model.graph.input.append(sizes)
    onnx.save(model, str(path))
    with pytest.raises(UserError, match=r"its inputs are images \(1, 3, 64, 64\), orig_target_sizes \(1, 2\), must be"):
        load(path)


def test_outputs_of_another_batch_are_refused(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "y.onnx", yolo_outputs([]), shapes={"output0": ("batch", 8, 84)})
    model = load(path)
    assert len(predict(model, [np.zeros((40, 80, 3), np.uint8)])) == 1
    with pytest.raises(UserError, match=r"its output output\d is of 1 images, for a batch of 2; give batch_size=1"):
        predict(model, [np.zeros((40, 80, 3), np.uint8)] * 2)


def test_a_file_of_a_fixed_batch_gets_the_last_images_too(tmp_path: Path) -> None:
    anchors = [[32, 32, 32, 16, 0.9, 0.0, 1, 0]]
    outputs = {name: np.repeat(values, 2, 0) for name, values in yolo_outputs(anchors).items()}
    model = load(constant_network(tmp_path / "y.onnx", outputs, image=(2, 3, 64, 64)))
    assert model.fixed_batch == 2
    [alone] = predict(model, [np.zeros((40, 80, 3), np.uint8)])
    assert len(alone) == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_outputs_have_the_names_of_the_file(runtime: str, tmp_path: Path) -> None:
    """A name decides which of two alike outputs is the boxes; a runtime leaves out what only hands a value on."""
    outputs = {name: np.zeros(shape, np.float32) for name, shape in (("dets", (1, 4, 4)), ("labels", (1, 4, 4)))}
    path = constant_network(tmp_path / "r.onnx", {**outputs, "masks": np.zeros((1, 4, 16, 16), np.float32)})
    model, make = onnx.load(str(path)), onnx.helper.make_node
    model.graph.node.append(make("ReduceMean", ["images"], ["mean"], keepdims=0))
    for node in list(model.graph.node):
        if (name := node.output[0]) in ("dets", "labels", "masks"):
            node.output[0] = f"values of {name}"
            model.graph.node.append(make("Add", [node.output[0], "mean"], [f"/head/{name}"]))
            model.graph.node.append(make("Identity", [f"/head/{name}"], [name]))
    onnx.save(model, str(path))
    made: Any = in_runtime(runtime, path, classes=("a", "b", "c"), classes_told=True)
    assert {role: port.name for role, port in made.roles.items()} == {
        "boxes": "dets",
        "logits": "labels",
        "masks": "masks",
    }
    assert len(predict(made, [np.zeros((64, 64, 3), np.uint8)])[0]) == 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["f.onnx", "model=demo_mask_rcnn_torchvision", "model.weights=random"], "is no file of trained weights"),
        (["f.pt", "model=demo_mask_rcnn_torchvision"], "must end in .onnx"),
        (["f.onnx", "model=demo_solo_mmdet,demo_solov2_mmdet"], "2 models are named; give one"),
        (["f.onnx", "model=demo_mask_rcnn_torchvisio"], "did you mean demo_mask_rcnn_torchvision"),
        (["no/such/f.onnx", "model=demo_mask_rcnn_torchvision"], "cannot be written"),
    ],
)
def test_an_export_that_cannot_be(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["export", *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert words in line
    assert not any(tmp_path.iterdir())
