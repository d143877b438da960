"""Compare training RF-DETR through the transformers adapter with ``RfDetrForInstanceSegmentation``'s own loss."""

from __future__ import annotations

import importlib
import math
import runpy
import sys
from typing import Any

import numpy as np
import pytest
import torch
from coloured_scenes import scene
from PIL import Image

from bench.predictor import Settings, Target, Trainable, boxes_around

pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("transformers.loss.loss_rf_detr", reason="this version of transformers has no RF-DETR")

import transformers.loss
from narrow_transformers import SMALL
from transformers.loss import loss_rf_detr

from adapters.transformers import rf_detr_training
from adapters.transformers.rf_detr_matching import COUNTS_BOXES, LIBRARY, Matcher
from adapters.transformers.rf_detr_training import _label
from bench.training.data import resized_image, resized_masks, training_size

CLASSES = ("square", "bar", "corner")
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


SCENES = [scene(72, 96, (0, 1, 2), 6), scene(72, 60, (2, 0), 6)]
IMAGES, TARGETS = [image for image, _ in SCENES], [target for _, target in SCENES]


def seeded() -> Any:
    cls, options = SMALL["rf_detr"]
    network = {**options["network"], "dropout": 0.0, "class_loss_coefficient": 5.0, "num_queries": 20}
    torch.manual_seed(0)
    predictor = cls(Settings(torch.device("cpu"), classes=CLASSES), **(options | {"network": network}))
    predictor.module.train()
    return predictor


def seen_pixels(predictor: Any) -> list[torch.Tensor]:
    """Give a list that fills with the pixels that the network gets."""
    seen: list[torch.Tensor] = []
    predictor.module.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    return seen


def test_losses_equal_the_library() -> None:
    """The library gets the pixels at 72 x 72, boxes as shares of the image, and every weighted loss summed.

    Its matching takes 20 points here, by its own count (2 images x 2 groups x 20 queries x 4 / 16) as by ours.
    """
    predictor = seeded()
    pixels = [
        torch.nn.functional.interpolate(
            torch.from_numpy(image).permute(2, 0, 1)[None], size=(72, 72), mode="bilinear", antialias=True
        )[0]
        for image in IMAGES
    ]
    labels = []
    for target in TARGETS:
        height, width = target.masks.shape[1:]
        rows, columns = (torch.arange(72) * edge // 72 for edge in (height, width))
        x1, y1, x2, y2 = target.boxes.unbind(1)
        boxes = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
        masks = target.masks[:, rows][:, :, columns].float()
        labels.append({"class_labels": target.labels, "boxes": torch.stack(boxes, 1), "masks": masks})
    torch.manual_seed(1)
    theirs = predictor.module(
        pixel_values=torch.stack([(image / 255 - MEAN) / STD for image in pixels]), labels=labels
    ).loss
    torch.manual_seed(1)
    ours = predictor.training_step(IMAGES, TARGETS)
    assert set(ours) == {"class", "box", "mask", "dice"}
    assert all(loss.shape == () and loss.item() > 0 for loss in ours.values())
    assert sum(ours.values()).item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_the_matching_takes_a_sixteenth_of_the_masks_cells_whatever_the_batch(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masks have 72 / 4 = 18 cells a side, of which the paper's code takes 18 x 18 / 16 = 20."""
    predictor = seeded()
    sample, points = loss_rf_detr.sample_point, []

    def counted(features: torch.Tensor, coordinates: torch.Tensor, **options: Any) -> torch.Tensor:
        points.append((len(features), coordinates.shape[1]))
        return sample(features, coordinates, **options)

    monkeypatch.setattr(loss_rf_detr, "sample_point", counted)
    predictor.training_step(IMAGES[:count], TARGETS[:count])
    queries = count * 2 * 20
    matchings = [taken for masks, taken in points if masks == queries]
    assert matchings == [20, 20, 20]  # 2 decoder layers and the encoder
    assert loss_rf_detr.RfDetrHungarianMatcher is LIBRARY


def test_the_matching_finds_a_small_mask_that_few_points_miss() -> None:
    """Boxes and classes are alike, and of 64 queries one has the mask of the object, 8 x 8 of 96 x 96 cells.

    Of 576 points 4 fall on it; of the 16 that the library draws for one image, mostly none.
    """
    object_mask = torch.zeros(1, 96, 96)
    object_mask[:, 40:48, 40:48] = 1
    masks = torch.full((1, 64, 96, 96), -10.0)
    masks[0, 37] += 20 * object_mask[0]
    box = torch.tensor([0.45, 0.45, 0.1, 0.1])
    outputs = {"logits": torch.zeros(1, 64, 3), "pred_boxes": box.expand(1, 64, 4), "pred_masks": masks}
    targets = [{"class_labels": torch.tensor([1]), "boxes": box[None], "masks": object_mask}]
    found = {}
    for matcher in (LIBRARY, Matcher):
        torch.manual_seed(0)
        matches = [matcher(1, 5, 2, 16, 5, 5)(outputs, targets, 1) for _ in range(20)]
        found[matcher] = sum(queries.tolist() == [37] for [(queries, _)] in matches)
    assert found[Matcher] >= 19
    assert not COUNTS_BOXES or found[LIBRARY] <= 5


def test_mask_loss_of_equal_logits_is_its_closed_form() -> None:
    """With mask logits 0 the cross entropy is log 2 at every point, in the 2 decoder layers and the encoder."""
    predictor = seeded()
    for name in ("query_features_proj", "query_features_block.mlp.fc2"):
        for parameter in predictor.module.get_submodule(name).parameters():
            torch.nn.init.zeros_(parameter)
    losses = predictor.training_step(IMAGES, TARGETS)
    assert losses["mask"].item() == pytest.approx(3 * 5.0 * math.log(2), rel=1e-5)


@pytest.mark.parametrize(("label", "category_id"), [(0, 1), (11, 13), (79, 90)])
def test_training_on_coco_raises_the_logit_that_inference_reads(label: int, category_id: int) -> None:
    """Published networks number their 91 logits by COCO's category ids: person 1, stop sign 13, toothbrush 90."""
    cls, options = SMALL["rf_detr"]
    torch.manual_seed(0)
    classes = tuple(f"class {number}" for number in range(80))
    predictor = cls(Settings(torch.device("cpu"), classes=classes), label_ids="coco", **options)
    assert isinstance(predictor, Trainable)
    predictor.module.train()
    image, target = scene(96, 96, (0,), 6)
    target = Target(target.masks, target.boxes, torch.tensor([label]))
    predictor.training_step([image], [target])["class"].backward()
    bias = predictor.module.model.class_embed.bias
    assert bias.grad.argmin().item() == category_id
    with torch.no_grad():
        bias[category_id] = 5.0
    predictor.module.eval()
    [found] = predictor.postprocess(predictor.forward(predictor.preprocess([image])))
    assert found.labels[0].item() == label


def test_a_box_is_centre_and_size_in_shares() -> None:
    label = _label(TARGETS[0], (96, 96), torch.device("cpu"), None)
    assert label["boxes"][0].tolist() == pytest.approx([15 / 96, 30 / 72, 18 / 96, 36 / 72])
    assert label["masks"].shape == (3, 96, 96)
    assert label["masks"][0].mean().item() == pytest.approx(18 * 36 / (96 * 72), rel=0.02)


def test_the_square_is_the_shorter_edge_of_the_images() -> None:
    """72 is a multiple of 12 x 2; 60 is one of 12 alone, and 50 of neither: both take the next, 72 for both."""
    predictor = seeded()
    seen = seen_pixels(predictor)
    predictor.training_step(IMAGES, TARGETS)
    image, target = scene(96, 128, (0, 1), 6)
    predictor.training_step([image], [target])
    image, target = scene(70, 50, (0, 1), 6)
    predictor.training_step([image], [target])
    assert [tuple(pixels.shape) for pixels in seen] == [(2, 3, 72, 72), (1, 3, 96, 96), (1, 3, 72, 72)]


@pytest.mark.parametrize("size", [(96, 128), (128, 96), (60, 300)])
def test_an_image_at_the_full_scale_is_in_training_what_it_is_in_the_test(size: tuple[int, int]) -> None:
    """The test squeezes the original alone, as Pillow does here; no side may have been scaled below the square."""
    predictor = seeded()
    stripes = np.indices(size).sum(0) % 4 < 2
    image = np.repeat(np.where(stripes, 240, 20).astype(np.uint8)[..., None], 3, 2)
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[:, 10:40, 10:50] = True
    seen = seen_pixels(predictor)
    scaled = training_size(size, predictor.training_edges(), 1.0)
    masks = resized_masks(mask, scaled)
    target = Target(masks, boxes_around(masks), torch.tensor([0]))
    predictor.training_step([resized_image(image, scaled)], [target])
    squeezed = np.array(Image.fromarray(image).resize((96, 96), Image.Resampling.BILINEAR))
    expected = (torch.from_numpy(squeezed).permute(2, 0, 1) / 255 - MEAN) / STD
    assert seen[0].shape == (1, 3, 96, 96)
    # A level of 255 is 0.017 of a deviation. An image that is smaller than the square is enlarged first.
    assert (seen[0][0] - expected).abs().mean() < (0.002 if min(size) == 96 else 0.05)


def test_steps_lower_the_sum_and_gradients_reach_backbone_and_heads() -> None:
    predictor = seeded()
    optimizer = torch.optim.AdamW(predictor.module.parameters(), lr=5e-3)
    sums = []
    for _ in range(20):
        losses = predictor.training_step(IMAGES, TARGETS)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        # The target of the class loss is the box's IoU, so it may rise while the boxes get better.
        sums.append(losses["box"].item() + losses["mask"].item() + losses["dice"].item())
    assert sum(sums[-3:]) < 0.85 * sum(sums[:3])
    unused = {name for name, parameter in predictor.module.named_parameters() if parameter.grad is None}
    assert all("mask_token" in name for name in unused), unused
    backbone = {p.data_ptr() for p in predictor.module.model.model.backbone.backbone.parameters()}
    for name, parameter in predictor.module.named_parameters():
        assert name.startswith(predictor.backbone_prefix) == (parameter.data_ptr() in backbone)


def test_bfloat16_autocast_gives_nearly_the_same_losses_in_float32() -> None:
    predictor = seeded()
    torch.manual_seed(1)
    exact = predictor.training_step(IMAGES, TARGETS)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predictor.training_step(IMAGES, TARGETS)
    sum(rounded.values()).backward()
    for name, loss in rounded.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact[name].item(), rel=0.15), name


def test_an_older_library_without_rf_detr_imports_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers 4.57 runs the other families, whose file imports this one."""
    monkeypatch.delattr(transformers.loss, "loss_rf_detr")
    monkeypatch.setitem(sys.modules, "transformers.loss.loss_rf_detr", None)
    monkeypatch.delitem(sys.modules, "adapters.transformers.rf_detr_matching")
    assert "losses" in runpy.run_path(rf_detr_training.__file__)
    with pytest.raises(ImportError):
        importlib.import_module("adapters.transformers.rf_detr_matching")
