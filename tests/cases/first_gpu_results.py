"""The results of the first run on a GPU, in files of the first schema, as results of today's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[3] / "shared" / "gpu-results" / "h200-2026-11-26" / "jobs"
"""Where they lie beside the project; nothing in the project has them."""


def write_first_gpu_results(folder: Path, source: Path = SOURCE) -> Path:
    """Write the results below ``folder`` as files of today's schema, with other names for the same figures."""
    from bench.schema.result import SCHEMA_VERSION

    for path in sorted(source.glob("*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        result["schema_version"] = SCHEMA_VERSION
        result["flops"] = _flops(result["model"])
        for part in (result["speed"] or {}).get("rounds", ()):
            _rename(part, "card", "gpu")
            if part.get("gpu"):
                _rename(part["gpu"], "held_down", "throttled")
        new = folder / "jobs" / path.parent.name / "result.json"
        new.parent.mkdir(parents=True)
        new.write_text(json.dumps(result), encoding="utf-8")
    return folder


def _flops(model: dict[str, Any] | None) -> dict[str, Any] | None:
    mean, std = (model.pop(f"flops_{name}", None) for name in ("mean", "std")) if model else (None, None)
    return None if mean is None else {"mean": mean, "std": std, "images": 2}


def _rename(part: dict[str, Any], old: str, new: str) -> None:
    if old in part:
        part[new] = part.pop(old)
