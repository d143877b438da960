"""The samples of a training: image and target, flipped and scaled.

A sample depends on the seed and its position alone, whichever process makes it, and in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

from bench.data.coco_json import mask_library, to_rle
from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord, read_image
from bench.device.cores import leave_cores_to_worker
from bench.errors import UserError
from bench.predictor import Target, boxes_around
from bench.schema.config import FinetuneConfig

Sample = tuple[np.ndarray, Target]


class TrainingSet(Dataset[Sample]):
    """The endless stream of training samples, by position.

    An epoch takes every image once, in a random order. The images of a batch are all wide or all tall, and have one
    scale, because a library pads the others to the largest and computes the padding like the rest (mmdetection has
    its ``AspectRatioBatchSampler`` for that). Images that do not fill a batch are left out of that epoch. All that is
    random about a sample comes from the seed and its position, so a training that is resumed sees the samples that an
    uninterrupted one sees. Images that have no annotation but crowds are left out, as detectron2, mmdetection and
    torchvision's references do.

    dataset: what to train on; the model's labels are its categories in their order
    edges: shorter and longer edge of the model's test size, in pixels

    Raises:
        UserError: no image has an annotation to learn from.
    """

    def __init__(self, dataset: CocoDataset, edges: tuple[int, int], config: FinetuneConfig) -> None:
        self._edges = edges
        self._config = config
        self._labels = {category.id: label for label, category in enumerate(dataset.categories)}
        self._annotations: dict[int, list[dict[str, Any]]] = {}
        for annotation in dataset.annotations:
            if not annotation["iscrowd"] and annotation["area"] > 0:
                self._annotations.setdefault(annotation["image_id"], []).append(annotation)
        self.images: list[ImageRecord] = [image for image in dataset.images if image.id in self._annotations]
        if not self.images:
            raise UserError(
                f"{dataset.annotations_path}: no image has an annotation to learn from (dataset.train; crowds do not "
                f"count); give a set with annotations"
            )
        self.batches_an_epoch = max(1, len(self.images) // config.batch_size)
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def __getitem__(self, position: int) -> Sample:
        batch, index = divmod(position, self._config.batch_size)
        epoch, batch_of_epoch = divmod(batch, self.batches_an_epoch)
        if epoch != self._epoch:
            self._order, self._epoch = self._draw_order(epoch), epoch
        record = self.images[self._order[batch_of_epoch * self._config.batch_size + index]]
        smallest, largest = self._config.scales
        share = np.random.default_rng([self._config.seed, 1, batch]).uniform(smallest, largest)
        flip = np.random.default_rng([self._config.seed, 2, position]).random() < self._config.flip
        image = read_image(record)
        annotations = self._annotations[record.id]
        size = training_size(image.shape[:2], self._edges, share)
        masks = resized_masks(_decode(annotations, record), size)
        kept = masks.flatten(1).any(1)
        if not kept.any():  # all of it smaller than a pixel at this scale
            return self[position + self._config.batch_size]
        pixels = resized_image(image, size)
        if flip:
            pixels, masks = np.ascontiguousarray(pixels[:, ::-1]), masks.flip(2)
        labels = torch.tensor([self._labels[a["category_id"]] for a in annotations])
        masks = masks[kept]
        return pixels, Target(masks=masks, boxes=boxes_around(masks), labels=labels[kept])

    def _draw_order(self, epoch: int) -> np.ndarray:
        """Draw the images of an epoch: indices, int64 (``batches_an_epoch`` * batch size,)."""
        size, rng = self._config.batch_size, np.random.default_rng([self._config.seed, 0, epoch])
        drawn = rng.permutation(len(self.images))
        if len(drawn) < size:
            return np.resize(drawn, size)
        is_wide = np.array([self.images[i].height <= self.images[i].width for i in drawn])
        batches: list[np.ndarray] = []
        rest: list[np.ndarray] = []
        for part in (drawn[is_wide], drawn[~is_wide]):
            whole = len(part) // size * size
            batches += list(part[:whole].reshape(-1, size))
            rest.append(part[whole:])
        mixed = np.concatenate(rest)
        batches += list(mixed[: len(mixed) // size * size].reshape(-1, size))
        return np.concatenate([batches[i] for i in rng.permutation(len(batches))])


def training_size(size: tuple[int, ...], edges: tuple[int, int], share: float) -> tuple[int, int]:
    """Return height and width to which an image of ``size`` (height, width) is scaled.

    Its shorter edge becomes ``share`` of the model's shorter edge, its longer one no more than the model's longer edge
    (detectron2's ``ResizeShortestEdge.get_output_shape``).
    """
    shorter, longer = edges
    scale = min(share * shorter / min(size), longer / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resized_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale uint8 (H, W, 3) to (h, w, 3), bilinear with antialiasing."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return interpolate(pixels, size=size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).contiguous().numpy()


def resized_masks(masks: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Scale bool (N, H, W) to (N, h, w); a pixel is set where at least half of it is covered."""
    covered = interpolate(masks[:, None].to(torch.uint8) * 255, size=size, mode="bilinear", antialias=True)
    return covered[:, 0] > 127


def training_batches(
    samples: TrainingSet, batch_size: int, first: int, last: int, processes: int
) -> Iterator[tuple[list[np.ndarray], list[Target]]]:
    """Yield the batches number ``first`` to ``last`` - 1; ``processes`` processes load them ahead (0: this one)."""
    positions = [range(number * batch_size, (number + 1) * batch_size) for number in range(first, last)]
    loader = DataLoader(
        samples,
        batch_sampler=positions,  # type: ignore[arg-type]
        num_workers=processes,
        collate_fn=_batch,
        worker_init_fn=_begin,
    )
    yield from loader


def _begin(process: int) -> None:
    leave_cores_to_worker()


def _batch(samples: Sequence[Sample]) -> tuple[list[np.ndarray], list[Target]]:
    return [image for image, _ in samples], [target for _, target in samples]


def _decode(annotations: Sequence[dict[str, Any]], record: ImageRecord) -> torch.Tensor:
    """Return the masks of one image's annotations, bool (N, H, W)."""
    library = mask_library()
    masks = [library.decode(to_rle(a["segmentation"], record.height, record.width)) for a in annotations]
    return torch.from_numpy(np.ascontiguousarray(np.stack(masks))).bool()
