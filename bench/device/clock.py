"""The clocks that time calls on a device, and a timer for single functions of a library."""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from bench.errors import UserError

T = TypeVar("T")


class Clock:
    """A clock that times calls on one device, and waits for the device before and after each call.

    On a GPU the latency comes from CUDA events, and the host's clock runs around the same call. On other devices the
    host's clock (``time.perf_counter``) is the only one.

    Its methods raise a UserError where the clock gives a time that cannot be, such as 0 ms.
    """

    def __init__(self, device: torch.device) -> None:
        self.events = device.type == "cuda"
        self.name = "cuda_event" if self.events else "perf_counter"
        self._device = device

    def synchronize(self) -> None:
        """Wait until the device has finished all its work."""
        if self._device.type != "cpu":
            getattr(torch, self._device.type).synchronize(self._device)

    def time(self, call: Callable[[], T]) -> tuple[T, float, float | None]:
        """Return the call's value, its latency in milliseconds, and the host's milliseconds.

        The last is None where the latency itself comes from the host's clock.
        """
        if not self.events:
            value, latency_ms = self.time_on_host(call)
            return value, latency_ms, None
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

        def recorded() -> T:
            start.record()
            value = call()
            end.record()
            return value

        value, wall_ms = self.time_on_host(recorded)
        return value, _sane(start.elapsed_time(end)), wall_ms

    def time_on_host(self, call: Callable[[], T]) -> tuple[T, float]:
        """Return the call's value and its milliseconds by the host's clock; the device is idle before and after it."""
        self.synchronize()
        began = time.perf_counter_ns()
        value = call()
        self.synchronize()
        return value, _sane((time.perf_counter_ns() - began) / 1e6)


def _sane(milliseconds: float) -> float:
    if not milliseconds > 0:
        raise UserError(
            f"the clock says that a batch took {milliseconds:g} ms: it is not fit for timing on this machine"
        )
    return milliseconds


class MaskFunctionTimer(contextlib.AbstractContextManager["MaskFunctionTimer"]):
    """Wraps library functions ("package.module:Class.method") and adds up the milliseconds that are spent in them."""

    def __init__(self, functions: Sequence[str], clock: Clock) -> None:
        self.spent_ms = 0.0
        self._functions = functions
        self._clock = clock
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> MaskFunctionTimer:
        for name in self._functions:
            module_name, _, path = name.partition(":")
            *parents, attribute = path.split(".")
            owner = functools.reduce(getattr, parents, importlib.import_module(module_name))
            original = getattr(owner, attribute)
            timed = self._timed(original)
            # getattr has unwrapped or bound a staticmethod or classmethod; its own form is in the class's dictionary.
            own_form = vars(owner).get(attribute)
            unbound = isinstance(own_form, (staticmethod, classmethod))
            setattr(owner, attribute, staticmethod(timed) if unbound else timed)
            if own_form is None:
                self._undo.callback(delattr, owner, attribute)
            else:
                self._undo.callback(setattr, owner, attribute, own_form)
        return self

    def __exit__(self, *exc: object) -> None:
        self._undo.close()

    def _timed(self, function: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> T:
            value, latency_ms, _ = self._clock.time(lambda: function(*args, **kwargs))
            self.spent_ms += latency_ms
            return value

        return timed
