"""Test what a training starts from, what is said of one that was stopped, and how much time its evaluations take."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result, build_training
from python_path import python_path

from bench.errors import UserError
from bench.jobs.validate import _check_finetune
from bench.schema.config import FinetuneConfig
from bench.schema.parts.training import FinetuneResult
from bench.schema.result import write_result
from bench.training.evaluations import EvaluationPlan
from bench.weights.load import load_checkpoint
from reports.table.comparison import load
from reports.text.training import iterations_done, training_facts

Command = Callable[..., "subprocess.CompletedProcess[str]"]

TRAIN = [
    *("model=custom", "model._target_=trainable.Painter", "finetune=default", "finetune.log_every=1"),
    *("finetune.checkpoint_every=4", "finetune.batch_size=2", "finetune.learning_rate=0.05", "passes=[accuracy]"),
]


def on(bright_squares: list[str]) -> list[str]:
    return [*bright_squares, *(a.replace("dataset.", "dataset.train.") for a in bright_squares if "dataset." in a)]


def result_of(out: Path) -> dict[str, Any]:
    (path,) = out.glob("jobs/*/result.json")
    return {**json.loads(path.read_text()), "folder": path.parent}


def test_a_start_at_auto_takes_the_weights_that_the_command_names(
    run_command: Command, bright_squares: list[str], tmp_path: Path
) -> None:
    one = [*TRAIN, *on(bright_squares), "finetune.iterations=4"]
    first = run_command(*one, "batch_size=4", f"out={tmp_path / 'one'}")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "iteration 0 of 4: starts from random values; 2 images an iteration by finetune.batch_size;" in first.stdout
    assert "batch_size=4 is that of the measurement" in first.stdout
    trained = result_of(tmp_path / "one")
    weights = trained["folder"] / "last.safetensors"

    second = run_command(*one, f"model.weights={weights}", f"out={tmp_path / 'two'}")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "iteration 0 of 4: starts from last.safetensors; 2 images an iteration" in second.stdout
    began = result_of(tmp_path / "two")
    assert began["finetune"]["start"] == "last.safetensors"
    assert began["config"]["finetune"]["start"] == "weights"
    # It really went on: its first loss is about the first training's last one, not its first.
    losses = [[entry["mask"] for entry in each["finetune"]["curve"]] for each in (trained, began)]
    assert abs(losses[1][0] - losses[0][-1]) < 0.3 * (losses[0][0] - losses[0][-1])
    table = load([tmp_path / "one", tmp_path / "two"], tmp_path)
    assert {table.cell(row, "trained_from") for row in (0, 1)} == {"scratch", "last.safetensors"}
    assert load_checkpoint(weights).metadata["start"] == "scratch"


def test_an_interrupted_training_says_how_far_it_came(bright_squares: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "run_bench.py", *TRAIN, *on(bright_squares), "finetune.iterations=100000"]
    root, toys = Path(__file__).resolve().parents[2], Path(__file__).resolve().parents[1] / "toys"
    with subprocess.Popen(
        [*command, f"out={tmp_path}", "protocol.check_limit_s=120"],
        # A shell starts what it puts into the background with SIGINT ignored, and so may a CI system.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **{"cwd": root, "env": _environment(toys), "stdout": subprocess.PIPE, "text": True},
    ) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("jobs/*/training.pt")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted: waiting for what runs to write what it has measured" in said
    training = FinetuneResult(**result_of(tmp_path)["finetune"])
    assert training.done is not None
    assert training.kept is not None
    assert training.kept % 4 == 0
    assert 4 <= training.kept <= training.done < 100000
    text = dict(training_facts(training))["Trained"]
    assert text.startswith(f"{training.done} of 100000 iterations")
    assert text.endswith(f"the same command goes on after iteration {training.kept}")


def _environment(toys: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": python_path(toys)}


def test_older_results_are_told_by_what_they_know() -> None:
    whole = build_training()
    assert iterations_done(whole) == 80
    whole.checkpoint, whole.curve = None, whole.curve[:2]
    assert iterations_done(whole) == 40
    assert dict(training_facts(whole))["Trained"] == (
        "40 of 80 iterations, 1.25 epochs of 256 images; it did not come to its end, and no state of it was kept"
    )


def test_evaluations_take_a_tenth_of_the_time_at_most() -> None:
    """Simulate a training: 150 iterations of a second, an epoch of 15, and evaluations of so many seconds."""

    def share(seconds: float, **config: Any) -> tuple[int, float]:
        plan, spent, times = EvaluationPlan(FinetuneConfig(**config), 15, 150), 0.0, 0
        for done in range(1, 151):
            if done == 150 or (plan.is_due(done) and plan.is_affordable(done, float(done), spent, seconds)):
                spent, times = spent + seconds, times + 1
        return times, spent / (150 + spent)

    assert share(20.0) == (1, pytest.approx(20 / 170))  # the last one alone takes more
    times, taken = share(5.0)
    assert times in (2, 3)
    assert taken <= 0.1
    assert share(0.1) == (9, pytest.approx(0.9 / 150.9)) or share(0.1)[0] == 10
    assert share(20.0, evaluate_share=1.0)[0] == 10
    assert share(20.0, evaluate_every=15)[0] == 10, "what is asked for is done"
    assert share(5.0, evaluate_share=0.5)[0] > times


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(UserError, match="evaluate_share="):
        _check_finetune(FinetuneConfig(evaluate_share=share))


def test_the_report_says_what_the_evaluations_took() -> None:
    training = build_training()
    training.evaluation_seconds, training.left_out = 100.0, 7
    assert dict(training_facts(training))["Evaluated"] == (
        "3 times, which took 100 s of it; 7 more would have taken too much of its time (finetune.evaluate_share)"
    )


def test_a_row_without_a_training_started_from_nothing(tmp_path: Path) -> None:
    write_result(build_result(), tmp_path / "jobs" / "one" / "result.json")
    assert load([tmp_path], tmp_path).cell(0, "trained_from") is None
