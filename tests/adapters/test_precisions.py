"""Run every configured model's smallest relative in every precision, under the casts that autocast makes on a GPU.

Full-size families are narrow here and untrained; the demo models have their weights. Each gives as many instances as it
may (``detections: saturated``), so that no step after the network is left out.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import narrow_mmdet
import numpy as np
import pytest
import torch
import yaml
from cuda_like_autocast import cuda_like_autocast

from bench.passes.runner import Runner
from bench.predictor import Instances, Settings, TorchPredictor
from bench.weights.load import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "configs" / "model"
SHAPES = ("circle", "square", "triangle", "star", "ring", "bar")
CPU = torch.device("cpu")
INPUT = (160, 224)
SQUARE = (192, 192)
"""For the families whose input is a square: a multiple of 12 x 2, of 16 and of 8 x 4 pixels."""
DETECTIONS = 20
SCORES_WITHIN = {"fp16": 0.02, "bf16": 0.05}
"""How far a trained model's score of one rank may lie from that in fp32; fp16 has 11 bits, bf16 8. Where an untrained
one scores many boxes nearly alike, NMS keeps others of them: twice as far."""
LEAST_IOU = {"fp16": 0.9, "bf16": 0.7}
"""The IoU that the mask of a trained model's certain instance must have with one of fp32."""

DETR = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
EOMT: dict[str, Any] = {
    "network": {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "num_blocks": 2, "num_queries": 12}
}
RF_DETR = {
    "backbone": {"hidden_size": 32, "num_attention_heads": 2},
    "network": {"d_model": 32, "num_queries": 12, "group_detr": 1, "decoder_ffn_dim": 64, "intermediate_size": 64},
}
RF_DETR_SIZES = ("nano", "small", "medium", "large", "xlarge", "2xlarge")
RESNET = {"STEM_OUT_CHANNELS": 8, "WIDTH_PER_GROUP": 8, "RES2_OUT_CHANNELS": 32}
RCNN = {
    "RESNETS": RESNET,
    "FPN": {"OUT_CHANNELS": 32},
    "RPN": {"PRE_NMS_TOPK_TEST": 40, "POST_NMS_TOPK_TEST": 40},
    "ROI_BOX_HEAD": {"FC_DIM": 32},
    "ROI_MASK_HEAD": {"CONV_DIM": 32},
}
NARROW: dict[str, Any] = {
    "mask_rcnn_r50_torchvision": {},
    "mask_rcnn_r50_v2_torchvision": {},
    **narrow_mmdet.NARROW,
    "mask2former_swin_t_transformers": {
        "backbone": {"embed_dim": 24},
        "network": {
            "num_queries": 10,
            "hidden_dim": 32,
            "feature_size": 32,
            "mask_feature_size": 32,
            "encoder_layers": 1,
            "encoder_feedforward_dim": 64,
            "decoder_layers": 3,
            "dim_feedforward": 64,
        },
    },
    "maskformer_swin_t_transformers": {
        "backbone": {"embed_dim": 24},
        "network": {"fpn_feature_size": 32, "mask_feature_size": 32},
        "decoder": {**DETR, "d_model": 32, "num_queries": 10},
    },
    "oneformer_swin_l_transformers": {
        "backbone": {"embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8], "window_size": 7},
        "network": {
            "num_queries": 10,
            "conv_dim": 32,
            "mask_dim": 32,
            "hidden_dim": 32,
            "encoder_layers": 1,
            "encoder_feedforward_dim": 64,
            "decoder_layers": 3,
            "dim_feedforward": 64,
        },
    },
    "eomt_l_640_transformers": EOMT,
    "eomt_l_1280_transformers": EOMT,
    "eomt_dinov3_l_640_transformers": {"network": {**EOMT["network"], "intermediate_size": 64}},
    "conditional_detr_r50_transformers": {
        "backbone": {"embedding_size": 8, "hidden_sizes": [32, 64, 128, 256]},
        "network": {**DETR, "d_model": 32, "num_queries": 10},
    },
    **{f"rf_detr_seg_{size}_transformers": RF_DETR for size in RF_DETR_SIZES},
    "mask_rcnn_r50_detectron2": RCNN,
    "mask_rcnn_r101_detectron2": RCNN,
    "point_rend_r50_detectron2": {
        **RCNN,
        "ROI_MASK_HEAD": {"CONV_DIM": 32, "FC_DIM": 32},
        "POINT_HEAD": {"FC_DIM": 32},
    },
    **{f"{version}{scale}_seg_ultralytics": {} for version in ("yolov8", "yolo11", "yolo26") for scale in "nsmlx"},
}
"""The changes that make each full-size model narrow, in the form of its library; {} where it has no narrow form."""

CONFIGURED = sorted(path.stem for path in MODELS.glob("*.yaml"))
ANY = ("custom", "detectron2_zoo", "mmdet_zoo", "onnx", "openvino", "replay", "transformers_zoo")
"""Those that name no network of their own."""
FILES = ("demo_mask_rcnn_onnx", "mask_rcnn_r50_v2_onnx")
"""Those whose file has one precision, in which the runtime computes: nothing is cast."""
ALIKE = {
    name: pytest.mark.slow for name in NARROW if name.startswith(("rf_detr_seg_", "eomt_l_")) and "_small_" not in name
}
ALIKE.pop("eomt_l_640_transformers")
"""Sizes of one family, narrow all alike; one of each is tested every time."""


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Give ``base`` with nested changes."""
    both = dict(base)
    for key, value in changes.items():
        both[key] = merged(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both


def small(name: str) -> TorchPredictor:
    """Build the model of that config for small images, narrow where it has no weights of its own."""
    config = yaml.safe_load((MODELS / f"{name}.yaml").read_text(encoding="utf-8"))
    library = config["library"]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    place, _, target = config["_target_"].rpartition(".")
    changes = NARROW.get(name, {})
    form = {"mmdet": {"cfg_options": {"model": changes}}, "detectron2": {"cfg": {"MODEL": changes}}}
    options = merged(config.get("options", {}), form.get(library, changes))
    model = getattr(importlib.import_module(place), target)
    square = name in narrow_mmdet.SQUARE_ONLY or "rf_detr" in name or "eomt" in name
    options |= model.options_for_input_size(*(SQUARE if square else INPUT))
    weights = None if name in NARROW else load_checkpoint(ROOT / config["weights"])
    torch.manual_seed(0)
    settings = Settings(CPU, weights, SHAPES, 0.0, DETECTIONS, config.get("config"))
    predictor: TorchPredictor = model(settings, **options)
    if library == "torchvision":
        predictor.module.rpn._post_nms_top_n["testing"] = 40  # its networks have no narrow form
    return predictor


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Give a grey image, uint8 (180, 240, 3), with shapes and some noise."""
    pixels = np.random.default_rng(0).integers(90, 130, (180, 240, 3), dtype=np.uint8)
    pixels[20:80, 30:110] = (210, 40, 40)
    rows, columns = np.mgrid[:180, :240]
    pixels[(rows - 120) ** 2 + (columns - 170) ** 2 < 45**2] = (40, 60, 220)
    return pixels


def test_every_configured_model_is_tested() -> None:
    demos = {name for name in CONFIGURED if name.startswith("demo_")}
    assert set(CONFIGURED) - set(ANY) == set(NARROW) | demos | set(FILES)
    assert set(FILES) == {name for name in CONFIGURED if name.endswith("_onnx")}


@pytest.mark.filterwarnings("ignore:.*Overriding a previously registered kernel")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=ALIKE.get(n, ())) for n in CONFIGURED if n not in (*ANY, *FILES)]
)
def test_every_precision_on_a_gpu(name: str, image: np.ndarray) -> None:
    predictor = small(name)
    assert {each.dtype for each in predictor.module.parameters()} == {torch.float32}, "a job refuses another type"
    batch = predictor.preprocess([image])
    exact = run(predictor, "fp32", batch)
    with casts_of_a_gpu():
        for precision in ("fp16", "bf16"):
            rounded = run(predictor, precision, batch)
            assert len(rounded) == len(exact)
            assert not torch.equal(rounded.scores, exact.scores)
            within = SCORES_WITHIN[precision] * (2 if name in NARROW else 1)
            torch.testing.assert_close(rounded.scores, exact.scores, rtol=0, atol=within)
            if name not in NARROW:
                assert_certain_masks_stay(rounded, exact, precision)
    assert torch.equal(run(predictor, "fp32", batch).scores, exact.scores)


def test_fp16_by_the_autocast_of_a_cpu(image: np.ndarray) -> None:
    """It leaves boxes in fp16, which mmcv's NMS of a CPU does not take."""
    predictor = small("demo_point_rend_mmdet")
    assert len(run(predictor, "fp16", predictor.preprocess([image]))) == DETECTIONS


@contextlib.contextmanager
def casts_of_a_gpu() -> Iterator[None]:
    """Cast as a GPU's autocast does, and leave to the libraries what they can do there."""
    float32 = sys.modules.get("adapters.mmdet.float32")
    with cuda_like_autocast(), pytest.MonkeyPatch.context() as patch:
        if float32 is not None:
            patch.setitem(float32.UNFIT_FOR_NMS, "cpu", float32.UNFIT_FOR_NMS["cuda"])
        yield


def run(predictor: TorchPredictor, precision: str, batch: Any) -> Instances:
    [instances] = Runner(predictor, CPU, precision).model(batch)
    instances.validate(180, 240, len(SHAPES), DETECTIONS)
    assert len(instances) >= min(DETECTIONS, 10)
    return instances


def assert_certain_masks_stay(rounded: Instances, exact: Instances, precision: str) -> None:
    """Each instance of fp32 with a score above a half has one of its label, score and mask in the lower precision."""
    for mask, label, score in zip(exact.masks, exact.labels, exact.scores, strict=True):
        if score > 0.5:
            like = (rounded.labels == label) & ((rounded.scores - score).abs() < SCORES_WITHIN[precision])
            both, either = (rounded.masks & mask).sum((1, 2)), (rounded.masks | mask).sum((1, 2))
            assert bool((like & (both >= LEAST_IOU[precision] * either)).any())


@pytest.mark.filterwarnings("ignore:.*Overriding a previously registered kernel")
def test_the_casts_are_those_of_a_gpu_and_end_with_the_context() -> None:
    """The types are those of PyTorch's page on autocast, under "CUDA Ops that can autocast"."""

    def types() -> tuple[torch.dtype, ...]:
        half, whole = torch.ones(1, 1, 4, 4).half(), torch.ones(1, 1, 4, 4)
        with torch.autocast("cpu", torch.float16):
            return (
                torch.nn.functional.conv2d(whole, torch.ones(1, 1, 1, 1)).dtype,
                torch.nn.functional.linear(whole, torch.ones(2, 4)).dtype,
                torch.nn.functional.interpolate(half, scale_factor=2, mode="bilinear").dtype,
                torch.nn.functional.layer_norm(half, (4,)).dtype,
                half.softmax(-1).dtype,
                torch.nn.functional.grid_sample(half, torch.zeros(1, 2, 2, 2).half(), align_corners=False).dtype,
                torch.nn.functional.grid_sample(half, torch.zeros(1, 2, 2, 2), align_corners=False).dtype,
                half.sigmoid().dtype,
                torch.cat([half, whole]).dtype,
            )

    before = types()
    with cuda_like_autocast():
        f16, f32 = torch.float16, torch.float32
        assert types() == (f16, f16, f32, f32, f32, f16, f32, f16, f32)
    assert types() == before
