"""Compare the ultralytics adapter with the library's own ``predict`` and ``val``, on photographs and with one network.

The networks are untrained. Their batch norms are fitted to the photographs and their last layers scattered, so that
scores, boxes and masks differ from place to place, and NMS has something to do.
"""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from bench.device.compiling import parts_of
from bench.errors import UserError
from bench.predictor import Checkpoint, Instances, Settings, predict
from bench.weights.load import load_checkpoint

# The adapter first: it imports the library so that it leaves no files.
pytest.importorskip("adapters.ultralytics", reason="ultralytics is not installed: docs/install.md says how")

from same_instances import assert_same_instances
from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.models.yolo.segment.val import SegmentationValidator
from ultralytics.nn.tasks import SegmentationModel
from ultralytics.utils import nms, ops

from adapters.ultralytics.masks import WAYS, Frame, scaled_boxes
from adapters.ultralytics.predictor import UltralyticsPredictor

CPU = torch.device("cpu")
EDGE, DETECTIONS, THRESHOLD = 320, 40, 0.3
NETWORKS = ("yolov8n-seg.yaml", "yolo11n-seg.yaml", "yolo26n-seg.yaml")
HEADS = [*((name, None) for name in NETWORKS), ("yolo26n-seg.yaml", False)]

PICTURES: list[np.ndarray] = []


@pytest.fixture(scope="module", autouse=True)
def _pictures(photographs: list[np.ndarray]) -> None:
    PICTURES[:] = photographs


@functools.cache
def scattered(config: str) -> SegmentationModel:
    """Give a network of that YAML, not fused, in eval mode."""
    torch.manual_seed(0)
    model = SegmentationModel(config, nc=80, verbose=False)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    resized = [cv2.resize(picture, (EDGE, EDGE)) for picture in PICTURES]
    pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
    head: Any = model.model[-1]
    with torch.no_grad():
        model.train()(pixels)
        model.eval()
        for norm in norms:
            assert norm.running_var is not None
            norm.running_var.clamp_(min=float(norm.running_var.mean()))  # else nearly dead channels amplify what is new
        for prefix in ("", "one2one_"):
            for part, mean, spread in (("cv2", 1.5, 1.0), ("cv3", -3.0, 1.5), ("cv4", 0.0, 1.0)):
                for branch in getattr(head, prefix + part, None) or ():
                    branch[-1].weight.normal_()
                    branch[-1].register_forward_hook(functools.partial(_give_spread, mean=mean, spread=spread))
        model(pixels)
        for module in head.modules():
            module._forward_hooks.clear()
    return model


def _give_spread(last: torch.nn.Conv2d, _: Any, output: torch.Tensor, mean: float, spread: float) -> torch.Tensor:
    """Change the last layer so that each of its channels has this mean and standard deviation over the pictures."""
    factor = spread / output.std((0, 2, 3)).clamp(min=1e-6)
    assert last.bias is not None
    last.weight.mul_(factor[:, None, None, None])
    last.bias.copy_(mean + (last.bias - output.mean((0, 2, 3))) * factor)
    return output


def ours(config: str, **options: Any) -> UltralyticsPredictor:
    settings = {"score_threshold": THRESHOLD, "max_detections": DETECTIONS}
    settings |= {key: options.pop(key) for key in ("score_threshold", "max_detections", "classes") if key in options}
    weights = Checkpoint(scattered(config).state_dict(), "none")
    options = {"shorter_edge": EDGE, "longer_edge": EDGE, "multi_label": False} | options
    return UltralyticsPredictor(Settings(CPU, weights, config=config, **settings), **options)


def theirs(config: str, images: list[np.ndarray], **arguments: Any) -> list[Any]:
    yolo = YOLO(config)
    yolo.model.load_state_dict(scattered(config).state_dict())
    arguments = {"imgsz": EDGE, "conf": THRESHOLD, "iou": 0.7, "max_det": DETECTIONS} | arguments
    reversed_channels = [np.ascontiguousarray(image[:, :, ::-1]) for image in images]
    return yolo.predict(reversed_channels, batch=len(images), device="cpu", verbose=False, save=False, **arguments)


def without_empty(instances: Instances) -> Instances:
    """Give those that ``predict`` gives, which drops what has no mask."""
    kept = instances.masks.any((1, 2))
    return Instances(*(getattr(instances, name)[kept] for name in ("masks", "boxes", "scores", "labels")))


def assert_same(instances: Instances, result: Any, masks: torch.Tensor) -> None:
    boxes = result.boxes
    assert len(boxes) > 5
    assert len(set(boxes.cls.tolist())) > 3
    assert masks.any()
    assert_same_instances(without_empty(instances), boxes.conf, boxes.cls.long(), masks, boxes.xyxy, box_tolerance=0.02)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the library's own commands write folders


@pytest.mark.parametrize(("config", "end2end"), HEADS)
def test_native_masks_are_those_of_predict(config: str, end2end: bool | None, photographs: list[np.ndarray]) -> None:
    """The library's ``nms=False`` asks for the end-to-end head; it takes BGR, and we take RGB."""
    predictor = ours(config, end2end=end2end)
    nms_free = config.startswith("yolo26") and end2end is None
    assert predictor.end2end == nms_free
    for image in photographs:
        [result] = theirs(config, [image], retina_masks=True, nms=False if nms_free else None)
        [instances] = predict(predictor, [image])
        instances.validate(*image.shape[:2], 80, DETECTIONS, THRESHOLD)
        assert_same(instances, result, result.masks.data.bool())


def test_masks_at_the_size_of_the_input_are_those_of_predict(photographs: list[np.ndarray]) -> None:
    for image in photographs:
        height, width = image.shape[:2]
        [result] = theirs("yolo11n-seg.yaml", [image], retina_masks=False)
        factor = EDGE / max(height, width)
        h, w = round(height * factor), round(width * factor)
        at_input = result.masks.data.numpy()
        top, left = (at_input.shape[1] - h) // 2, (at_input.shape[2] - w) // 2
        parts = at_input[:, top : top + h, left : left + w].astype(np.float32)
        full = np.stack([cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5 for part in parts])
        [instances] = predict(ours("yolo11n-seg.yaml", masks="input"), [image])
        assert_same(instances, result, torch.from_numpy(full))


@pytest.mark.parametrize(("config", "end2end"), [("yolov8n-seg.yaml", False), ("yolo26n-seg.yaml", True)])
def test_detections_and_json_masks_are_those_of_val(config: str, end2end: bool, photographs: list[np.ndarray]) -> None:
    """``val`` counts a box under each of its classes; its results go to COCO's evaluator with masks that lost a rim."""
    image = photographs[0]
    predictor = ours(config, masks="json", multi_label=True, score_threshold=0.2, end2end=end2end)
    with torch.inference_mode():
        batch = predictor.preprocess([image])
        [instances] = predictor.postprocess(predictor.forward(batch))
        candidates = predictor.module(batch.pixels.permute(0, 3, 1, 2).float() / 255)
    validator = SegmentationValidator.__new__(SegmentationValidator)
    validator.args = get_cfg(overrides={"conf": 0.2, "max_det": DETECTIONS, "task": "segment"})
    validator.nc, validator.end2end, validator.process = 80, end2end, ops.process_mask_native
    [predictions] = validator.postprocess((candidates, {}))
    frame = batch.frames[0]
    scaled = validator.scale_preds(
        predictions, {"imgsz": frame.padded, "ori_shape": image.shape[:2], "ratio_pad": frame.ratio_pad}
    )
    one, other = scaled["bboxes"].split(2, 1)
    boxes = torch.cat([torch.minimum(one, other), torch.maximum(one, other)], 1)  # YOLO26's may be turned
    labels, masks = scaled["cls"].long(), scaled["masks"].bool()
    assert_same_instances(instances, scaled["conf"], labels, masks, boxes, box_tolerance=0.02)
    full = predict(ours(config, masks="input", multi_label=True, score_threshold=0.2, end2end=end2end), [image])[0]
    assert instances.masks.sum() < full.masks.sum()
    assert not (instances.masks & ~full.masks).any()


def test_the_defaults_are_those_of_val() -> None:
    predictor = UltralyticsPredictor(Settings(CPU, config="yolo26n-seg.yaml"))
    args = get_cfg()
    SegmentationValidator(args={"task": "segment"}, save_dir=Path("val"))
    assert (predictor.iou, predictor.edges, predictor.multi_label) == (args.iou, (args.imgsz, args.imgsz), True)
    assert predictor.score_threshold == SegmentationValidator(args={"task": "segment"}, save_dir=Path("val")).args.conf
    assert predictor.end2end  # of which the makers publish the AP
    assert predictor.classes[:2] == ("person", "bicycle")
    assert len(predictor.classes) == 80


def test_images_of_other_sizes_share_a_square(photographs: list[np.ndarray]) -> None:
    predictor = ours("yolo11n-seg.yaml")
    results = theirs("yolo11n-seg.yaml", photographs, retina_masks=True)
    assert predictor.input_size(predictor.preprocess(photographs)) == (EDGE, EDGE)
    for instances, result in zip(predict(predictor, photographs), results, strict=True):
        assert_same(instances, result, result.masks.data.bool())


def test_padding_to_one_square_is_that_of_such_a_batch(photographs: list[np.ndarray]) -> None:
    config = "yolo26n-seg.yaml"
    plain = ours(config)
    settings = Settings(CPU, Checkpoint(scattered(config).state_dict(), "none"), None, THRESHOLD, DETECTIONS, config)
    padded = UltralyticsPredictor(
        Settings(**{**vars(settings), "pad_to": EDGE}), shorter_edge=EDGE, longer_edge=EDGE, multi_label=False
    )
    for image, expected in zip(photographs, predict(plain, photographs), strict=True):
        assert padded.input_size(padded.preprocess([image])) == (EDGE, EDGE)
        [instances] = predict(padded, [image])
        assert_same_instances(instances, expected.scores, expected.labels, expected.masks, expected.boxes)


def test_the_same_input_size_as_in_every_library() -> None:
    """The sizes are those of test_same_input_size.py, and one that no side of the image fills."""
    options = UltralyticsPredictor.options_for_input_size(96, 160)
    predictor = UltralyticsPredictor(Settings(CPU, config="yolov8n-seg.yaml"), **options)
    for size, expected in {(480, 640): (96, 128), (640, 480): (128, 96), (200, 1000): (32, 160)}.items():
        batch = predictor.preprocess([np.zeros((*size, 3), np.uint8)])
        assert predictor.input_size(batch) == expected == batch.frames[0].scaled
    odd = UltralyticsPredictor.options_for_input_size(100, 250)
    batch = UltralyticsPredictor(Settings(CPU, config="yolov8n-seg.yaml"), **odd).preprocess(
        [np.full((480, 640, 3), 200, np.uint8)]
    )
    assert (batch.frames[0].scaled, batch.frames[0].padded) == ((100, 133), (128, 160))
    grey = (batch.pixels[0] == 114).all(-1)
    assert (~grey).any(1).nonzero().flatten().tolist() == list(range(14, 114))
    assert (~grey).any(0).nonzero().flatten().tolist() == list(range(13, 146))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "frame",
    [
        Frame((480, 640), (480, 640), (480, 640)),
        Frame((427, 640), (320, 480), (320, 480)),
        Frame((640, 427), (640, 427), (640, 448)),
        Frame((480, 640), (100, 133), (128, 160)),
        Frame((300, 200), (150, 100), (320, 320)),
    ],
    ids=["as it is", "smaller", "padded", "no side filled", "square"],
)
def test_a_mask_lands_where_it_is_in_the_image(way: str, frame: Frame) -> None:
    """One prototype is positive in one rectangle of the input; that rectangle is found again, scaled and moved."""
    (gain_y, gain_x), (left, top) = frame.ratio_pad
    height, width = frame.original
    expected = np.array([width * 0.25, height * 0.25, width * 0.75, height * 0.5])
    on_input = expected * [gain_x, gain_y, gain_x, gain_y] + [left, top, left, top]
    rows, columns = (torch.arange(edge / 4) * 4 + 2 for edge in frame.padded)
    inside = (columns > on_input[0]) & (columns < on_input[2])
    protos = torch.where(inside & ((rows > on_input[1]) & (rows < on_input[3]))[:, None], 1.0, -1.0)[None]
    whole = torch.tensor([[0.0, 0.0, frame.padded[1], frame.padded[0]]])
    [mask] = WAYS[way](protos, torch.ones(1, 1), scaled_boxes(whole, frame), frame)
    assert (mask.shape, mask.dtype) == (frame.original, torch.bool)
    ys, xs = mask.nonzero().T
    found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    # A cell of the prototypes has 4 pixels of the input, and the rim that val loses is 1 of them.
    assert (np.abs(found - expected) <= 3.5 / min(gain_x, gain_y)).all()
    assert mask.sum() > 0.98 * (found[2] - found[0]) * (found[3] - found[1])  # it is round at its corners


def test_masks_are_cropped_to_their_boxes(photographs: list[np.ndarray]) -> None:
    for way in WAYS:
        for instances in predict(ours("yolo11n-seg.yaml", masks=way), photographs):
            for mask, (x1, y1, x2, y2) in zip(instances.masks, instances.boxes.tolist(), strict=True):
                ys, xs = mask.nonzero().T
                if len(ys):
                    slack = 2.5  # of the input's pixels, where the crop is made there
                    assert xs.min() > x1 - slack
                    assert xs.max() < x2 + slack
                    assert ys.min() > y1 - slack
                    assert ys.max() < y2 + slack


def test_convolutions_are_fused_and_the_unused_head_is_gone() -> None:
    """The numbers of parameters are those that the library and its issue 6865 tell of fused networks."""
    counts = {}
    for config, end2end in HEADS:
        module = UltralyticsPredictor(Settings(CPU, config=config), end2end=end2end).module
        assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in module.modules())
        counts[config, end2end] = sum(parameter.numel() for parameter in module.parameters())
    assert counts["yolov8n-seg.yaml", None] == 3_404_320
    assert 2.65e6 < counts["yolo26n-seg.yaml", None] < 2.75e6
    assert 2.65e6 < counts["yolo26n-seg.yaml", False] < 2.75e6


def test_backbone_and_neck_compile_as_one_graph_for_every_shape(photographs: list[np.ndarray]) -> None:
    predictor, plain = ours("yolov8n-seg.yaml"), ours("yolov8n-seg.yaml")
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    [part] = parts_of(predictor).values()
    part.compile(backend=backend, dynamic=True)
    for image in photographs:
        [instances], [expected] = predict(predictor, [image]), predict(plain, [image])
        assert torch.equal(instances.scores, expected.scores)
    assert len(graphs) == 1
    torch._dynamo.reset()


def test_a_slow_nms_keeps_the_detections_of_all_images(
    photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 2 s, the library's own default leaves the rest of a batch without detections."""
    predictor = ours("yolov8n-seg.yaml")
    expected = [len(instances) for instances in predict(predictor, photographs)]
    now = iter(range(0, 10**6, 100))
    monkeypatch.setattr(nms, "time", SimpleNamespace(time=lambda: next(now)))
    assert [len(instances) for instances in predict(predictor, photographs)] == expected
    assert min(expected) > 0


@pytest.mark.parametrize("first", [torch.float16, torch.bfloat16])
def test_boxes_are_decoded_in_float32_under_autocast(first: torch.dtype, photographs: list[np.ndarray]) -> None:
    predictor, fresh = ours("yolo11n-seg.yaml"), ours("yolo11n-seg.yaml")
    with torch.autocast("cpu", first):
        [rounded] = predict(predictor, photographs[:1])
    fractions = {round(value % 0.5, 3) for value in rounded.boxes.flatten().tolist()}
    assert len(fractions) > 20
    [after], [expected] = predict(predictor, photographs[:1]), predict(fresh, photographs[:1])
    assert torch.equal(after.boxes, expected.boxes)  # the anchors that the library keeps are of float32 too


def test_a_box_with_no_inside_has_no_mask_and_ordered_corners() -> None:
    predictor = ours("yolo26n-seg.yaml")
    turned = torch.tensor([[90.0, 80.0, 60.0, 40.0, 0.9, 3.0, *[1.0] * 32]])
    frame = Frame((160, 160), (160, 160), (160, 160))
    instances = predictor._instances(turned, torch.ones(32, 40, 40), frame)
    instances.validate(160, 160, 80, DETECTIONS)
    assert not instances.masks.any()
    assert instances.boxes.tolist() == [[60.0, 40.0, 90.0, 80.0]]


def test_weights_of_the_library_need_leave_to_run_code(photographs: list[np.ndarray], tmp_path: Path) -> None:
    """The library saves whole networks in half precision; of a training's file it takes ``ema``."""
    model = SegmentationModel("yolo11n-seg.yaml", nc=80, verbose=False)
    model.load_state_dict(scattered("yolo11n-seg.yaml").state_dict())
    model.names = {label: f"thing {label}" for label in range(80)}
    other = SegmentationModel("yolo11n-seg.yaml", nc=80, verbose=False)
    path = tmp_path / "best.pt"
    torch.save({"model": other, "ema": model.half(), "train_args": {"task": "segment"}}, path)
    with pytest.raises(UserError, match=r"model\.allow_pickle=true"):
        load_checkpoint(path)
    checkpoint = load_checkpoint(path, allow_pickle=True)
    assert checkpoint.classes == tuple(f"thing {label}" for label in range(80))
    settings = Settings(CPU, checkpoint, checkpoint.classes, THRESHOLD, DETECTIONS, "yolo11n-seg.yaml")
    predictor = UltralyticsPredictor(settings, EDGE, EDGE, multi_label=False)
    yolo = YOLO(path)
    [result] = yolo.predict(
        photographs[0][:, :, ::-1].copy(), imgsz=EDGE, conf=THRESHOLD, max_det=DETECTIONS, retina_masks=True,
        device="cpu", verbose=False, save=False,
    )  # fmt: skip
    assert_same(predict(predictor, photographs[:1])[0], result, result.masks.data.bool())


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (None, {}, "name a segmentation YAML of ultralytics, as yolo11n-seg.yaml"),
        ("yolo11-seg.yaml", {}, "did you mean yolo11.-seg.yaml"),
        ("yolo11q-seg.yaml", {}, "did you mean yolo11.-seg.yaml"),
        ("yolo11n.yaml", {}, "neither a file nor a segmentation network of ultralytics"),
        ("https://example.org/yolo11n-seg.yaml", {}, "neither a file nor a segmentation network"),
        ("yoloe-11n-seg.yaml", {}, "no segmentation network|neither a file"),
        ("yolo11n-seg.yaml", {"end2end": True}, "has no end-to-end head, as YOLO26 has; leave end2end out"),
        ("yolo11n-seg.yaml", {"masks": "nativ"}, "model.options.masks=nativ: unknown; did you mean native"),
    ],
)
def test_what_is_refused(config: str | None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        UltralyticsPredictor(Settings(CPU, config=config), **options)


def test_a_file_of_ones_own_says_its_scale(tmp_path: Path) -> None:
    from ultralytics.utils import ROOT

    text = (ROOT / "cfg" / "models" / "11" / "yolo11-seg.yaml").read_text(encoding="utf-8")
    for name in ("mine.yaml", "my-yolo11s-seg.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="must hold the scale, one of n, s, m, l, x"):
        UltralyticsPredictor(Settings(CPU, config=str(tmp_path / "mine.yaml")))
    own = UltralyticsPredictor(Settings(CPU, config=str(tmp_path / "my-yolo11s-seg.yaml"), classes=("a", "b")))
    assert own.classes == ("a", "b")
    assert sum(parameter.numel() for parameter in own.module.parameters()) > 9e6
