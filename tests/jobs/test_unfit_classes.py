"""Tests what is refused of a class before its job runs: its call, its classes, its network, and settings it ignored."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import unfit
from habits import NAMES, Bright
from safetensors.torch import save_file
from test_bad_input import refused
from test_contract import results_in

from bench.errors import UserError
from bench.jobs.worker.load_model import make
from bench.jobs.worker.promises import watched
from bench.jobs.worker.weights_taken import weights_taken
from bench.predictor import Checkpoint, Predictor, ReplayPredictor, Settings
from bench.schema.config import BenchConfig, ModelConfig

CPU = torch.device("cpu")


def trained(seed: int = 7) -> Checkpoint:
    """Give a checkpoint of :func:`unfit.network` in which no tensor is constant."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in unfit.network().state_dict().items()
    }
    return Checkpoint(state, "somewhere/w.pt")


def made(
    target: Any, checkpoint: Checkpoint | None = None, options: dict[str, Any] | None = None, **config: Any
) -> tuple[Predictor, list[str]]:
    """Make a predictor as a worker does; give it and its notes."""
    notes: list[str] = []
    model = ModelConfig(name="m", _target_=f"mine.{target.__name__}", options=options or {})
    job = BenchConfig(model=model, **{"device": "cpu", **config})
    settings = Settings(CPU, checkpoint=checkpoint, classes=NAMES, precision=job.precision)
    torch.manual_seed(0)
    predictor = make(target, job, settings, notes.append)
    assert isinstance(predictor, Predictor)
    return predictor, notes


@pytest.mark.parametrize(
    ("target", "options", "line"),
    [
        (
            unfit.NoSettings,
            {},
            "model._target_=mine.NoSettings: NoSettings() takes no settings, and maskbench calls NoSettings(settings, "
            "**model.options); write def __init__(self, settings, ...) in NoSettings",
        ),
        (
            unfit.NeedsLevel,
            {},
            "model.options of m: NeedsLevel needs the option level; give model.options.level=VALUE",
        ),
        (
            unfit.NeedsLevel,
            {"levle": 3},
            "model.options.levle of m: NeedsLevel has no such option; did you mean level? (options of one model among "
            "several are given in a command of their own, with the same out=)",
        ),
        (
            unfit.NoClasses,
            {},
            "model._target_=mine.NoClasses: NoClasses.classes is not set, must be a tuple of the names of the model's "
            "labels in order; set self.classes in __init__, such as self.classes = settings.classes (which are those "
            "of model.classes=[...] where the checkpoint names none)",
        ),
        (
            unfit.OneClassAsText,
            {},
            "model._target_=mine.OneClassAsText: OneClassAsText.classes is a str, must be a tuple of the names of the "
            "model's labels in order; set self.classes in __init__, such as self.classes = settings.classes (which are "
            "those of model.classes=[...] where the checkpoint names none)",
        ),
    ],
)
def test_a_class_that_does_not_fit_is_one_line(target: Any, options: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as caught:
        made(target, options=options)
    assert str(caught.value) == line


def test_a_list_of_classes_is_as_good() -> None:
    assert made(unfit.ListOfClasses)[0].classes == NAMES


def test_a_type_error_inside_a_constructor_is_a_bug_of_it() -> None:
    def broken(settings: Settings) -> Bright:
        return Bright(settings, 1 + "2")  # type: ignore[operator]

    with pytest.raises(TypeError, match="unsupported operand"):
        made(broken)


@pytest.mark.parametrize("target", [unfit.Network, unfit.Wrapped, unfit.a_function])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_loaded_pass(target: Any, dtype: torch.dtype) -> None:
    """Under other names, and from a file of a narrower type, which the network widens."""
    checkpoint = trained()
    for name, tensor in checkpoint.state_dict.items():
        if tensor.is_floating_point():
            checkpoint.state_dict[name] = tensor.to(dtype)
    predictor, notes = made(target, checkpoint)
    assert notes == []
    taken = weights_taken(predictor.module, checkpoint)  # type: ignore[attr-defined]
    assert (taken.parameters, taken.found, taken.first_other) == (8, 8, "")


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (
            unfit.IgnoresWeights,
            "model.weights: IgnoresWeights never read settings.checkpoint or settings.weights_path",
        ),
        (unfit.a_function_that_ignores, "model.weights: IgnoresWeights never read settings.checkpoint"),
        (unfit.BrightIgnores, "model.weights: BrightIgnores never read settings.checkpoint or settings.weights_path"),
        (
            unfit.LooksAtWeights,
            "w.pt: none of the 6 parameters of LooksAtWeights.module has the values of a tensor in it; the row would "
            "name weights that did not run; load settings.checkpoint in __init__",
        ),
    ],
)
def test_weights_that_are_not_loaded_are_refused(target: Any, line: str) -> None:
    """Such a class had a row of random weights under the name of the file."""
    with pytest.raises(UserError) as caught:
        made(target, trained())
    assert str(caught.value).startswith(line)
    made(target)
    made(unfit.BrightReads, trained())


def test_weights_that_are_loaded_in_part_are_noted() -> None:
    _, notes = made(unfit.LoadsHalf, trained())
    assert notes == [
        "4 of 8 parameters of the network have values of w.pt; the others, first 2.weight, have what the class gave "
        "them"
    ]


@pytest.mark.parametrize(
    ("target", "changes", "line"),
    [
        (
            unfit.Halved,
            {},
            "precision=fp32: parameter 0.weight of Halved.module is torch.float16, so the row would say another "
            "precision than the model has; keep the network in float32, maskbench runs it under autocast",
        ),
        (unfit.Halved, {"precision": "bf16"}, "precision=bf16: parameter 0.weight of Halved.module is torch.float16"),
        (
            unfit.StillTraining,
            {},
            "StillTraining: BatchNorm2d 1 of self.module is in training mode, so it would predict other than it was "
            "trained to; call self.module.eval() in __init__",
        ),
        (
            unfit.BrightIgnores,
            {"precision": "fp16"},
            "precision=fp16: BrightIgnores never read settings.precision, so the row would say what the model was not "
            "told; compute in settings.precision, or leave fp16 out of the class's precisions",
        ),
    ],
)
def test_a_row_says_nothing_that_the_model_is_not(target: Any, changes: dict[str, str], line: str) -> None:
    with pytest.raises(UserError) as caught:
        made(target, **changes)
    assert str(caught.value).startswith(line)


def test_what_the_model_was_told_passes() -> None:
    made(unfit.Halved, precision="fp16")
    made(unfit.BrightIgnores)
    made(unfit.BrightReads, precision="fp16")
    made(unfit.BrightKeeps, trained(), precision="fp16")


def test_a_network_on_another_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a check, which constructs the model of a GPU's job on the CPU, the device says nothing."""
    made(unfit.Network, device="cuda:0")
    monkeypatch.setattr(torch.nn.Parameter, "device", torch.device("cuda:0"), raising=False)
    with pytest.raises(UserError, match=r"Network: parameter 0\.weight of self\.module is on cuda:0, must be on cpu; "):
        made(unfit.Network)


def test_settings_that_are_watched_are_settings() -> None:
    told = watched(Settings(CPU, classes=("a",), max_detections=7))
    assert told.fields_read == set()
    assert (told.max_detections, told.fields_read) == (7, {"max_detections"})
    assert isinstance(told, Settings)
    changed = dataclasses.replace(told, classes=("b", "c"))
    assert (changed.classes, told.classes) == (("b", "c"), ("a",))
    for other in (copy.deepcopy(told), pickle.loads(pickle.dumps(told))):
        assert (other.device, other.max_detections) == (CPU, 7)


def test_weights_that_a_class_ignores_through_the_command(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    """It was an "ok" row of random weights under the file's name."""
    path = tmp_path / "w.safetensors"
    save_file(trained().state_dict, path)
    command = [*bright_squares, f"model.weights={path}", "passes=[accuracy]", f"out={tmp_path / 'out'}"]
    command += ["model=custom", "model.classes=[rectangle]"]
    refused(run_command(*command, "model._target_=unfit.LooksAtWeights"), "w.safetensors: none of the 6 parameters")
    assert results_in(tmp_path / "out") == []
    done = run_command(*command, "model._target_=unfit.LoadsHalf")
    assert done.returncode == 0, done.stderr
    [result] = results_in(tmp_path / "out")
    assert result.notes[0].startswith("4 of 8 parameters of the network have values of w.safetensors")


def test_a_class_that_replays_nothing_is_refused() -> None:
    class Neither(ReplayPredictor):
        classes = ()

        def __init__(self, settings: Settings) -> None:
            pass

    class PathAlone(Neither):
        results_file = Path("r.json")  # type: ignore[assignment]

    with pytest.raises(
        UserError, match=r"^Neither replays nothing; set self\.results_file = bench\.predictor\.ResultsF"
    ):
        made(Neither)
    with pytest.raises(
        UserError, match=r"^PathAlone\.results_file is a Posix.*, must be a bench\.predictor\.ResultsFile$"
    ):
        made(PathAlone)
