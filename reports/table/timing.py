"""The rounds and the warm-up of a timing, in words."""

from __future__ import annotations

from bench.schema.latency import images_per_second, rounds_of
from bench.schema.result import SpeedResult


def spread_between_rounds(speed: SpeedResult) -> float | None:
    """Highest minus lowest FPS of the rounds, as a share of their mean; None with one round."""
    fps = [images_per_second(speed.batch_size, part) or 0.0 for part in rounds_of(speed)]
    return (max(fps) - min(fps)) / (sum(fps) / len(fps)) if len(fps) > 1 else None


def rounds_text(speed: SpeedResult) -> str:
    """Number of rounds and their spread, ``3, 0.7 % apart``."""
    spread = spread_between_rounds(speed)
    return str(len(speed.rounds)) + ("" if spread is None else f", {100 * spread:.2g} % apart")


def warm_up_text(speed: SpeedResult) -> str:
    """Batches of the warm-up, the longest of all rounds, and whether latencies had stopped falling by then."""
    longest = max(len(part.warmup_ms) for part in speed.rounds)
    if not longest:
        return "none but the first call"
    stable = all(part.warmup_stable for part in speed.rounds)
    return f"{longest} batches, " + ("until they took no less time" if stable else "still getting faster at its end")
