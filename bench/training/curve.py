"""The curve of a training: the mean losses of every few iterations, for the result, the log and the progress bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.schema.config import FinetuneConfig
from bench.schema.parts.training import FinetuneResult

OnProgress = Callable[..., None]


@dataclass
class Window:
    """The iterations since the last entry of the curve.

    sums: the sum of each loss over them, by name
    iterations: how many they are
    seconds: how long they took
    """

    sums: dict[str, float] = field(default_factory=dict)
    iterations: int = 0
    seconds: float = 0.0

    def add(self, losses: Mapping[str, float], seconds: float) -> None:
        """Add one iteration."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.iterations += 1
        self.seconds += seconds

    def means(self) -> dict[str, float]:
        """Return the mean of each loss over the iterations, by name."""
        return {name: value / self.iterations for name, value in self.sums.items()}


def start_text(result: FinetuneResult, config: FinetuneConfig, batch_size: int) -> str:
    """Say what a training starts from, or goes on from, and how many images an iteration takes.

    Args:
        batch_size: of the measurement
    """
    anew = len(result.reinitialised)
    start = "random values" if result.start == "scratch" else result.start
    text = f"starts from {start}" + (f", {anew} parameters anew" if anew else "")
    if result.done:
        text = f"goes on; it started from {start}"
    text += f"; {config.batch_size * config.accumulate} images an iteration"
    if batch_size not in (1, config.batch_size):
        text += f" by finetune.batch_size; batch_size={batch_size} is that of the measurement"
    return text


def add_entry(
    result: FinetuneResult,
    window: Window,
    iteration: int,
    learning_rate: float,
    images_an_iteration: int,
    progress: OnProgress,
) -> None:
    """Add an entry to the curve of the result, print it and show it beside the progress bar.

    Args:
        iteration: how many iterations are done
        learning_rate: of the last one
    """
    means = window.means()
    images = window.iterations * images_an_iteration
    result.images_per_second = images / max(window.seconds, 1e-9)
    result.curve.append({"iteration": iteration, "learning_rate": learning_rate, **means})
    words = " ".join(f"{name} {value:.4f}" for name, value in means.items())
    left = (result.iterations - iteration) * window.seconds / max(window.iterations, 1)
    print(
        f"iteration {iteration}/{result.iterations} lr {learning_rate:.2e} {words} "
        f"({result.images_per_second:.1f} images/s, {left / 60:.0f} min left)",
        flush=True,
    )
    shown = " ".join(f"{name} {value:.3f}" for name, value in means.items() if name != "total")
    progress("finetune", iteration, result.iterations, images, f"loss {means['total']:.3f} ({shown})")
