"""The reasons why two results cannot be compared. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Collection
from typing import Any

from bench.errors import UserError, nearest
from bench.schema.result import Result
from bench.schema.settings import GATE, held_equal

CLOCKS_APART = 0.05
"""The share by which the median SM clocks of two measurements may differ for the two to be compared."""

_TIMED = ("speed", "busy", "energy")


FEWER_ROWS = "fewer_rows"
"""The name in ``gate.allow`` that lets the head have fewer rows than the base; it is no setting."""


def check_allowed(names: Collection[str]) -> None:
    """Raise a UserError for the first name of ``gate.allow`` that is neither a setting which a gate holds equal nor
    :data:`FEWER_ROWS`."""
    known = {setting.key for setting in held_equal(GATE)} | {FEWER_ROWS}
    for name in names:
        if name not in known:
            raise UserError(f"gate.allow={name}: no such difference; {nearest(name, known)}")


def obstacles(base: Result, head: Result, allowed: Collection[str] = ()) -> dict[str, str]:
    """Give, for each part in which two results cannot be compared, the reason; other parts are absent.

    allowed: the keys of settings that may differ

    A fact of the machine that one result lacks is no reason: another setting, such as the device, tells the difference.
    """
    reasons: dict[str, list[str]] = {}
    for setting in held_equal(GATE):
        of_base, of_head = setting.equal(base), setting.equal(head)
        unknown = None in (of_base, of_head) and not setting.config
        if setting.key in allowed or of_base == of_head or unknown:
            continue
        for part in setting.parts:
            reasons.setdefault(part, []).append(f"{setting.words} {_text(of_base)} against {_text(of_head)}")
    if "clocks" not in allowed and (apart := _clocks_apart(base, head)):
        for part in _TIMED:
            reasons.setdefault(part, []).append(apart)
    return {part: "; ".join(texts) for part, texts in reasons.items()}


def _clocks_apart(base: Result, head: Result) -> str | None:
    """Give a sentence where the GPU ran at another clock, else None."""
    of_base, of_head = _median_clock(base), _median_clock(head)
    if of_base is None or of_head is None or abs(of_head - of_base) <= CLOCKS_APART * of_base:
        return None
    return f"SM clock {of_base:.0f} MHz against {of_head:.0f} MHz (medians while it was timed)"


def _median_clock(result: Result) -> float | None:
    rounds = result.speed.rounds if result.speed else []
    clocks = [mhz for part in rounds if part.gpu for mhz in part.gpu.sm_clock_mhz if mhz is not None]
    return statistics.median(clocks) if clocks else None


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
