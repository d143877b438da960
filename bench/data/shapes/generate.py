"""The generated demo dataset: textured shapes on textured backgrounds, JPEG files and a COCO JSON.

It needs no download, and has on a small scale what makes instance segmentation hard: three sizes, occlusion, touching
instances, holes, thin shapes, crowds, images of different sizes and empty images. Each image has two random streams of
its own, for its layout and for its pixels, so that image 7 of a seed does not depend on how many images there are.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.bounds import quoted
from bench.data.coco_json import mask_library
from bench.data.shapes.geometry import RADIUS_OF_UNIT_AREA, outline, shape_mask
from bench.errors import UserError
from bench.files.paths import cache_folder, expanded
from bench.schema.config import ShapesConfig

VERSION = 1
"""Raised when the generator changes, so that an old cache is not taken for the new set."""

MAX_COUNT = 100_000
"""The most images of a set: they take 2 GB and an hour."""

MAX_SEED = 2**63 - 1

CLASSES = ("circle", "square", "triangle", "star", "ring", "bar")

# Images 7, 19, 31, ... are empty, and images 3, 10, 17, ... have a crowd: by number and not by chance, so that the
# smallest sets have both.
EMPTY_EVERY, EMPTY_FIRST = 12, 7
CROWD_EVERY, CROWD_FIRST = 7, 3
TOUCHING_SHARE = 0.3
POLYGON_SHARE = 0.6
# Square roots of the areas, in pixels, as they are drawn; COCO's area ranges meet at 32 and 96.
SIZE_BUCKETS = ((14.0, 29.0), (36.0, 90.0), (100.0, 165.0))
SIZE_SHARES = (0.35, 0.42, 0.23)
# So much of a half-hidden shape must be visible that its class can be recognised.
MIN_VISIBLE_SHARE = 0.45
MIN_VISIBLE_PIXELS = 40


@dataclass
class Item:
    """A shape to draw, or a crowd of shapes. ``mask``, bool (H, W), is the visible part."""

    label: int
    mask: np.ndarray
    polygon: list[float] | None
    center: tuple[float, float]
    radius: float
    crowd: bool = False


def ensure(config: ShapesConfig) -> tuple[Path, Path]:
    """Return image folder and annotation file of the set, which is generated into the cache on first use.

    The annotations are the same on every machine; the JPEG bytes may differ with the version of Pillow. The folder of
    the set appears when the set is complete, so that two processes may ask for it at once.

    Raises:
        UserError: count, seed or split is wrong, or the cache cannot be written.
    """
    if not 1 <= config.count <= MAX_COUNT:
        raise UserError(f"dataset.shapes.count={config.count}: must be 1 or more, {MAX_COUNT} at most")
    if not 0 <= config.seed <= MAX_SEED:
        raise UserError(f"dataset.shapes.seed={quoted(config.seed)}: must be 0 or more, {MAX_SEED} at most")
    if not re.fullmatch(r"[A-Za-z0-9_]{1,100}", config.split):
        raise UserError(f"dataset.shapes.split={config.split!r}: must be a name of letters and digits, as train or val")
    cache = _cache_folder(config)
    folder = cache / f"{config.split}-{config.count}-seed{config.seed}-v{VERSION}"
    if not folder.is_dir():
        temporary = cache / f".{folder.name}.{uuid.uuid4().hex}"
        try:
            (temporary / "images").mkdir(parents=True)
            generate(config, temporary)
            _rename_into_place(temporary, folder)
        except OSError as error:
            raise UserError(
                f"{error.filename or cache}: the shapes cannot be written there ({error.strerror or error}); "
                f"give dataset.shapes.cache=DIR or set MASKBENCH_CACHE"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder / "images", folder / "instances.json"


def _cache_folder(config: ShapesConfig) -> Path:
    if config.cache:
        return expanded(config.cache, "dataset.shapes.cache")
    return cache_folder("shapes")


def _rename_into_place(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        # Another process was first: a folder cannot be renamed onto one that is not empty.
        if not folder.is_dir():
            raise


def generate(config: ShapesConfig, folder: Path) -> None:
    """Write ``images/*.jpg`` and ``instances.json`` of the set into an existing folder."""
    from bench.data.shapes.drawing import draw

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, config.count + 1):
        layout, pixels = _streams(config, image_id)
        height, width = _image_size(layout)
        empty = image_id % EMPTY_EVERY == EMPTY_FIRST
        items = [] if empty else compose(layout, height, width, image_id % CROWD_EVERY == CROWD_FIRST)
        name = f"{image_id:06d}.jpg"
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for item in items:
            entry = {"id": len(annotations) + 1, "image_id": image_id, **_annotation(item, layout)}
            annotations.append(entry)
        draw(items, height, width, pixels).save(folder / "images" / name, quality=90)
    data = {
        "info": {"description": f"maskbench shapes: {config.split}, seed {config.seed}", "version": str(VERSION)},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": name, "supercategory": "shape"} for i, name in enumerate(CLASSES)],
    }
    (folder / "instances.json").write_text(json.dumps(data), encoding="utf-8")


def _streams(config: ShapesConfig, image_id: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Return the random streams of an image's layout and of its pixels; no other split, seed or image has them."""
    entropy = (config.seed, zlib.crc32(config.split.encode()), image_id)
    layout, pixels = np.random.SeedSequence(entropy).spawn(2)
    return np.random.Generator(np.random.PCG64(layout)), np.random.Generator(np.random.PCG64(pixels))


def _image_size(rng: np.random.Generator) -> tuple[int, int]:
    long, short = int(rng.integers(300, 421)), int(rng.integers(200, 301))
    return (long, short) if rng.random() < 0.4 else (short, long)


def compose(rng: np.random.Generator, height: int, width: int, crowd: bool) -> list[Item]:
    """Compose the items of one image, from the back to the front; each mask holds only the visible part."""
    items: list[Item] = []
    for _ in range(int(rng.integers(3, 11))):
        _place(rng, items, height, width)
    # Large items mostly stand behind, or the small ones would seldom be visible.
    items = [items[i] for i in np.argsort([-item.mask.sum() * rng.uniform(0.5, 2.0) for item in items])]
    if crowd:
        items.append(_crowd(rng, height, width))
    return visible_items(items)


def _place(rng: np.random.Generator, items: list[Item], height: int, width: int) -> None:
    """Add one shape anywhere in the image, or touching the shape before it."""
    label = int(rng.integers(len(CLASSES)))
    low, high = SIZE_BUCKETS[int(rng.choice(len(SIZE_BUCKETS), p=SIZE_SHARES))]
    side = low * (high / low) ** rng.random()
    if CLASSES[label] == "bar":
        side = min(side, 75.0)
    radius = side * RADIUS_OF_UNIT_AREA[CLASSES[label]]
    if items and rng.random() < TOUCHING_SHARE:
        other = items[-1]
        # A little less than the sum of the radii, so that they meet whatever their rotation.
        distance, angle = 0.88 * (radius + other.radius), rng.uniform(0, 2 * math.pi)
        x, y = other.center[0] + distance * math.cos(angle), other.center[1] + distance * math.sin(angle)
    else:
        # At most a part of a shape may lie outside of the image.
        margin = min(0.8 * radius, 0.45 * min(height, width))
        x, y = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
    rotation = rng.uniform(0, 2 * math.pi)
    polygon = outline(CLASSES[label], x, y, radius, rotation)
    inside = all(1 <= px <= width - 1 for px in polygon[::2]) and all(1 <= py <= height - 1 for py in polygon[1::2])
    mask = shape_mask(CLASSES[label], x, y, radius, rotation, height, width)
    if mask.sum() >= MIN_VISIBLE_SHARE * side * side:
        simple = inside and CLASSES[label] != "ring"
        items.append(Item(label, mask, polygon if simple else None, (x, y), radius))


def _crowd(rng: np.random.Generator, height: int, width: int) -> Item:
    """Make a crowd: many small shapes of one class, close together, as one annotation with ``iscrowd``."""
    label = int(rng.integers(len(CLASSES)))
    spread = rng.uniform(28.0, 45.0)
    x, y = rng.uniform(1.6 * spread, width - 1.6 * spread), rng.uniform(spread, height - spread)
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(int(rng.integers(14, 27))):
        angle, distance = rng.uniform(0, 2 * math.pi), spread * math.sqrt(rng.random())
        radius = rng.uniform(4.5, 6.5) * (1.6 if CLASSES[label] in ("star", "bar") else 1.0)
        px, py = x + 1.5 * distance * math.cos(angle), y + distance * math.sin(angle)
        mask |= shape_mask(CLASSES[label], px, py, radius, rng.uniform(0, 2 * math.pi), height, width)
    return Item(label, mask, None, (x, y), 1.5 * spread, crowd=True)


def visible_items(items: list[Item]) -> list[Item]:
    """Remove from every mask what the items in front of it cover, and drop items of which too little is visible."""
    kept: list[Item] = []
    covered = np.zeros(items[0].mask.shape if items else (0, 0), dtype=bool)
    for item in reversed(items):
        visible = item.mask & ~covered
        if visible.sum() < max(MIN_VISIBLE_SHARE * item.mask.sum(), MIN_VISIBLE_PIXELS):
            continue
        if (visible != item.mask).any():
            item.polygon = None
        covered |= item.mask
        item.mask = visible
        kept.append(item)
    return kept[::-1]


def _annotation(item: Item, rng: np.random.Generator) -> dict[str, Any]:
    library = mask_library()
    rle = library.encode(np.asfortranarray(item.mask.astype(np.uint8)))
    counts = rle["counts"]
    segmentation: Any = {
        "size": [int(side) for side in rle["size"]],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }
    if item.polygon and rng.random() < POLYGON_SHARE:
        segmentation = [item.polygon]
    return {
        "category_id": item.label + 1,
        "iscrowd": int(item.crowd),
        "area": int(item.mask.sum()),
        "bbox": [float(value) for value in library.toBbox(rle)],
        "segmentation": segmentation,
    }
