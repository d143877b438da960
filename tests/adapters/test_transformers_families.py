"""Compare every family of the transformers adapter with its paper's formula, or with the library's post-processing."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.data.images import ImageRecord
from bench.errors import UserError
from bench.passes.flops import count_image
from bench.predictor import Checkpoint, predict

pytest.importorskip("transformers", reason="transformers is not installed")

from narrow_transformers import SMALL, class_head, small
from paper_inference import assert_boxes_around, full_size, mask2former, softmax
from same_instances import assert_same_instances
from transformers import RfDetrImageProcessor
from transformers.image_transforms import get_size_with_aspect_ratio

from adapters.transformers import predictor as adapter
from adapters.transformers.build import configured
from adapters.transformers.families import FAMILIES, TASK
from adapters.transformers.labels import COCO_GAPS, Columns

ROOT = Path(__file__).resolve().parents[2]
CLASSES = tuple(f"class {label}" for label in range(12))
COCO80 = tuple(f"category {label}" for label in range(80))
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
PUBLISHED_PARAMETERS = {
    "rf_detr_seg_nano": 33.6,
    "rf_detr_seg_small": 33.7,
    "rf_detr_seg_medium": 35.7,
    "rf_detr_seg_large": 36.2,
    "rf_detr_seg_xlarge": 38.1,
    "rf_detr_seg_2xlarge": 38.6,
}
"""Millions, in the README of github.com/roboflow/rf-detr."""
BY_MASK_QUALITY = ("maskformer", "oneformer", "eomt", "eomt_dinov3")


@pytest.fixture(scope="module")
def scenes() -> list[np.ndarray]:
    """Give a wide and a tall image with rectangles on noise, uint8 RGB."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 60, (*size, 3), dtype=np.uint8) for size in ((90, 130), (120, 84))]
    for image in images:
        for _ in range(5):
            top, left = rng.integers(0, image.shape[0] - 30), rng.integers(0, image.shape[1] - 30)
            image[top : top + 30, left : left + 30] = rng.integers(90, 255, 3)
    return images


def inputs(name: str, images: list[np.ndarray]) -> tuple[dict[str, Any], list[tuple[int, int]], tuple[int, int]]:
    """Give what the paper's code gives the network, the sizes after the resize and after the padding, by Pillow.

    EoMT fits an image into 128 x 128 and pads with black before it normalises; RF-DETR stretches it to 96 x 96; the
    others scale it to 96 x 128, and pad with zeros after they normalise, Mask2Former's kind to a multiple of 32.
    """
    square = {"eomt": 128, "eomt_dinov3": 128, "rf_detr": 96}.get(name)
    if name == "rf_detr":
        sizes = [(96, 96)] * len(images)
    elif square:
        factors = [square / max(image.shape[:2]) for image in images]
        sizes = [(round(i.shape[0] * f), round(i.shape[1] * f)) for i, f in zip(images, factors, strict=True)]
    else:
        sizes = [get_size_with_aspect_ratio(image.shape[:2], 96, 128) for image in images]
    divisor = 32 if name in ("maskformer", "oneformer") else 1
    height, width = (math.ceil(max(size[axis] for size in sizes) / divisor) * divisor for axis in (0, 1))
    padded = (square, square) if square else (height, width)
    values, mask = np.zeros((len(images), *padded, 3)), np.zeros((len(images), *padded), np.int64)
    if square:
        values[:] = -MEAN / STD
    for place, (image, (h, w)) in enumerate(zip(images, sizes, strict=True)):
        resized = np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR))
        values[place, :h, :w] = (resized / 255 - MEAN) / STD
        mask[place, :h, :w] = 1
    given: dict[str, Any] = {"pixel_values": torch.from_numpy(values).permute(0, 3, 1, 2).float()}
    if not square:
        given["pixel_mask"] = torch.from_numpy(mask)
    if name == "oneformer":
        given["task_inputs"] = torch.tensor([[*TASK, *[0] * 71]] * len(images))
    return given, sizes, padded


@pytest.mark.parametrize("name", SMALL)
def test_inputs_are_those_of_the_papers_code(name: str, scenes) -> None:
    predictor = small(name, CLASSES)
    theirs, _, padded = inputs(name, scenes)
    batch = predictor.preprocess(scenes)
    assert predictor.input_size(batch) == padded
    ours, mask = predictor.inputs.padded(batch.images, *predictor.colours)
    # Pillow and torch may round a pixel's value differently; the smallest deviation divides by 0.224.
    assert (ours - theirs["pixel_values"]).abs().max() <= 1.01 / 255 / 0.224
    if "pixel_mask" in theirs:
        assert torch.equal(mask, theirs["pixel_mask"])


def outputs(name: str, predictor: Any, images: list[np.ndarray]) -> tuple[Any, list[Any], Any, Any]:
    """Give the network's own output for the adapter's pixels, the instances, and the sizes of the paper's code."""
    given, sizes, padded = inputs(name, images)
    given["pixel_values"] = predictor.inputs.padded(predictor.preprocess(images).images, *predictor.colours)[0]
    with torch.inference_mode():
        output = predictor.module(**given)
    return output, predict(predictor, images), sizes, padded


@pytest.mark.parametrize("name", BY_MASK_QUALITY)
def test_instances_equal_mask2formers_formula(name: str, scenes) -> None:
    predictor = small(name, CLASSES)
    output, instances, sizes, padded = outputs(name, predictor, scenes)
    for place, (ours, image) in enumerate(zip(instances, scenes, strict=True)):
        ours.validate(*image.shape[:2], num_classes=12, max_detections=100)
        logits = output.class_queries_logits[place], output.masks_queries_logits[place]
        theirs = mask2former(*logits, padded, sizes[place], image.shape[:2])
        scores, labels, masks = (torch.from_numpy(np.stack(column)) for column in zip(*theirs, strict=True))
        assert len(ours) == 100
        assert_same_instances(ours, scores.float(), labels, masks)
        assert_boxes_around(ours)
        covered = ours.masks.float().mean((1, 2))
        assert ((covered > 0.02) & (covered < 0.98)).sum() > 20


@pytest.mark.parametrize("name", SMALL)
def test_operations_are_those_that_torch_counts_of_the_network(name: str, scenes, tmp_path: Path) -> None:
    """Of RF-DETR and OneFormer nothing was counted. Here no parameter has a gradient, so torch's counter can."""
    Image.fromarray(scenes[0]).save(tmp_path / "scene.png")
    predictor = small(name, CLASSES)
    counted = count_image(predictor, ImageRecord(0, tmp_path / "scene.png", *scenes[0].shape[:2]))
    given, _, _ = inputs(name, scenes[:1])
    predictor.module.requires_grad_(False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        predictor.module(**given)
    assert counted == counter.get_total_flops() > 10**7


def test_rf_detr_equals_the_librarys_post_processing(scenes) -> None:
    """The library leaves out instances with an empty mask, and cuts masks at full size, as its maker's code does."""
    predictor = small("rf_detr", CLASSES)
    output, instances, _, _ = outputs("rf_detr", predictor, scenes)
    processor, sizes = RfDetrImageProcessor(), [image.shape[:2] for image in scenes]
    masks = processor.post_process_instance_segmentation(
        output, threshold=0.0, target_sizes=sizes, return_binary_maps=True, top_k=100
    )
    boxes = processor.post_process_object_detection(output, threshold=0.0, target_sizes=sizes, top_k=100)
    for ours, with_masks, with_boxes, size in zip(instances, masks, boxes, sizes, strict=True):
        ours.validate(*size, num_classes=12, max_detections=100)
        torch.testing.assert_close(ours.scores, with_boxes["scores"])
        torch.testing.assert_close(ours.boxes, with_boxes["boxes"])
        assert torch.equal(ours.labels, with_boxes["labels"])
        kept = ours.masks.any(2).any(1)
        assert torch.equal(ours.masks[kept], with_masks["segmentation"])
        assert [part["label_id"] for part in with_masks["segments_info"]] == ours.labels[kept].tolist()
        covered = ours.masks.float().mean((1, 2))
        assert ((covered > 0.02) & (covered < 0.98)).sum() > 20


@pytest.mark.parametrize("name", ["conditional_detr", "detr"])
def test_detr_equals_the_papers_formula(name: str, scenes) -> None:
    """Conditional DETR: best (query, class) pairs by sigmoid. DETR: each query's best class by softmax."""
    predictor = small(name, CLASSES)
    output, instances, sizes, padded = outputs(name, predictor, scenes)
    for place, (ours, image) in enumerate(zip(instances, scenes, strict=True)):
        height, width = image.shape[:2]
        ours.validate(height, width, num_classes=12, max_detections=100)
        if name == "detr":
            probabilities = softmax(output.logits[place])[:, :-1]
            found = [(row.max(), query, int(row.argmax())) for query, row in enumerate(probabilities)]
        else:
            probabilities = 1 / (1 + np.exp(-output.logits[place].double().numpy()))
            found = [(row[c], query, c) for query, row in enumerate(probabilities) for c in range(12)]
        found = sorted(found, reverse=True)[:100]
        logits = output.pred_masks[place]
        masks = [full_size(logits[query], padded, sizes[place], (height, width)) > 0 for _, query, _ in found]
        x, y, w, h = output.pred_boxes[place][[query for _, query, _ in found]].unbind(1)
        boxes = torch.stack([(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height], 1)
        scores, _, labels = (torch.tensor(column) for column in zip(*found, strict=True))
        assert_same_instances(ours, scores.float(), labels, torch.from_numpy(np.stack(masks)), boxes)
        assert len(ours) == (15 if name == "detr" else 100)


def test_rf_detrs_class_logits_are_numbered_by_cocos_ids(scenes) -> None:
    """The 17th category of COCO is the dog, its id is 18; the ids 12 and 83 are of no category."""
    predictor = small("rf_detr", COCO80, label_ids="coco")
    head = class_head(predictor, "rf_detr")
    assert head.out_features == 91
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.constant_(head.bias, -4.0)
    for column, logit in ((18, 1.0), (90, 0.5), (1, 0.0), (0, 3.0), *((gap, 3.0) for gap in COCO_GAPS)):
        head.bias.data[column] = logit
    (instances,) = predict(predictor, scenes[:1])
    assert predictor.classes == COCO80
    assert instances.labels[:45].tolist() == [16] * 15 + [79] * 15 + [0] * 15
    assert instances.scores[[0, 15, 30]].tolist() == pytest.approx([1 / (1 + math.exp(-x)) for x in (1.0, 0.5, 0.0)])
    assert len(instances) == 100
    # An exported file names the class of each logit.
    names = [predictor.logits[logit] for logit in (0, 1, 12, 18, 83, 90)]
    assert names == [None, COCO80[0], None, COCO80[16], None, COCO80[79]]


def test_oneformers_stuff_is_no_instance(scenes) -> None:
    """Of 133 panoptic classes the first 80 are things; "no object" is the last logit."""
    predictor = small("oneformer", COCO80, label_ids="coco_panoptic")
    head = class_head(predictor, "oneformer")
    assert head.out_features == 134
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.constant_(head.bias, -4.0)
    for column, logit in ((16, 2.0), (80, 3.0), (132, 3.0), (133, 1.0)):
        head.bias.data[column] = logit
    (instances,) = predict(predictor, scenes[:1])
    with torch.inference_mode():
        raw = predictor.forward(predictor.preprocess(scenes[:1]))
    assert raw.class_logits.shape == (1, 15, 81)
    assert raw.class_logits[0, 0, [16, 80]].tolist() == [2.0, 1.0]
    assert instances.labels[:10].tolist() == [16] * 10


def test_a_model_of_other_classes_has_one_logit_a_class() -> None:
    assert class_head(small("rf_detr", CLASSES, label_ids="coco"), "rf_detr").out_features == 12
    with pytest.raises(UserError, match=r"model\.options\.label_ids=cocos: unknown; did you mean coco"):
        small("rf_detr", CLASSES, label_ids="cocos")


def test_the_task_is_told(scenes) -> None:
    """CLIP's tokens: beginning 49406, the 518, task 10549, is 533, instance 34572, end 49407, and zeros."""
    predictor = small("oneformer", CLASSES)
    given = predictor._beside(torch.ones(2, 4, 4, dtype=torch.int64))
    assert given["task_inputs"].shape == (2, 77)
    assert given["task_inputs"][1].tolist() == [49406, 518, 10549, 533, 34572, 49407] + [0] * 71


@pytest.mark.parametrize("name", ["eomt", "eomt_dinov3"])
def test_an_untrained_eomt_masks_no_attention_as_a_trained_one(name: str) -> None:
    predictor = small(name, CLASSES)
    assert predictor.module.attn_mask_probs.tolist() == [0.0, 0.0]
    state = dict(predictor.module.state_dict())
    state["attn_mask_probs"] = torch.tensor([0.0, 1.0])
    loaded = small(name, CLASSES, Checkpoint(state, "m.safetensors"))
    assert loaded.module.attn_mask_probs.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", SMALL)
def test_a_checkpoint_gives_the_same_instances(name: str, scenes) -> None:
    trained = small(name, CLASSES)
    (expected,) = predict(trained, scenes[:1])
    state = {key: value.clone() for key, value in trained.module.state_dict().items()}
    (loaded,) = predict(small(name, CLASSES, Checkpoint(state, "m.safetensors")), scenes[:1])
    assert torch.equal(loaded.scores, expected.scores)
    assert torch.equal(loaded.masks, expected.masks)
    del state[next(key for key in state if key.startswith(FAMILIES[name].encoder) and key.endswith("weight"))]
    with pytest.raises(UserError, match=r"m\.safetensors: .* 1 missing \(first: "):
        small(name, CLASSES, Checkpoint(state, "m.safetensors"))
    with pytest.raises(UserError, match=r"m\.safetensors: .*of another shape"):
        small(name, CLASSES[:5], Checkpoint(dict(trained.module.state_dict()), "m.safetensors"))


@pytest.mark.parametrize(("name", "millions"), PUBLISHED_PARAMETERS.items())
def test_configurations_have_as_many_parameters_as_their_makers_say(name: str, millions: float) -> None:
    config = OmegaConf.load(ROOT / "configs" / "model" / f"{name}_transformers.yaml")
    family = getattr(adapter, config._target_.rpartition(".")[2]).family
    options = OmegaConf.to_container(config.options)
    columns = Columns.of(tuple(config.classes), options.get("label_ids"))
    with torch.device("meta"):
        module = family.model(configured(family, columns.names, options["backbone"], options["network"]))
    assert sum(parameter.numel() for parameter in module.parameters()) / 1e6 == pytest.approx(millions, abs=0.051)


@pytest.mark.parametrize("name", SMALL)
def test_thresholds_and_empty_masks(name: str, scenes) -> None:
    (everything,) = predict(small(name, CLASSES, most=10, score_threshold=0.0), scenes[:1])
    assert len(everything) == 10
    threshold = everything.scores[4].item()
    predictor = small(name, CLASSES, most=10, score_threshold=threshold)
    (kept,) = predict(predictor, scenes[:1])
    assert torch.equal(kept.scores, everything.scores[everything.scores > threshold])
    assert torch.equal(kept.masks, everything.masks[: len(kept)])
    predictor.score_threshold = 0.0
    with torch.inference_mode():
        raw = predictor.forward(predictor.preprocess(scenes[:1]))
        raw.mask_logits.fill_(-1.0)
        (empty,) = predictor.postprocess(raw)
    empty.validate(*scenes[0].shape[:2], num_classes=12, max_detections=10)
    assert not empty.masks.any()


def test_inputs_that_a_network_cannot_take_are_refused() -> None:
    with pytest.raises(UserError, match=r"input_size=96x128 .*a square .* multiple of 24 pixels; give input_size=120x"):
        small("rf_detr", CLASSES, shortest_edge=96, longest_edge=128)
    with pytest.raises(UserError, match=r"input_size=100x100 .*EomtFor.* multiple of 16 pixels; give input_size=96x96"):
        small("eomt", CLASSES, shortest_edge=100, longest_edge=100)
    with pytest.raises(UserError, match=r"model\.options\.decoder_config\.num_querys.*did you mean num_queries"):
        small("maskformer", CLASSES, decoder={"num_querys": 3})
    with pytest.raises(UserError, match=r"model\.options\.backbone: EomtConfig has no backbone"):
        small("eomt", CLASSES, backbone={"hidden_size": 3})


def test_a_class_that_the_installed_version_lacks_is_told() -> None:
    absent = dataclasses.replace(FAMILIES["eomt"], class_name="EomtForNothing")
    with pytest.raises(UserError, match=r"transformers \d.* has no EomtForNothing; install a newer one: pip install"):
        _ = absent.model
