"""What the options, the file and its layout together say of layout and preprocessing: the first that says it counts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.onnx.file import OnnxFile
from adapters.onnx.frame import Preprocessing
from adapters.onnx.layouts import Layout
from adapters.onnx.telling import Port
from bench.errors import UserError, nearest

RESIZES = ("letterbox", "fit", "stretch", "none")
CHANNELS = ("rgb", "bgr")
ROUNDINGS = ("nearest", "down", "shorter")
MASKS = ("boxes", "input")

OF_OUTPUTS = ("layout", "labels", "nms_iou", "masks")


def check(layout: Any, nms_iou: Any, masks: Any) -> None:
    """Check the options that are of the outputs.

    Raises:
        UserError: a value is none that the option can have.
    """
    if layout is not None and not isinstance(layout, str):
        raise UserError(f"model.options.layout={layout}: must be the name of a layout, see docs/runtimes.md")
    if not _is_number(nms_iou) or not 0 < nms_iou <= 1:
        raise UserError(f"model.options.nms_iou={nms_iou}: must be an IoU, above 0 and at most 1, such as 0.7")
    if masks is not None and masks not in MASKS:
        raise UserError(f"model.options.masks={masks}: no such word; {nearest(str(masks), MASKS)}")


def preprocessing(
    file: OnnxFile, layout: Layout, fixed: tuple[int, int] | None, options: Mapping[str, Any], whole_values: bool
) -> Preprocessing:
    """Settle what becomes of an image before the network.

    fixed: (H, W) of the file's input; None where it takes any
    options: those of :class:`Preprocessing` that the user gave; None is not given
    whole_values: whether the file's input is of uint8, and so of 0 to 255

    Raises:
        UserError: a value is none that it can have, or neither options, file nor layout say it.
    """
    given = {key: value for key, value in options.items() if value is not None}
    known = {field.name for field in dataclasses.fields(Preprocessing)}
    for key in given.keys() - known:
        raise UserError(f"model.options.{key}: no such option; {nearest(key, [*known, *OF_OUTPUTS])}")
    told = {**{key: value for key, value in file.told.items() if key in known}, **given}
    if whole_values:
        told = {**AS_THEY_ARE, **told}
    lacking = [key for key in ("resize", "mean", "std") if key not in told]
    if layout.preprocessing is None and lacking:
        raise UserError(
            f"{file.path}: neither the file nor its layout {layout.name} tells {', '.join(lacking)} of the images; "
            f"give them as it was trained, such as model.options.resize=fit model.options.mean=[0.485,0.456,0.406] "
            f"model.options.std=[0.229,0.224,0.225]"
        )
    base = layout.preprocessing or Preprocessing("fit")
    if fixed is not None and "size" not in given and told.get("resize", base.resize) != "fit":
        told.pop("size", None)
    how = dataclasses.replace(base, **_checked(told))
    if whole_values:
        _refuse_fractions(how, file)
    _check_size(how, fixed, "size" in given, file)
    _check_range(how)
    return how


AS_THEY_ARE: Mapping[str, Any] = {"value_range": 255, "mean": [0, 0, 0], "std": [1, 1, 1]}
"""What becomes of pixels for an input of uint8: it holds nothing else."""


def _refuse_fractions(how: Preprocessing, file: OnnxFile) -> None:
    """Refuse pixels that an input of uint8 cannot hold: they would be cut to whole values, most of them to 0."""
    if (how.value_range, how.mean, how.std) != (255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)):
        raise UserError(
            f"{file.path.name}: its input is uint8, so it takes pixels of 0 to 255 as they are; leave "
            f"model.options.value_range, mean and std out"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value == int(value)


def _check_kinds(values: Mapping[str, Any]) -> None:
    """Refuse single values of another kind than the option has."""
    for key in ("antialias", "in_float"):
        if key in values and not isinstance(values[key], bool):
            raise UserError(f"model.options.{key}={values[key]}: must be true or false")
    if "value_range" in values and not (_is_whole(values["value_range"]) and values["value_range"] in (1, 255)):
        raise UserError(f"model.options.value_range={values['value_range']}: must be 1 or 255")
    if "multiple" in values and not (_is_whole(values["multiple"]) and values["multiple"] >= 1):
        raise UserError(f"model.options.multiple={values['multiple']}: must be a whole number of pixels from 1")
    if "pad_value" in values and not (_is_number(values["pad_value"]) and 0 <= values["pad_value"] <= 255):
        raise UserError(f"model.options.pad_value={values['pad_value']}: must be a number from 0 to 255")


def _checked(told: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values in the types of :class:`Preprocessing`."""
    values = dict(told)
    _check_kinds(values)
    for key in {"value_range", "multiple"} & values.keys():
        values[key] = int(values[key])
    for key, words in (("resize", RESIZES), ("channels", CHANNELS), ("rounding", ROUNDINGS)):
        if key in values and values[key] not in words:
            raise UserError(f"model.options.{key}={values[key]}: no such word; {nearest(str(values[key]), words)}")
    for key, length in (("mean", 3), ("std", 3), ("size", 2)):
        if key in values:
            values[key] = _numbers(key, values[key], length)
    if "size" in values:
        shorter, longer = values["size"]
        if not all(_is_whole(edge) and edge >= 1 for edge in (shorter, longer)):
            raise UserError(f"model.options.size={list(told['size'])}: must be two whole numbers of pixels from 1")
        values["size"] = int(min(shorter, longer)), int(max(shorter, longer))
    if "std" in values and min(values["std"]) <= 0:
        raise UserError(f"model.options.std={list(values['std'])}: must be above 0")
    return values


def _numbers(key: str, value: Any, length: int) -> tuple[float, ...]:
    numbers = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if len(numbers) != length or not all(map(_is_number, numbers)):
        raise UserError(f"model.options.{key}={value}: must be a list of {length} numbers")
    return tuple(float(number) for number in numbers)


def _check_size(how: Preprocessing, fixed: tuple[int, int] | None, given: bool, file: OnnxFile) -> None:
    if given and how.resize in ("stretch", "none"):
        why = "stretches every image to its own size" if how.resize == "stretch" else "resizes images by itself"
        raise UserError(f"input_size: {file.path.name} {why}; leave input_size and model.options.size out")
    if given and fixed is not None and how.size != tuple(file.told.get("size", sorted(fixed))):
        raise UserError(
            f"input_size: {file.path.name} has no dynamic axes for height and width: it takes {fixed[0]}x{fixed[1]} "
            f"(height x width) alone; leave input_size and model.options.size out, or export it with dynamic axes"
        )
    if fixed is None and how.resize == "stretch":
        raise UserError(
            f"{file.path.name}: its input has no height and width of its own to stretch images to; export it with a "
            f"fixed size, or give model.options.resize=fit and input_size=800x1333, if it was trained so"
        )
    if fixed is None and how.resize in ("letterbox", "fit") and how.size is None:
        raise UserError(
            f"{file.path.name}: its input takes any height and width, and nothing says to which size images are "
            f"scaled; give the size that it was trained with, as input_size=640x640"
        )


def _check_range(how: Preprocessing) -> None:
    """Refuse mean and deviation that are of pixels of the other range: nothing would fail, and AP would be near 0."""
    beyond = max(abs(value) for value in (*how.mean, *how.std))
    if how.value_range == 1 and beyond > 3:
        raise UserError(
            f"model.options.mean={list(how.mean)}: mean and std are of pixels of 0 to 255; give "
            f"model.options.value_range=255 too"
        )
    if how.value_range == 255 and any(how.mean) and beyond <= 3:
        raise UserError(
            f"model.options.mean={list(how.mean)}: mean and std are of pixels of 0 to 1; leave "
            f"model.options.value_range out"
        )


def fixed_size(image: Port) -> tuple[int, int] | None:
    """Give the height and width of a file's input; None where it takes any."""
    height, width = image.shape[-2:]
    return None if height is None or width is None else (height, width)


def image_input(inputs: Sequence[Port], path: object) -> Port:
    """Give the one input, a batch of images (B, 3, H, W) or one image (3, H, W).

    Raises:
        UserError: there are others, or its channels do not come before height and width.
    """
    has = ", ".join(port.words() for port in inputs)
    if len(inputs) != 1:
        raise UserError(
            f"{path}: its inputs are {has}, must be one alone, the images; export the network without others"
        )
    [image] = inputs
    if image.rank not in (3, 4) or image.shape[-3] not in (3, None):
        raise UserError(f"{path}: its input is {has}, must be images (B, 3, H, W); export it with the channels first")
    return image
