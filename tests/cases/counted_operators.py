"""Counts what a call asks of the device: its operators by name, and the bytes that it sends there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class CountedOperators(TorchDispatchMode):
    """A context that counts the operators of ATen that are called in it, in ``counts``.

    Each costs the host some microseconds to launch. Those that wait for a GPU are ``_local_scalar_dense`` (``.item()``,
    ``.tolist()``, ``int()``), ``is_nonzero`` (``bool()``), ``nonzero``, and indexing by booleans, whose name says so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.").removesuffix(".default")
        indices = args[1] if name == "index.Tensor" else ()
        if any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices):
            name += " by booleans"
        self.counts[name] += 1
        return func(*args, **(kwargs or {}))


class BytesToDevice(TorchFunctionMode):
    """A context that adds up in ``images`` the bytes of images (3, h, w) that ``Tensor.to`` is asked to send.

    It counts on a CPU too, where nothing is sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        asked = (*args[1:], *(kwargs or {}).values())
        if func is torch.Tensor.to and any(isinstance(value, (torch.device, str)) for value in asked):
            [tensor] = args[:1]
            self.images += tensor.nbytes if tensor.ndim == 3 and len(tensor) == 3 else 0
        return func(*args, **(kwargs or {}))
