"""Compare the torchvision adapter with torchvision's own inference, ``model(images)``, on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from bench.errors import UserError
from bench.predictor import Checkpoint, Instances, Settings, predict

pytest.importorskip("torchvision", reason="torchvision is not installed")

from same_instances import assert_same_instances
from torchvision.models import WeightsEnum
from torchvision.models.detection import (
    MaskRCNN,
    MaskRCNN_ResNet50_FPN_V2_Weights,
    MaskRCNN_ResNet50_FPN_Weights,
    maskrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn_v2,
)

from adapters.torchvision.predictor import TorchvisionPredictor

ROOT = Path(__file__).resolve().parents[2]
CLASSES = tuple(f"class {label}" for label in range(80))
CPU = torch.device("cpu")
THRESHOLD = 0.1
SMALL: dict[str, Any] = {"min_size": 128, "max_size": 192}
DEMO: dict[str, Any] = dict(OmegaConf.load(ROOT / "configs" / "model" / "demo_mask_rcnn_torchvision.yaml").options)


def spread(module: MaskRCNN, image: np.ndarray) -> None:
    """Scale the last layers of untrained heads so that outputs scatter like those of trained ones, masks around 0.

    Otherwise all scores lie within 1e-4 of each other (demo), or so far apart that rounding decides (full size).
    """
    rpn, heads = module.rpn.head, module.roi_heads
    boxes = {rpn.cls_logits: 2, rpn.bbox_pred: 0.5, heads.box_predictor.cls_score: 3, heads.box_predictor.bbox_pred: 1}
    masks = {heads.mask_predictor.mask_fcn_logits: 3}
    for deviations in (boxes, masks):
        outputs: dict[torch.nn.Module, torch.Tensor] = {}

        def keep_first(layer, inputs, output, outputs=outputs) -> None:
            outputs.setdefault(layer, output)

        hooks = [layer.register_forward_hook(keep_first) for layer in deviations]
        library_says(module, [image])
        for hook, (layer, deviation) in zip(hooks, deviations.items(), strict=True):
            hook.remove()
            factor = deviation / outputs[layer].std()
            layer.weight.data.mul_(factor)
            if layer in masks:
                layer.bias.data.fill_(-factor * outputs[layer].mean())


def seeded(score_threshold: float | None = THRESHOLD, **options: Any) -> TorchvisionPredictor:
    torch.manual_seed(0)
    settings = Settings(CPU, classes=CLASSES, score_threshold=score_threshold)
    return TorchvisionPredictor(settings, **options)


def library_says(model: MaskRCNN, images: list[np.ndarray]) -> list[dict[str, torch.Tensor]]:
    with torch.inference_mode():
        return model.eval()([torch.from_numpy(image).permute(2, 0, 1) / 255 for image in images])


def assert_same(ours: Instances, theirs: dict[str, torch.Tensor]) -> None:
    masks = theirs["masks"][:, 0] > 0.5
    assert masks.any((1, 2)).float().mean() > 0.5
    assert_same_instances(ours, theirs["scores"], theirs["labels"] - 1, masks, theirs["boxes"], box_tolerance=0.1)


@pytest.mark.parametrize("builder", [maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2])
def test_full_size_equals_the_library(builder, photographs) -> None:
    predictor = seeded(builder=builder.__name__, **SMALL)
    spread(predictor.module, photographs[0])
    model = builder(weights=None, weights_backbone=None, num_classes=81, box_score_thresh=THRESHOLD, **SMALL)
    model.load_state_dict(predictor.module.state_dict())
    image = photographs[0]
    (ours,) = predict(predictor, [image])
    ours.validate(*image.shape[:2], num_classes=80, max_detections=100)
    assert_same(ours, library_says(model, [image])[0])


def test_demo_batch_of_two_sizes_equals_the_library(photographs) -> None:
    predictor = seeded(**DEMO)
    spread(predictor.module, photographs[0])
    batch = predictor.preprocess(photographs)
    assert predictor.input_size(batch) == (384, 384)
    assert predictor.input_size(predictor.preprocess(photographs[:1])) == (288, 384)
    theirs = library_says(predictor.module, photographs)
    for ours, image, reference in zip(predict(predictor, photographs), photographs, theirs, strict=True):
        ours.validate(*image.shape[:2], num_classes=80, max_detections=100)
        assert_same(ours, reference)


def test_published_weights_are_read_as_the_library_reads_them(photographs, monkeypatch) -> None:
    """``weights=COCO_V1`` of the library has frozen BatchNorm with eps 0, 91 outputs, and gaps among the labels."""
    torch.manual_seed(0)
    trained = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, **SMALL)
    spread(trained, photographs[0])
    for norm in trained.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            # At a variance of 1e-5, an eps of 1e-5 would shrink every feature by 0.71.
            torch.nn.init.constant_(norm.running_var, 1e-5)
            torch.nn.init.constant_(norm.weight, 1e-5**0.5)
    # So that some instance falls on "street sign", output 12, which is no class of COCO's 80.
    trained.roi_heads.box_predictor.cls_score.bias.data[12] += 3
    state = {k: v for k, v in trained.state_dict().items() if not k.endswith("num_batches_tracked")}
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, *args, **kwargs: dict(state))
    weights = MaskRCNN_ResNet50_FPN_Weights.COCO_V1
    model = maskrcnn_resnet50_fpn(weights=weights, box_score_thresh=THRESHOLD, **SMALL)
    image = photographs[0]
    theirs = library_says(model, [image])[0]
    names = [weights.meta["categories"][label] for label in theirs["labels"]]
    kept = torch.tensor([name != "N/A" for name in names])
    assert 0 < kept.sum() < len(kept)

    settings = Settings(CPU, Checkpoint(state, "coco.pth"), score_threshold=THRESHOLD)
    predictor = TorchvisionPredictor(settings, **SMALL)
    assert len(predictor.classes) == 80
    assert predictor.classes[:3] == ("person", "bicycle", "car")
    (ours,) = predict(predictor, [image])
    ours.validate(*image.shape[:2], num_classes=80, max_detections=100)
    theirs = {name: values[kept] for name, values in theirs.items()}
    labels = [1 + predictor.classes.index(name) for name in names if name != "N/A"]
    assert_same(ours, theirs | {"labels": torch.tensor(labels)})


def test_postprocess_can_be_repeated(photographs) -> None:
    """The library's own postprocess rescales the boxes in its argument."""
    predictor = seeded(**DEMO)
    spread(predictor.module, photographs[0])
    with torch.inference_mode():
        raw = predictor.forward(predictor.preprocess(photographs[:1]))
        first, second = predictor.postprocess(raw)[0], predictor.postprocess(raw)[0]
    assert len(first) > 0
    assert torch.equal(first.boxes, second.boxes)
    assert torch.equal(first.masks, second.masks)


def test_saturated_gives_100_instances(photographs) -> None:
    predictor = seeded(score_threshold=0.0, **DEMO)
    assert [len(instances) for instances in predict(predictor, photographs)] == [100, 100]


def test_score_threshold_none_is_the_library_default() -> None:
    predictor = seeded(score_threshold=None, **DEMO)
    assert predictor.module.roi_heads.score_thresh == 0.05


def test_demo_is_small() -> None:
    assert sum(parameter.numel() for parameter in seeded(**DEMO).module.parameters()) < 3_000_000


def test_nothing_found_gives_empty_instances(photographs) -> None:
    (instances,) = predict(seeded(score_threshold=0.99, **DEMO), photographs[:1])
    assert len(instances) == 0
    instances.validate(*photographs[0].shape[:2], num_classes=80, max_detections=100)


def test_bfloat16_autocast_keeps_boxes_in_float32(photographs) -> None:
    predictor = seeded(**DEMO)
    spread(predictor.module, photographs[0])
    (exact,) = predict(predictor, photographs[:1])
    anchors: list[torch.Tensor] = []
    predictor.module.rpn.anchor_generator.register_forward_hook(lambda _, inputs, output: anchors.extend(output))
    with torch.autocast("cpu", torch.bfloat16):
        (rounded,) = predict(predictor, photographs[:1])
    assert [each.dtype for each in anchors] == [torch.float32]
    rounded.validate(*photographs[0].shape[:2], num_classes=80, max_detections=100)
    assert len(exact) > 0
    # A box decoded in bfloat16 has 8 bits: every coordinate would be unchanged by rounding to bfloat16.
    assert not torch.equal(rounded.boxes, rounded.boxes.bfloat16().float())
    nearest = (exact.boxes[0] - rounded.boxes).abs().amax(1).min()
    assert nearest < 2


def test_unknown_builder_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"builder=maskrcnn_resnet50_fpn_v3.*did you mean maskrcnn_resnet50_fpn"):
        seeded(builder="maskrcnn_resnet50_fpn_v3")


def test_checkpoint_of_other_classes_is_refused() -> None:
    state = seeded(**DEMO).module.state_dict()
    with pytest.raises(UserError, match=r"demo\.pth.*of another shape"):
        TorchvisionPredictor(Settings(CPU, Checkpoint(state, "demo.pth"), classes=("a", "b")), **DEMO)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("mask_rcnn_r50_torchvision", MaskRCNN_ResNet50_FPN_Weights.COCO_V1),
        ("mask_rcnn_r50_v2_torchvision", MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1),
    ],
)
def test_configs_say_what_the_library_publishes(name, weights) -> None:
    config = OmegaConf.load(ROOT / "configs" / "model" / f"{name}.yaml")
    assert config.zoo.url == weights.url
    assert config.zoo.url.endswith(f"-{config.zoo.sha256}.pth")
    assert config.published.mask_ap == weights.meta["_metrics"]["COCO-val2017"]["mask_map"]
