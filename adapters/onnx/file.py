"""Read what an ONNX file says of itself: operators' version, precision, metadata."""

from __future__ import annotations

import ast
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from adapters.onnx import precision
from bench.errors import UserError

METADATA_KEY = "maskbench"
"""The key of the metadata under which our own export says, as JSON, what a file's inputs and outputs mean."""

ORIGIN_KEY = "maskbench_origin"
"""The key of the metadata under which ``maskbench export`` says, as JSON, which weights a file was exported from."""


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file says of itself.

    path: as the user gave it
    opset: version of the operators of the default domain
    precision: the lowest type in which its convolutions and matrix products compute: ``fp32``, ``fp16``, ``bf16``,
        ``int8``
    classes: the class names in its metadata, by label; None without any
    told: what our own export, or Ultralytics', wrote about layout and preprocessing, by the names of the options;
        ``labels`` is then our label of each label of the file, -1 for none
    origin: what ``maskbench export`` wrote about where the file is from: ``weights_sha256``, ``network_sha256``,
        ``input_size`` where it was another than the model's own, and ``calibration`` of an int8 file
    notes: what a reader of the row must know of it
    rounds_features: whether a RoIAlign of it reads features that were rounded to 8 bits just before
    antialiases: whether an operator of it scales values with antialiasing
    outputs: the names of its outputs
    """

    path: Path
    opset: int
    file_bytes: int
    precision: str
    classes: tuple[str, ...] | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rounds_features: bool = False
    antialiases: bool = False
    outputs: tuple[str, ...] = ()

    @property
    def calibration_notes(self) -> tuple[str, ...]:
        """By which images an int8 file was calibrated."""
        if self.precision != "int8":
            return ()
        if "calibration" in self.origin:
            return (f"int8, calibrated on {self.origin['calibration']}",)
        return (
            "int8, and the file does not say by which images it was calibrated: if by those that AP counts, AP is too "
            "high",
        )


def read_onnx(path: Path) -> OnnxFile:
    """Read a file without its weights' values.

    Raises:
        UserError: it is no whole ONNX file, or keeps its weights in another file.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError among others
        raise UserError(
            f"model.weights={path}: no whole ONNX file ({_short(error)}); export or copy it anew"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise UserError(f"model.weights={path}: no whole ONNX file (it holds no network); export or copy it anew")
    outside = next((t.name for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL), None)
    if outside is not None:
        joined = path.with_name(f"{path.stem}_whole.onnx")
        raise UserError(
            f"model.weights={path}: its weights are in another file (first: {outside}), whose content a row could not "
            f"tell; join both with: python -c \"import onnx; onnx.save(onnx.load('{path}'), '{joined}')\""
        )
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    classes, told = _own(metadata, path) if METADATA_KEY in metadata else _of_ultralytics(metadata, path)
    word, note = precision.told(model)
    if word not in precision.RISING:
        raise UserError(
            f"model.weights={path}: its convolutions and matrix products compute in {word}, and maskbench measures "
            f"{', '.join(reversed(precision.RISING))}; export it in one of these"
        )
    notes = (note,) if note else ()
    size, origin, rounds = path.stat().st_size, _origin(metadata, path), bool(precision.reads_rounded(model))
    outputs, antialiases = tuple(output.name for output in model.graph.output), precision.antialiases(model)
    return OnnxFile(path, opset, size, word, classes, told, origin, notes, rounds, antialiases, outputs)


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _own(metadata: Mapping[str, str], path: Path) -> tuple[tuple[str, ...] | None, dict[str, Any]]:
    """Read the metadata that :func:`describe` writes."""
    try:
        told = dict(json.loads(metadata[METADATA_KEY]))
        names = [None if name is None else str(name) for name in told.pop("labels")]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"model.weights={path}: its metadata {METADATA_KEY!r} cannot be read; export the file anew"
        ) from error
    classes = tuple(name for name in names if name is not None)
    places = iter(range(len(classes)))
    return classes, {**told, "labels": [-1 if name is None else next(places) for name in names]}


def _origin(metadata: Mapping[str, str], path: Path) -> dict[str, str]:
    """Read where a file is from; {} of one that says nothing of it."""
    try:
        return {str(key): str(value) for key, value in json.loads(metadata.get(ORIGIN_KEY, "{}")).items()}
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"model.weights={path}: its metadata {ORIGIN_KEY!r} cannot be read; export the file anew"
        ) from error


def _of_ultralytics(metadata: Mapping[str, str], path: Path) -> tuple[tuple[str, ...] | None, dict[str, Any]]:
    """Read what Ultralytics writes: ``names`` is a dict of Python, ``imgsz`` a list of height and width."""
    told: dict[str, Any] = {}
    try:
        names = ast.literal_eval(metadata.get("names", "None"))
        if "names" in metadata and "imgsz" in metadata:
            height, width = (operator.index(edge) for edge in ast.literal_eval(metadata["imgsz"]))
            told["size"] = [min(height, width), max(height, width)]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise UserError(
            f"model.weights={path}: its metadata 'names' or 'imgsz' cannot be read ({_short(error)})"
        ) from error
    return _names(names, path), told


def _names(names: Any, path: Path) -> tuple[str, ...] | None:
    """Give the class names of a dict by label or of a list; None where there are none."""
    if isinstance(names, dict):
        if not all(type(label) is int for label in names) or sorted(names) != list(range(len(names))):
            raise UserError(
                f"model.weights={path}: the labels in its metadata 'names' are not 0 to {len(names) - 1}; give "
                f"model.classes=[...] and a file without them"
            )
        names = [names[label] for label in range(len(names))]
    if names is not None and not isinstance(names, (list, tuple)):
        raise UserError(
            f"model.weights={path}: its metadata 'names' is a {type(names).__name__}, must be class names by label, "
            f"such as {{0: 'cat', 1: 'dog'}}; give model.classes=[...] and a file without it"
        )
    return tuple(map(str, names)) if names else None


def describe(path: Path, layout: str, labels: Sequence[str | None], **preprocessing: Any) -> None:
    """Write the metadata into a file, in place.

    labels: the class of each label of the outputs, None for those that are no class
    preprocessing: fields of :class:`adapters.onnx.frame.Preprocessing`
    """
    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps({"layout": layout, "labels": list(labels), **preprocessing})
    onnx.save(model, str(path))
