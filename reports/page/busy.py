"""What the GPU did, as a page shows it: its share of the time, what it ran, and what it waited for."""

from __future__ import annotations

from typing import Any

from bench.schema.facts import gpu_busy
from bench.schema.marks import busy_percent
from bench.schema.result import Result


def busy_details(result: Result) -> dict[str, Any] | None:
    """Give a sentence, and the lines of two small tables; None where it was not measured.

    most: name, milliseconds and runs in a batch, and the share of the GPU's work, of what took most time
    gaps: milliseconds and the function of the longest gaps of one batch
    """
    busy = result.busy
    share = gpu_busy(busy) if busy else None
    if busy is None or share is None:
        return None
    count = busy.batches
    computed, plain, profiled = (part / count for part in (busy.busy_ms, busy.plain_ms, busy.profiled_ms))
    if computed <= plain:
        time = (
            f"{computed:.1f} of {plain:.1f} ms a batch, {busy_percent(share)} % of the time ({profiled:.1f} ms under "
            "torch's profiler, which slows launching)"
        )
    else:
        time = (
            f"{computed:.1f} of {profiled:.1f} ms a batch under torch's profiler; a batch takes only {plain:.1f} ms "
            "without it, so the share of the time counts as 100 %"
        )
    return {
        "sentence": (
            f"In {count} batch{'es' if count > 1 else ''} at the model boundary the GPU computed or copied for "
            f"{time}. It ran "
            f"{busy.kernels / count:.0f} kernels and {busy.copies / count:.0f} copies a batch."
        ),
        "most": [
            (
                work.name,
                f"{work.milliseconds / count:.2f}",
                f"{work.count / count:.4g}",
                f"{100 * work.milliseconds / busy.busy_ms:.0f} %" if busy.busy_ms else "",
            )
            for work in busy.most
        ],
        "gaps": [(f"{gap.milliseconds:.2f}", gap.function or "not known") for gap in busy.gaps],
    }
