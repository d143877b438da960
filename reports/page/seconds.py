"""Where the seconds of a job went, as a table of its details."""

from __future__ import annotations

from bench.schema.result import ALL_SECONDS_PARTS, Result

NAMES = {
    "start": "start of the interpreter",
    "import": "imports of torch and the library",
    "data": "data set",
    "build": "model, its weights and the device's context",
    "finetune": "training",
    "warm_up": "warm-up",
    "end": "end of the process",
    "wait": "waiting, and maskbench itself",
}
"""What a part is called for a reader; a pass has its own name."""


def seconds_table(result: Result) -> list[tuple[str, str, str]]:
    """Give the name, the seconds and the percentage of each part of a job's time, in the order in which they came.

    A part of less than a tenth of a second is left out.
    """
    parts, total = result.seconds_by_part, sum(result.seconds_by_part.values())
    known = [part for part in ALL_SECONDS_PARTS if part in parts]
    return [
        (NAMES.get(part, part), f"{parts[part]:.1f}", f"{100 * parts[part] / total:.0f}")
        for part in (*known, *(part for part in parts if part not in known))
        if parts[part] >= 0.05
    ]
