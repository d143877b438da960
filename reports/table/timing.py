"""Describe the rounds and the warm-up of a timing."""

from __future__ import annotations

from bench.schema.latency import images_per_second, rounds_of
from bench.schema.parts.speed import SpeedResult


def spread_between_rounds(speed: SpeedResult) -> float | None:
    """Give the highest minus the lowest FPS of the rounds, as a share of their mean; None with one round."""
    fps = [images_per_second(speed.batch_size, part) or 0.0 for part in rounds_of(speed)]
    return (max(fps) - min(fps)) / (sum(fps) / len(fps)) if len(fps) > 1 else None


def rounds_text(speed: SpeedResult) -> str:
    """Give the number of rounds and their spread: ``3, 0.7 % apart``."""
    spread = spread_between_rounds(speed)
    return str(len(speed.rounds)) + ("" if spread is None else f", {100 * spread:.2g} % apart")


def warm_up_text(speed: SpeedResult) -> str:
    """Give the number of batches of the longest warm-up, and whether latencies stopped falling in every round."""
    longest = max(len(part.warmup_ms) for part in speed.rounds)
    if not longest:
        return "none but the first call"
    stable = all(part.warmup_stable for part in speed.rounds)
    return f"{longest} batches, " + ("until they took no less time" if stable else "still getting faster at its end")
