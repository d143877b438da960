"""Tests ``input_size=``: one spelling, one name for each job, and the refusal of a class that has one size only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_bad_input import refused
from toy_models import Blobs, Scaled

from bench.errors import UserError
from bench.jobs.identity import job_name
from bench.jobs.worker.load_model import make
from bench.predictor import Settings
from bench.schema.config import BenchConfig, ModelConfig
from bench.schema.result import read_result
from run_bench import compose

SCALED = ["model=custom", "model._target_=toy_models.Scaled"]


def test_a_sweep_composes_one_job_a_size() -> None:
    jobs = compose(["model=mask_rcnn_r50_torchvision", "input_size=800x1333,640x1066,null"])
    assert [job.config.input_size for job in jobs] == ["800x1333", "640x1066", None]
    assert [job.config.input_edges for job in jobs] == [(800, 1333), (640, 1066), None]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("1333x800", "input_size=1333x800: the shorter edge stands first; give 800x1333"),
        ("800", "input_size=800: must be the shorter and the longer edge in pixels, as 800x1333"),
        ("0x100", "input_size=0x100: must be the shorter and the longer edge"),
        ("800X1333", "input_size=800X1333: must be the shorter and the longer edge"),
        ("[800,1333]", "input_size=[800: must be the shorter and the longer edge in pixels, as 800x1333"),
        ("16x64", "input_size: the shorter edge=16: must be 32 or more"),
    ],
)
def test_a_bad_size_is_told_in_one_line(given: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        compose(["model=mask_rcnn_r50_torchvision", f"input_size={given}"])
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)


def test_the_size_is_part_of_a_job_s_name() -> None:
    names = [job_name(BenchConfig(input_size=size), {}) for size in (None, "800x1333", "640x1066")]
    assert len({name.rsplit("-", 1)[1] for name in names}) == 3
    assert "-b1-800x1333-" in names[1]


def test_the_class_is_told_through_its_own_options() -> None:
    config = BenchConfig(model=ModelConfig(name="m", options={"edges": [9, 9], "delay_ms": 1.0}), input_size="40x64")
    predictor = make(Scaled, config, Settings(torch.device("cpu")))
    assert isinstance(predictor, Scaled)
    assert (predictor.edges, predictor.delay_ms) == ((40, 64), 1.0)
    with pytest.raises(UserError, match="input_size=40x64: Blobs has its own input size and no other"):
        make(Blobs, config, Settings(torch.device("cpu")))


def test_two_sizes_are_two_rows(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    """The images have 60x80, 80x60, 50x50 and 64x96 pixels."""
    arguments = [*SCALED, *bright_squares, "passes=[speed]", "protocol=quick", f"out={tmp_path}"]
    done = run_command(*arguments, "input_size=32x48,40x64")
    assert done.returncode == 0, done.stderr
    sizes = {}
    for path in tmp_path.glob("jobs/*/result.json"):
        result = read_result(path)
        assert result.speed is not None
        sizes[result.config["input_size"]] = {tuple(size) for size in result.speed.input_sizes}
    assert sizes == {
        "32x48": {(32, 43), (43, 32), (32, 32), (32, 48)},
        "40x64": {(40, 53), (53, 40), (40, 40), (40, 60)},
    }
    assert "32x48" in done.stdout
    again = run_command(*arguments, "input_size=32x48,40x64")
    assert again.stdout.count("measured before") == 2


def test_a_model_without_other_sizes_is_refused_before_any_runs(
    run_here: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    blobs = ["model=custom", "model._target_=toy_models.Blobs", "model.weights=random", *bright_squares]
    refused(run_here(*blobs, "input_size=32x48", f"out={tmp_path / 'a'}"), "input_size=32x48: Blobs", "leave")
    echo = ["model=custom", "model._target_=toy_models.Echo", *bright_squares]
    refused(run_here(*echo, "input_size=32x48", f"out={tmp_path / 'b'}"), "toy_models.Echo sees no image")
