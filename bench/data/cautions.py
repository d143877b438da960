"""What is true of a data set and would mislead a reader of its AP: a sentence each, with counts and the remedy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.data.coco_json import mask_library, to_rle
from bench.data.dataset import CocoDataset
from bench.data.ids import Id

LVIS_MAX_DETECTIONS = 300
"""How many detections of an image, of all categories together, count by LVIS's rules."""

CROWDS = 0.05
"""Share of crowds that is told, from two on. COCO's own val2017 has 1.2 percent."""

OTHER_SIZES = 0.05
"""Share of objects whose ``area`` is of another size than their mask that is told."""

TWICE = 0.005
"""Share of annotations that stand there again that is told: AP could gain half a point at most."""

ANNOTATED = 0.10
"""Share of images with annotations below which it is told."""

AREAS = 2000
"""How many masks are measured at most, which takes 0.2 s; they are spread over the file."""

EMPTY = 0.01
"""Share of objects without a pixel that is told, from two on."""

_WHERE_SINGLE = (
    "where single objects were written as crowds, as CVAT writes brush masks, write iscrowd: 0; ignored regions come "
    "of dataset.without_mask=ignore, for objects without a mask"
)
_FEWEST_POLYGONS = 5
_SHARES = ((1.0, "shares of width and height"), (100.0, "percent of width and height"))
_SIZES = (32**2, 96**2)
_ROUNDING = 0.1  # an area from the outline differs from the number of pixels by about this share at 32 x 32 pixels
_RECALLS = np.linspace(0.0, 1.0, 101)  # as pycocotools makes them


def cautions(dataset: CocoDataset, max_detections: int) -> list[str]:
    """Give a sentence for each fact of the images evaluated by which their mask AP means less than it seems to.

    Args:
        max_detections: ``protocol.max_detections``
    """
    if (nothing := why_no_ap(dataset)) is not None:
        return [f"mask AP is empty: {nothing}"]
    found = (
        *(_lvis_limit(dataset, max_detections), _crowds(dataset), _few_images(dataset)),
        *(_unused_categories(dataset), _listed_twice(dataset)),
        *(_more_than_the_limit(dataset, max_detections), _twice(dataset), _in_a_corner(dataset), *_areas(dataset)),
    )
    return [text for text in found if text]


def why_no_ap(dataset: CocoDataset) -> str | None:
    """Say why mask AP has no value on these images; None where it has one."""
    annotations = dataset.annotations
    if not annotations:
        images = _of_images(len(dataset.images))
        if len(dataset.images) < dataset.total_images:
            return (
                f"none of the {images} evaluated has an annotation, of {dataset.total_images} in the set; give "
                f"dataset.limit=null for all"
            )
        return f"none of the {images} has an annotation"
    if all(annotation["iscrowd"] for annotation in annotations):
        return (
            f"all {len(annotations)} annotations are crowds (iscrowd: 1) or ignored regions, which nothing has to "
            f"find; {_WHERE_SINGLE}"
        )
    return None


def _crowds(dataset: CocoDataset) -> str | None:
    number = len(dataset.annotations)
    crowds = sum(1 for annotation in dataset.annotations if annotation["iscrowd"])
    if crowds < 2 or crowds < CROWDS * number:
        return None
    return (
        f"{crowds} of {number} annotations are crowds (iscrowd: 1) or ignored regions: they need not be found, and "
        f"what lies in them counts neither as right nor as wrong; {_WHERE_SINGLE}"
    )


def _lvis_limit(dataset: CocoDataset, limit: int) -> str | None:
    if dataset.federation is None or limit == LVIS_MAX_DETECTIONS:
        return None
    return (
        f"{limit} detections of an image count, of all classes together, where LVIS's AP has {LVIS_MAX_DETECTIONS}: it "
        f"cannot be compared with a published one; give protocol.max_detections={LVIS_MAX_DETECTIONS}"
    )


def _few_images(dataset: CocoDataset) -> str | None:
    if dataset.federation is not None:  # only detections of categories that somebody looked for count
        return None
    number, annotated = len(dataset.images), len({annotation["image_id"] for annotation in dataset.annotations})
    if annotated >= ANNOTATED * number:
        return None
    have = "has" if annotated == 1 else "have"
    return (
        f"{annotated} of {_of_images(number)} {have} annotations: every detection in the others is wrong; leave out "
        f"images that nobody has annotated"
    )


def _unused_categories(dataset: CocoDataset) -> str | None:
    number = len(dataset.categories)
    used = len({annotation["category_id"] for annotation in dataset.annotations if not annotation["iscrowd"]})
    if used == number:
        return None
    have, they = ("has", "it has") if number - used == 1 else ("have", "they have")
    return (
        f"{number - used} of {number} categories {have} no object in the images evaluated: {they} no AP, and mask AP "
        f"is the mean of the other {used}"
    )


def _more_than_the_limit(dataset: CocoDataset, limit: int) -> str | None:
    objects = [annotation for annotation in dataset.annotations if not annotation["iscrowd"]]
    in_image = Counter(annotation["image_id"] for annotation in objects)
    most = max(in_image.values())
    if most <= limit:
        return None
    together = Counter((annotation["category_id"], annotation["image_id"]) for annotation in objects)
    many = sum(number > limit for number in in_image.values())
    found = sum(min(number, limit) for number in in_image.values())
    has, enough = "has" if many == 1 else "have", 10 ** math.ceil(math.log10(most))
    more = f"{many} of {_of_images(len(dataset.images))} {has} more objects (up to {most})"
    bound = f"AP cannot exceed {100 * ceiling(together, limit):.1f}, since " if max(together.values()) > limit else ""
    return (
        f"{limit} detections an image: {bound}{more}; a model gives at most {limit} an image over all categories, and "
        f"so can find {found} of {len(objects)}; protocol.max_detections={enough} counts them all"
    )


def ceiling(objects: Mapping[tuple[Id, Id], int], limit: int) -> float:
    """Give the highest possible AP, a fraction: that of detections that are all exact, of which ``limit`` count.

    Precision is then 1 up to the recall that can be reached, and AP is the share of COCO's 101 recall points up to it,
    the mean over the categories.

    Args:
        objects: how many there are of each (category, image)
        limit: how many detections of an image and category count
    """
    there: Counter[Id] = Counter()
    found: Counter[Id] = Counter()
    for (category, _), number in objects.items():
        there[category] += number
        found[category] += min(number, limit)
    shares = [np.count_nonzero(found[category] / there[category] >= _RECALLS) / len(_RECALLS) for category in there]
    return float(np.mean(shares))


def _twice(dataset: CocoDataset) -> str | None:
    seen: dict[Any, list[Any]] = {}
    again = 0
    for annotation in dataset.annotations:
        segmentation = annotation["segmentation"]
        of = (annotation["image_id"], annotation["category_id"], annotation["iscrowd"], _hash(segmentation))
        earlier = seen.setdefault(of, [])
        if segmentation in earlier:
            again += 1
        else:
            earlier.append(segmentation)
    if again == 0 or again < TWICE * len(dataset.annotations):
        return None
    return (
        f"{again} of {len(dataset.annotations)} annotations repeat another one (the same mask and category in one "
        f"image): a model finds an object once, so that its copy counts as missed; leave the copies out"
    )


def _hash(segmentation: Any) -> int:
    if isinstance(segmentation, Mapping):
        counts = segmentation["counts"]
        return hash(tuple(counts) if isinstance(counts, list) else counts)
    return hash(tuple(map(tuple, segmentation)))


def _listed_twice(dataset: CocoDataset) -> str | None:
    if not dataset.has_images:
        return None
    again = len(dataset.images) - len({image.path for image in dataset.images})
    if again == 0:
        return None
    return (
        f"{again} of {_of_images(len(dataset.images))} {'is' if again == 1 else 'are'} the file of another entry: each "
        f"entry has its own objects and detections; put the annotations of one file under one image"
    )


def _in_a_corner(dataset: CocoDataset) -> str | None:
    """Tell where all polygons lie in so small a corner that their coordinates are shares or percent of the image."""
    polygons = [p for a in dataset.annotations if isinstance(a["segmentation"], list) for p in a["segmentation"]]
    if len(polygons) < _FEWEST_POLYGONS:
        return None
    farthest = max(map(max, polygons))
    smallest = min(min(image.height, image.width) for image in dataset.images)
    for most, what in _SHARES:
        if farthest <= most and smallest >= 2 * most and min(map(min, polygons)) >= 0:
            return (
                f"no polygon reaches beyond the coordinate {farthest:g}, in images of {smallest} pixels and more: if "
                f"the coordinates are {what}, multiply them by these in pixels"
            )
    return None


def _areas(dataset: CocoDataset) -> list[str]:
    objects = [annotation for annotation in dataset.annotations if not annotation["iscrowd"]]
    step = max(1, math.ceil(len(objects) / AREAS))
    looked_at = objects[::step]
    sizes = {image.id: (image.height, image.width) for image in dataset.images}
    rles = [to_rle(annotation["segmentation"], *sizes[annotation["image_id"]]) for annotation in looked_at]
    masks = np.asarray(mask_library().area(rles), np.float64)
    of = f"{len(looked_at)} objects" + (" looked at" if step > 1 else "")
    found = []
    empty = int(np.count_nonzero(masks == 0))
    if empty >= 2 and empty >= EMPTY * len(looked_at):
        found.append(
            f"{empty} of {of} have a mask without a pixel, outside of the image or too thin for one: nothing can find "
            f"them; see whether coordinates are [x, y] in pixels of the image"
        )
    told = np.array([annotation["area"] for annotation in looked_at], np.float64)
    apart = np.abs(told - masks) > _ROUNDING * np.maximum(told, masks)
    other = int(np.count_nonzero(apart & (_size(told) != _size(masks))))
    if other and other >= OTHER_SIZES * len(looked_at):
        found.append(
            f"the area of {other} of {of} is not that of the mask, so that they count as another size (small, medium, "
            f"large); leave area out of the file, and it is computed from the mask"
        )
    return found


def _size(areas: np.ndarray) -> np.ndarray:
    """Say whether N areas are small (0), medium (1) or large (2), int (N,)."""
    return np.searchsorted(np.array(_SIZES, np.float64), areas)


def _of_images(number: int) -> str:
    return f"{number} image{'s' if number != 1 else ''}"
