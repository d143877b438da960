"""What a picture follows from, as a digest: while it is the same, the picture would be drawn the same again."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import time
import uuid
from array import array
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from bench.data.ids import Id
from bench.files.digests import sha256_of
from bench.schema.row import Row
from reports.masks.ground_truth import Datasets, measured_on, predictions_path, predictions_sha256
from reports.table.columns import dataset_name
from reports.table.comparison import Comparison

LIBRARIES = ("contourpy", "jinja2", "matplotlib", "numpy", "pandas", "pillow", "pycocotools", "vl-convert-python")

MOST_HASHED_BYTES = 64 << 20
"""A larger file is known by its state and not by its content, which takes longer to read than to draw from."""

AT_REST_SECONDS = 2.0
"""A change within the smallest step of a file system's clock would leave the state as it is."""


def key(*parts: Any) -> str:
    """Give the digest of what a picture follows from: these parts, our code and the libraries that draw."""
    return hashlib.sha256(repr((code(), parts)).encode("utf-8", "backslashreplace")).hexdigest()


@functools.cache
def code() -> str:
    """Give a digest of all that turns a result into a picture: the files of this package and of bench, and versions."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256(repr((sys.version, [_version(name) for name in LIBRARIES])).encode())
    for package in ("bench", "reports"):
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".html", ".css", ".js") and path.is_file():
                digest.update(f"{path.relative_to(root)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def of_row(row: Row) -> str:
    """Give a digest of a row's result as it is held, which the file may no longer have."""
    content = msgspec.json.encode((row.shown, row.result), enc_hook=_plain)
    return hashlib.sha256(content).hexdigest()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, array) else repr(value)


def of_file(path: Path) -> object:
    """Give what tells a file from any other that may stand in its place; None where there is none."""
    try:
        state = os.stat(path)
        if state.st_size <= MOST_HASHED_BYTES:
            return sha256_of(path)
    except OSError:
        return None
    if time.time() - max(state.st_mtime, state.st_ctime) < AT_REST_SECONDS:
        return uuid.uuid4().hex
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def of_masks(
    comparison: Comparison, rows: Sequence[int], image_ids: Sequence[Id], datasets: Datasets
) -> tuple[object, ...]:
    """Give what the masks of rows on some images follow from."""
    first = comparison.rows[rows[0]]
    truth = datasets.of(first)
    images = [] if truth is None else [of_file(truth.images[i].path) for i in image_ids if i in truth.images]
    return (dataset_name(first), measured_on(first), images, [_of_masks(comparison, number) for number in rows])


def _of_masks(comparison: Comparison, number: int) -> tuple[object, ...]:
    row = comparison.rows[number]
    accuracy = row.result.accuracy
    most = accuracy.max_detections if accuracy else None
    told = (number, comparison.labels[number], row.result.status, row.random_weights, most)
    return (*told, of_file(predictions_path(row)), predictions_sha256(row))
