"""Tests what a class declares, through the command: its precisions, its files, and whether it has a torch network."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from test_bad_input import refused
from toy_models import Blobs, Echo

from bench.errors import UserError
from bench.jobs.job import Question, WorkerJob
from bench.jobs.messages import Message, Resolved, Verdict
from bench.jobs.worker.check import check
from bench.jobs.worker.load_model import make, note_on_module, refuse_what_it_cannot, trainable
from bench.predictor import Instances, Predictor, Settings, TorchPredictor
from bench.schema.config import BenchConfig, ModelConfig
from bench.schema.result import Result, read_result
from run_bench import compose

CPU = torch.device("cpu")
LEVEL = ["model=custom", "model._target_=plain_runtime.Level"]


def results_in(folder: Path) -> list[Result]:
    return [read_result(path) for path in sorted(folder.glob("jobs/*/result.json"))]


def target(name: str, **changes: Any) -> BenchConfig:
    return BenchConfig(model=ModelConfig(name="m", _target_=name), **changes)


def test_a_runtime_that_is_not_torch_is_a_whole_row(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    """Its weights are a file that torch cannot read; a file of an option counts by its content."""
    level = tmp_path / "level.txt"
    level.write_text("100")
    arguments = [*bright_squares, "protocol=quick", f"out={tmp_path / 'out'}"]
    done = run_command(*LEVEL, f"model.weights={level}", *arguments)
    assert done.returncode == 0, done.stderr
    [result] = results_in(tmp_path / "out")
    assert (result.status, result.notes) == ("ok", [])
    assert result.model is not None
    assert result.memory is not None
    assert result.speed is not None
    assert result.accuracy is not None
    assert (result.model.parameters, result.flops) == (None, None)
    assert (result.memory.parameters_bytes, result.memory.buffers_bytes) == (None, None)
    assert result.accuracy.figures is not None
    assert result.accuracy.figures["mask_ap"] == pytest.approx(1.0)
    assert result.machine is not None
    assert result.machine["versions"]["scipy"] == importlib.metadata.version("scipy")


def test_a_replaced_file_of_an_option_is_measured_anew(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    level, moved = tmp_path / "level.txt", tmp_path / "moved.txt"
    level.write_text("100")

    def measured(path: Path) -> tuple[int, list[float]]:
        done = run_command(
            *[*LEVEL, f"+model.options.level={path}", "passes=[accuracy]"], *bright_squares, f"out={tmp_path / 'out'}"
        )
        assert done.returncode == 0, done.stderr
        figures = [result.accuracy.figures["mask_ap"] for result in results_in(tmp_path / "out")]  # type: ignore[union-attr, index]
        return done.stdout.count("measured before"), sorted(figures)

    assert measured(level) == (0, [pytest.approx(1.0)])
    assert measured(level) == (1, [pytest.approx(1.0)])
    level.rename(moved)
    assert measured(moved) == (1, [pytest.approx(1.0)])
    moved.write_text("250")  # brighter than anything in the images
    assert measured(moved) == (0, [0.0, pytest.approx(1.0)])


def test_what_a_class_cannot_is_refused_before_anything_runs(
    run_here: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    level = tmp_path / "level.txt"
    level.write_text("100")
    command = [*LEVEL, f"+model.options.level={level}", *bright_squares]
    out = tmp_path / "out"
    refused(
        run_here(*command, "precision=fp32,fp16", f"out={out}"),
        "precision=fp16: plain_runtime.Level computes in fp32",
        "give precision=fp32",
        "TorchPredictor",
    )
    assert not out.exists()
    refused(
        run_here(*command, f"model.options.level={tmp_path / 'none'}"),
        "no such file or folder (model.options.level)",
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "bf16"}, "precision=bf16: m.Plain computes in fp32 "),
        ({"compile": "default"}, "compile: m.Plain is no bench.predictor.TorchPredictor"),
    ],
)
def test_what_only_torch_has(changes: dict[str, Any], words: str) -> None:
    config = target("m.Plain", **changes)
    with pytest.raises(UserError, match=words):
        refuse_what_it_cannot(Plain, config)
    refuse_what_it_cannot(Blobs, config)
    refuse_what_it_cannot(Echo, config)
    config.protocol.channels_last, config.precision, config.compile = True, "fp32", "none"
    with pytest.raises(UserError, match=r"protocol\.channels_last: m\.Plain is no"):
        refuse_what_it_cannot(Plain, config)


def test_a_function_that_gives_a_predictor_is_held_to_its_class() -> None:
    config = target("m.plain", precision="fp16")
    refuse_what_it_cannot(lambda settings: Plain(settings), config)
    with pytest.raises(UserError, match=r"precision=fp16: m\.plain computes in fp32"):
        make(lambda settings: Plain(settings), config, Settings(CPU))


class Plain(Predictor):
    """Keeps a torch network without being a TorchPredictor."""

    def __init__(self, settings: Settings) -> None:
        self.classes, self.module = ("thing",), torch.nn.Linear(2, 2)

    def preprocess(self, images: Any) -> Any:
        return images

    def forward(self, batch: Any) -> Any:
        return batch

    def postprocess(self, raw: Any) -> list[Instances]:
        return []

    def training_step(self, images: Any, targets: Any) -> dict[str, torch.Tensor]:
        return {}


class Empty(TorchPredictor):
    """Is a TorchPredictor without a network."""

    def __init__(self, settings: Settings) -> None:
        self.classes = ("thing",)

    preprocess = forward = Plain.forward
    postprocess = Plain.postprocess


def test_a_network_of_a_class_that_is_no_torch_predictor_is_noted() -> None:
    note = note_on_module(Plain(Settings(CPU)))
    assert note is not None
    assert note.startswith("Plain keeps a torch.nn.Module in self.module: derived from bench.predictor.TorchPredictor")
    assert note_on_module(Blobs(Settings(CPU))) is None
    assert note_on_module(Echo(Settings(CPU))) is None


def test_a_torch_predictor_without_a_network_is_refused() -> None:
    with pytest.raises(UserError, match=r"m\.Empty: a TorchPredictor keeps its network in self\.module"):
        make(Empty, target("m.Empty"), Settings(CPU))


def test_a_training_step_alone_does_not_make_a_class_trainable() -> None:
    with pytest.raises(UserError, match=r"test_contract\.Plain is not derived from Trainable, so it cannot be trained"):
        trainable(target("test_contract.Plain"))


def test_a_replay_is_not_trained(tmp_path: Path) -> None:
    [job] = compose(["model=replay", f"model.options.results={tmp_path / 'r.json'}"])
    with pytest.raises(UserError, match=r"adapters\.replay\.ReplayPredictor defines no training_step"):
        trainable(job.config)


def test_the_check_tells_the_files() -> None:
    """A class that names no files has none, also with options."""
    [job] = compose(["model=custom", "model._target_=toy_models.Blobs", "model.weights=random", "passes=[speed]"])
    sent: list[Message] = []
    check(Question("cpu", [WorkerJob(job.config, None, None, "")]), sent.append)
    resolved, verdict = sent
    assert resolved == Resolved("cpu")
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.files) == ("ok", {})
    assert verdict.now.target.endswith("toy_models.py")
