"""What a checkpoint's image processor says of the inputs, in the versions of the library that wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapters.transformers.families import Family
from adapters.transformers.inputs import PIXEL_MEAN, PIXEL_STD, Inputs, Resize
from adapters.transformers.zoo import read_json
from bench.errors import UserError

FILES = ("processor_config.json", "preprocessor_config.json")
"""Where the image processor stands: the library takes the first file's part ``image_processor`` before the second."""

_LONGEST = {"detr": 1333, "conditional_detr": 1333}
"""The longest edge that the library adds to a size that is one number, by the family; others need ``max_size``."""

_DIVIDED = ("mask2former", "maskformer")
"""The families whose image processor rounds the size up to multiples of ``size_divisor``, 32 by default."""

_INTERPOLATION = {2: "bilinear", 3: "bicubic"}
"""By Pillow's number, ``resample``."""

_FOLLOWED = ("do_resize", "do_rescale", "do_normalize")
_WITHOUT_EFFECT = ("do_pad", "do_convert_rgb", "do_convert_annotations", "do_reduce_labels")
"""Of images, which are RGB here, and of one batch; ``do_pad`` is what the network needs, whatever the file says."""


@dataclass(frozen=True)
class _Said:
    """What the file says.

    where: the checkpoint and the file, for messages
    kind: the ``model_type`` of the checkpoint
    """

    where: str
    kind: str
    family: Family
    content: Mapping[str, Any]

    def refused(self, key: str, right: str) -> UserError:
        """Give the error for a value that cannot be followed."""
        value = json.dumps(self.content.get(key))
        return UserError(f"{self.where} says {key}={value:.80}, which maskbench cannot follow; {right}")


def inputs_of(name: str, kind: str, family: Family, edges: tuple[int, int] | None) -> tuple[Inputs, tuple[str, ...]]:
    """Give the inputs that the image processor of a checkpoint makes, and notes where ours differ by decision.

    name: an id on the hub or a folder. kind: its ``model_type``. edges: in place of the file's resize, in pixels

    What the file does not say is the family's.

    Raises:
        UserError: it asks for what maskbench does not do.
    """
    file, content = _read(name)
    if file is None:
        shorter, longer = edges or family.edges
        note = (
            f"{name} has no {' and no '.join(FILES)}: images are resized to {shorter}x{longer} and normalised as the "
            f"family's published models are"
        )
        return Inputs(family.resize, shorter, longer), (note,)
    said = _Said(f"model.config={name}: {file}", kind, family, content)
    for key in (key for key, value in content.items() if key.startswith("do_") and value is True):
        if key not in (*_FOLLOWED, *_WITHOUT_EFFECT):
            raise said.refused(key, f"it must be false, and the network be trained with {key}=false")
    if content.get("pad_size") is not None:
        raise said.refused("pad_size", "it must be null; protocol.pad_to=true pads the inputs to one size")
    inputs, notes = _resized(said, edges)
    mean, std = _colours(said)
    return replace(inputs, interpolation=_interpolation(said), mean=mean, std=std), (*notes, *_division(said))


def _read(name: str) -> tuple[str | None, Mapping[str, Any]]:
    """Give the file that describes the image processor, None without one, and what it says."""
    whole, alone = FILES
    part = read_json(name, whole, needed=False).get("image_processor")
    if isinstance(part, dict):
        return whole, part
    content = read_json(name, alone, needed=False)
    return (alone, content) if content else (None, {})


def _resized(said: _Said, edges: tuple[int, int] | None) -> tuple[Inputs, tuple[str, ...]]:
    """Give the inputs with their resize, and a note where the file does not say the size of a square."""
    family, size, kind = said.family, said.content.get("size"), said.family.resize
    if edges is not None:
        return Inputs(kind, *edges), ()
    if said.content.get("do_resize") is False:
        raise said.refused("do_resize", f"it must be true with a size, or give {_typed(family)}")
    if size is None:
        shorter, longer = family.edges
        if kind is Resize.STRETCH:
            return Inputs(kind, shorter, longer), (
                f"{said.where} says no size: it is the family's, {shorter}x{longer}",
            )
        return Inputs(kind, shorter, longer), ()
    if isinstance(size, dict):
        found = {key: value for key, value in size.items() if value is not None}
    else:
        found = {"shortest_edge": size, "longest_edge": said.content.get("max_size", _LONGEST.get(said.kind))}
    pair = tuple(found.values())
    if all(isinstance(edge, int) and not isinstance(edge, bool) and edge > 0 for edge in pair):
        if found.keys() == {"shortest_edge", "longest_edge"} and kind is not Resize.STRETCH:
            return Inputs(kind, found["shortest_edge"], found["longest_edge"]), ()
        if found.keys() == {"height", "width"} and kind is Resize.STRETCH:
            return Inputs(kind, found["height"], found["width"]), ()
        if found.keys() == {"height", "width"} and kind is Resize.EDGES:
            height, width = found["height"], found["width"]
            return Inputs(kind, min(height, width), max(height, width), exact=(height, width)), ()
    forms = {
        Resize.EDGES: '{"shortest_edge": N, "longest_edge": N} or {"height": N, "width": N}',
        Resize.INSIDE: '{"shortest_edge": N, "longest_edge": N} with one N',
        Resize.STRETCH: '{"height": N, "width": N} with one N',
    }
    raise said.refused("size", f"it must be {forms[kind]}; or give {_typed(family)}")


def _typed(family: Family) -> str:
    shorter, longer = family.edges
    return f"input_size={shorter}x{longer}"


def _interpolation(said: _Said) -> str:
    resample = said.content.get("resample")
    if resample is None:
        return "bilinear"
    if isinstance(resample, bool) or resample not in _INTERPOLATION:
        raise said.refused("resample", "it must be 2 (bilinear) or 3 (bicubic)")
    return _INTERPOLATION[resample]


def _colours(said: _Said) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give mean and deviation of pixels divided by 255, which do what the file says of rescaling and normalising."""
    content = said.content
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if content.get("do_normalize") is not False:
        mean, std = _three(said, "image_mean", PIXEL_MEAN), _three(said, "image_std", PIXEL_STD)
    if 0 in std:
        raise said.refused("image_std", "its numbers must not be 0")
    factor = 1.0 if content.get("do_rescale") is False else content.get("rescale_factor")
    if factor is None:
        return mean, std
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or factor <= 0:
        raise said.refused("rescale_factor", "it must be a number above 0, such as 0.00392156862745098")
    scale = round(factor * 255, 9)  # 1/255 as a file writes it gives 1, and the numbers stay as they are
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def _three(said: _Said, key: str, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    """Give a number for each colour; one number in the file stands for all three."""
    value = said.content.get(key)
    if value is None:
        return otherwise
    values = list(value) if isinstance(value, (list, tuple)) else [value] * 3
    if len(values) != 3 or not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values):
        raise said.refused(key, "it must be a list of three numbers")
    return tuple(float(one) for one in values)


def _division(said: _Said) -> tuple[str, ...]:
    """Give the note on a size that the library rounds up."""
    divisor = said.content.get("size_divisor", 32)
    if said.kind not in _DIVIDED or not divisor:
        return ()
    return (
        f"the image processor of transformers stretches images to multiples of {divisor} pixels (size_divisor); they "
        f"are padded here to multiples of {said.family.stride}, as the paper's code does",
    )
