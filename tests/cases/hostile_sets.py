"""Every value of a small COCO set and of a results file for it, replaced by hostile ones; each goes the whole way.

Run as a program, it tries all of them and prints each that ends otherwise than well or with one line for the user. The
tests run it in a process of its own, since what it looks for can end a process.
"""

from __future__ import annotations

import copy
import functools
import io
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from bench.cli.dataset import check_dataset
from bench.data.dataset import CocoDataset, check_images, load
from bench.data.results.reader import read_results
from bench.errors import UserError
from bench.evaluation.evaluators import EVALUATORS
from bench.evaluation.matching import Matcher
from bench.predictor import ResultsFile
from bench.schema.config import DatasetConfig
from reports.masks.drawing import draw
from reports.masks.ground_truth import GroundTruth
from reports.masks.predictions import read_predictions

HEIGHT, WIDTH = 1, 60
"""An image that is one pixel high: true and 1.0 equal its height."""

DEEP = "DEEP"
"""Stands for a list that is nested 900 deep, which Python still parses and does not write."""

HOSTILE: list[Any] = [
    *(None, True, -1, 0, 2**31, 2**33, 2**63, 2**70, -(2**70), 10**400, 1e9, -1e9, 1e18, 1e308, 0.5),
    *(float("nan"), float("inf"), "", "x", "\ud800", "a\0b", "[/x]", "x" * 100_000, [], {}, [[]], [0] * 7, DEEP),
]


def annotations() -> dict[str, Any]:
    """A right set: a polygon, both kinds of RLE, a crowd, keys of somebody else."""
    return {
        "info": {"year": 2026},
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[5, 0, 25, 0, 25, 1, 5, 1]], "score": 1},
            {
                **{"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 1, "area": 10, "bbox": [30, 0, 10, 1]},
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": [30, 10, 20]},
            },
            {"id": 3, "image_id": 1, "category_id": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": "n0:d0"}},
        ],
    }


def results() -> list[dict[str, Any]]:
    """A right results file for it."""
    rle = {"size": [HEIGHT, WIDTH], "counts": "n0:d0"}
    return [
        {"image_id": 1, "category_id": 1, "segmentation": [[5, 0, 25, 0, 25, 1, 5, 1]], "score": 0.9},
        {"image_id": 1, "category_id": 1, "segmentation": rle, "score": 0.8},
    ]


def variants(right: Any) -> Iterator[tuple[str, Any]]:
    """Give copies of a right file, each with one value replaced by a hostile one or removed, and what was done."""
    for path in list(_paths(right)):
        for value in (..., *HOSTILE):
            changed = copy.deepcopy(right)
            node = changed
            for key in path[:-1]:
                node = node[key]
            if value is ...:
                del node[path[-1]]
            else:
                node[path[-1]] = value
            yield f"{'.'.join(map(str, path))} = {value!r:.30}", changed


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the way to every value; of a list of numbers to the first two, since the others are read alike."""
    if path:
        yield path
    if isinstance(node, list):
        keys: Any = range(2 if node and isinstance(node[0], int) else len(node))
    else:
        keys = node if isinstance(node, dict) else ()
    for key in keys:
        yield from _paths(node[key], (*path, key))


def written(data: Any, path: Path) -> Path:
    """Write a variant as JSON, with NaN and Infinity as Python's reader takes them."""
    path.write_text(json.dumps(data).replace(f'"{DEEP}"', "[" * 900 + "]" * 900), encoding="utf-8")
    return path


def use_set(data: Any, folder: Path) -> CocoDataset:
    """Load a set, check it, evaluate its own masks with both evaluators and our matching, and draw them."""
    file = written(data, folder / "instances.json")
    config = DatasetConfig(name="hostile", images=str(folder), annotations=str(file))
    dataset = load(config)
    check_images(dataset)
    check_dataset(file, folder, config, Console(file=io.StringIO()))
    truth = GroundTruth(dataset, folder)
    evaluators = [*(make(dataset) for make in EVALUATORS.values()), Matcher(dataset)]
    for image in dataset.images:
        objects = [*truth.objects(image.id), *truth.crowds(image.id)]
        found = [
            {"image_id": image.id, "category_id": o.category_id, "segmentation": o.rle, "score": 0.5} for o in objects
        ]
        for evaluator in evaluators:
            evaluator.update(image.id, copy.deepcopy(found))
        pixels = truth.image(image.id, 900)
        if not isinstance(pixels, str):
            draw(pixels, objects, truth.colours)
    for evaluator in evaluators[:-1]:
        evaluator.figures()
    evaluators[-1].matches()
    return dataset


@functools.cache
def _right_set(folder: Path) -> CocoDataset:
    return use_set(annotations(), folder)


def use_results(data: Any, folder: Path) -> None:
    """Read a results file for the right set as the command does, evaluate it, and draw it as a report does."""
    dataset = _right_set(folder)
    path = written(data, folder / "results.json")
    drawn = read_predictions(path, {1: (HEIGHT, WIDTH)}, 0.0)
    if not isinstance(drawn, str):
        draw(np.zeros((HEIGHT, WIDTH, 3), np.uint8), drawn[1].kept, GroundTruth(dataset, folder).colours)
    read = read_results(ResultsFile(path), dataset).by_image
    for make in EVALUATORS.values():
        evaluator = make(dataset)
        evaluator.update(1, read[1])
        evaluator.figures()


def tracebacks(right: Any, use: Callable[[Any, Path], Any], folder: Path) -> Iterator[str]:
    """Give a line for each variant that neither is used to the end nor refused in one line."""
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "a.png")
    for what, data in variants(right):
        try:
            use(data, folder)
        except UserError as error:
            if len(str(error)) > 1000:
                yield f"{what}: a line of {len(str(error))} characters"
        except BaseException as error:  # a panic of a native library is no Exception
            where = traceback.extract_tb(error.__traceback__)[-1]
            yield f"{what}: {type(error).__name__}: {error!s:.80} ({where.filename}:{where.lineno})"


if __name__ == "__main__":
    into = Path(sys.argv[1])
    found = [*tracebacks(annotations(), use_set, into), *tracebacks(results(), use_results, into)]
    print(*found, sep="\n")
    sys.exit(1 if found else 0)
