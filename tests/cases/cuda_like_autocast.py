"""Imitates on a CPU what autocast does on a GPU, so that failures of mixed types are seen without one.

The two autocasts cast other operators: a GPU's upsamples in float32, and a CPU's in the type that it is given. So a
network that fails on a GPU under fp16 may run on a CPU, and the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch._C import DispatchKey, DispatchKeySet, _ExcludeDispatchKeyGuard
from torch.utils._pytree import tree_map

KEY = "AutocastCPU"
BELOW = DispatchKeySet(DispatchKey.AutocastCPU)
Operator = Callable[..., Any]


def cast_lists() -> dict[str, list[str]]:
    """Read the operators that a GPU's autocast casts from the header of the installed torch, ``autocast_mode.h``.

    Gives names such as ``pow.Tensor_Scalar`` under ``LOWER_PRECISION_FP``, ``FP32``, ``FP32_SET_OPT_DTYPE`` and
    ``PROMOTE``.
    """
    header = (Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h").read_text(encoding="utf-8")
    lists = {}
    for policy in ("LOWER_PRECISION_FP", "FP32", "FP32_SET_OPT_DTYPE", "PROMOTE"):
        [block] = re.findall(rf"#define AT_FORALL_{policy}\(_\)((?:.*\\\n)*.*\n)", header)
        entries = re.findall(r"_\((\w+)(?:, (\w+))?\)", block)
        lists[policy] = [name + (f".{overload}" if overload else "") for name, overload in entries]
    return lists


@contextmanager
def cuda_like_autocast() -> Iterator[None]:
    """Let ``torch.autocast("cpu", ...)`` cast the operators that a GPU's casts, and no others, while it is open.

    What is computed in the lower precision is rounded to it before and after, and computed in float32, as a GPU's
    tensor cores do; on a CPU that is quicker too.
    """
    lists = cast_lists()
    library = torch.library.Library("aten", "IMPL")
    makers = {"LOWER_PRECISION_FP": _lower, "FP32": _float32, "FP32_SET_OPT_DTYPE": _float32, "PROMOTE": _widest}
    cast = {name: makers[policy] for policy, names in lists.items() for name in names}
    try:
        for name in torch._C._dispatch_get_registrations_for_dispatch_key(KEY):
            own = name.removeprefix("aten::").removesuffix(".default")
            if name.startswith("aten::") and own not in cast:
                library.impl(own, torch.library.fallthrough_kernel, KEY)
        for name, maker in cast.items():
            packet, _, overload = name.partition(".")
            operator = getattr(getattr(torch.ops.aten, packet), overload or "default")
            library.impl(name, maker(operator), KEY)
        yield
    finally:
        library._destroy()


def _lower(operator: Operator) -> Operator:
    """Compute on values that are rounded to the lower precision, and round the result."""

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with _ExcludeDispatchKeyGuard(BELOW):
            lower = torch.get_autocast_dtype("cpu")
            rounded = _cast((args, kwargs), lower)
            args, kwargs = _cast(rounded, torch.float32)
            return _cast(operator(*args, **kwargs), lower)

    return kernel


def _float32(operator: Operator) -> Operator:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with _ExcludeDispatchKeyGuard(BELOW):
            args, kwargs = _cast((args, kwargs), torch.float32)
            return operator(*args, **kwargs)

    return kernel


def _widest(operator: Operator) -> Operator:
    """Compute in float32 where one of the tensors is, else in the lower precision."""

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with _ExcludeDispatchKeyGuard(BELOW):
            types = {t.dtype for t in torch.utils._pytree.tree_leaves((args, kwargs)) if _floating(t)}
            if torch.float32 in types:
                args, kwargs = _cast((args, kwargs), torch.float32)
            return operator(*args, **kwargs)

    return kernel


def _floating(value: Any) -> bool:
    """Whether autocast casts it: a tensor of floating-point numbers that are not float64."""
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64


def _cast(values: Any, dtype: torch.dtype) -> Any:
    return tree_map(lambda value: value.to(dtype) if _floating(value) else value, values)
