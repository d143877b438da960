"""Compare the transformers adapter with the paper's inference, written in numpy one query at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from bench.errors import UserError
from bench.predictor import Checkpoint, Instances, Settings, predict

pytest.importorskip("transformers", reason="transformers is not installed")

from paper_inference import Found, assert_boxes_around, mask2former
from same_instances import assert_same_instances
from transformers import Mask2FormerImageProcessor

from adapters.transformers.predictor import Mask2FormerPredictor

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".." / "shared" / "data" / "coco_val_cc"
CLASSES = tuple(f"class {label}" for label in range(80))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def halved(photographs: list[np.ndarray]) -> list[np.ndarray]:
    """Give the photographs at half size, since the loops in numpy are slow."""
    return [np.array(Image.fromarray(image).reduce(2)) for image in photographs]


def options(name: str) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(ROOT / "configs" / "model" / f"{name}.yaml").options)


DEMO = "demo_mask2former_transformers"


def seeded(name: str = DEMO, score_threshold: float | None = None, **changes: Any) -> Mask2FormerPredictor:
    """Give an untrained model whose class scores lie so far apart that rounding cannot reorder them."""
    torch.manual_seed(0)
    settings = Settings(CPU, classes=CLASSES, score_threshold=score_threshold)
    predictor = Mask2FormerPredictor(settings, **(options(name) | changes))
    predictor.module.class_predictor.weight.data.mul_(20)
    return predictor


def paper_says(predictor: Mask2FormerPredictor, images: list[np.ndarray]) -> list[Found]:
    """Give (score, label, mask) by falling score for each image, from the library's preprocessing and network."""
    edges = {"shortest_edge": predictor.inputs.shortest_edge, "longest_edge": predictor.inputs.longest_edge}
    processor = Mask2FormerImageProcessor(size=edges, size_divisor=0)
    sizes = [processor(image, return_tensors="pt").pixel_values.shape[-2:] for image in images]
    padded = tuple(math.ceil(max(size[axis] for size in sizes) / 32) * 32 for axis in (0, 1))
    pad_size = {"height": padded[0], "width": padded[1]}
    batch = Mask2FormerImageProcessor(size=edges, size_divisor=0, pad_size=pad_size)(images, return_tensors="pt")
    assert batch.pixel_values.shape[-2:] == padded
    with torch.inference_mode():
        output = predictor.module(**batch)
    results = []
    for index, (image, size) in enumerate(zip(images, sizes, strict=True)):
        logits = output.class_queries_logits[index], output.masks_queries_logits[index]
        results.append(mask2former(*logits, padded, size, image.shape[:2]))
    return results


def assert_same(ours: Instances, theirs: Found) -> None:
    assert len(ours) == 100
    assert ours.scores[0] - ours.scores[-1] > 0.01
    scores, labels, masks = (torch.from_numpy(np.stack(column)) for column in zip(*theirs, strict=True))
    assert_same_instances(ours, scores.float(), labels, masks)
    assert_boxes_around(ours)
    covered = ours.masks.float().mean((1, 2))
    assert ((covered > 0) & (covered < 1)).sum() > 50


def test_demo_batch_of_two_sizes_equals_the_paper(halved) -> None:
    predictor = seeded()
    batch = predictor.preprocess(halved)
    assert predictor.input_size(batch) == (384, 384)
    assert predictor.input_size(predictor.preprocess(halved[:1])) == (288, 384)
    theirs = paper_says(predictor, halved)
    for ours, image, reference in zip(predict(predictor, halved), halved, theirs, strict=True):
        ours.validate(*image.shape[:2], num_classes=80, max_detections=100)
        assert_same(ours, reference)


def test_swin_t_equals_the_paper(halved) -> None:
    predictor = seeded("mask2former_swin_t_transformers", shortest_edge=96, longest_edge=160)
    # Table 1 of the paper: 47 million parameters.
    assert sum(parameter.numel() for parameter in predictor.module.parameters()) // 1_000_000 == 47
    (ours,) = predict(predictor, halved[:1])
    assert_same(ours, paper_says(predictor, halved[:1])[0])


def test_host_resize_is_the_image_processors(halved) -> None:
    predictor = seeded(shortest_edge=200, longest_edge=240)
    processor = Mask2FormerImageProcessor(
        size={"shortest_edge": 200, "longest_edge": 240}, size_divisor=0, do_rescale=False, do_normalize=False
    )
    for image, ours in zip(halved, predictor.preprocess(halved).images, strict=True):
        theirs = processor(image, return_tensors="pt").pixel_values[0]
        assert ours.dtype == torch.uint8
        assert ours.shape == theirs.shape
        assert (ours.float() - theirs.float()).abs().max() <= 1


def test_empty_masks_are_kept_with_score_and_box_zero(halved) -> None:
    predictor = seeded()
    with torch.inference_mode():
        raw = predictor.forward(predictor.preprocess(halved[:1]))
        raw.mask_logits.fill_(-1.0)
        (instances,) = predictor.postprocess(raw)
    instances.validate(*halved[0].shape[:2], num_classes=80, max_detections=100)
    assert len(instances) == 100
    assert not instances.masks.any()
    assert not instances.boxes.any()
    assert not instances.scores.any()


def test_score_threshold_keeps_the_head_of_the_list(halved) -> None:
    (everything,) = predict(seeded(), halved[:1])
    threshold = everything.scores[9].item()
    (kept,) = predict(seeded(score_threshold=threshold), halved[:1])
    assert len(kept) == 9
    assert torch.equal(kept.scores, everything.scores[:9])
    assert torch.equal(kept.masks, everything.masks[:9])


def test_saturated_gives_100_instances(halved) -> None:
    assert [len(instances) for instances in predict(seeded(score_threshold=0.0), halved)] == [100, 100]


def test_bfloat16_autocast_gives_float32_instances(halved) -> None:
    predictor = seeded()
    (exact,) = predict(predictor, halved[:1])
    with torch.autocast("cpu", torch.bfloat16):
        (rounded,) = predict(predictor, halved[:1])
    rounded.validate(*halved[0].shape[:2], num_classes=80, max_detections=100)
    assert not torch.equal(rounded.scores, exact.scores)
    assert (rounded.scores - exact.scores).abs().max() < 0.05


def test_demo_is_small() -> None:
    assert sum(parameter.numel() for parameter in seeded().module.parameters()) < 3_000_000


def published_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the parameters the names of transformers 4.25, for which the weights were published."""
    renamed = {}
    new_to_old = (
        ("encoder.swin.", "encoder."),
        ("attention.q_proj", "attention.self.query"),
        ("attention.k_proj", "attention.self.key"),
        ("attention.v_proj", "attention.self.value"),
        ("attention.relative_position_bias.", "attention.self."),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    )
    for name, value in state.items():
        if ".swin.layernorm." in name:
            continue
        if ".pixel_level_module.encoder." in name:
            for new, old in new_to_old:
                name = name.replace(new, old)
        renamed[name] = value
        if name.endswith("relative_position_bias_table"):
            renamed[name.replace("bias_table", "index")] = torch.zeros(49, 49, dtype=torch.int64)
    return renamed


SMALL_SWIN = {"embed_dim": 32, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8]}


@pytest.mark.parametrize("names", [dict, published_names])
def test_checkpoint_loads_under_its_own_and_its_published_names(names, halved) -> None:
    trained = seeded(backbone=SMALL_SWIN)
    (expected,) = predict(trained, halved[:1])
    # The norm after Swin's last stage is absent from the published weights and may hold anything.
    trained.module.model.pixel_level_module.encoder.swin.layernorm.weight.data.fill_(7)
    checkpoint = Checkpoint(names(trained.module.state_dict()), "model.safetensors")
    torch.manual_seed(1)
    loaded = Mask2FormerPredictor(Settings(CPU, checkpoint, CLASSES), **(options(DEMO) | {"backbone": SMALL_SWIN}))
    (instances,) = predict(loaded, halved[:1])
    assert torch.equal(instances.scores, expected.scores)
    assert torch.equal(instances.masks, expected.masks)


def test_checkpoint_that_does_not_fit_is_refused() -> None:
    state = dict(seeded().module.state_dict())
    del state["model.transformer_module.queries_embedder.weight"]
    state["surplus.weight"] = torch.zeros(1)
    refused = r"m\.safetensors.*1 missing \(first: .*queries_embedder.*1 unexpected \(first: surplus.*of another shape"
    with pytest.raises(UserError, match=refused):
        Mask2FormerPredictor(Settings(CPU, Checkpoint(state, "m.safetensors"), ("a", "b")), **options(DEMO))


def test_mistyped_option_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"model\.options\.network\.hiden_dim.*did you mean hidden_dim"):
        Mask2FormerPredictor(Settings(CPU, classes=CLASSES), network={"hiden_dim": 64})
    with pytest.raises(UserError, match=r"model\.options\.backbone\.embed_dims.*SwinConfig.*did you mean embed_dim"):
        Mask2FormerPredictor(Settings(CPU, classes=CLASSES), backbone={"embed_dims": 64})
    with pytest.raises(UserError, match=r"model\.options\.backbone\.model_type=resnt: .*did you mean resnet"):
        Mask2FormerPredictor(Settings(CPU, classes=CLASSES), backbone={"model_type": "resnt"})


def test_classes_are_needed_and_the_config_lists_the_published_ones() -> None:
    with pytest.raises(UserError, match=r"model\.classes"):
        Mask2FormerPredictor(Settings(CPU), **options(DEMO))
    if not DATA.is_dir():
        pytest.skip(f"COCO's categories are not at {DATA}")
    config = OmegaConf.load(ROOT / "configs" / "model" / "mask2former_swin_t_transformers.yaml")
    categories = json.loads((DATA / "instances.json").read_text())["categories"]
    assert list(config.classes) == [category["name"] for category in categories]
