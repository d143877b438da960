"""Test that a figure that no reader would take fails its own pass, and leaves the result of the others readable."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from contexts import context_of
from toy_models import Blobs

from bench.data.dataset import CocoDataset
from bench.jobs.worker import main
from bench.predictor import Settings
from bench.schema.parts.costs import EnergyResult, FlopsResult
from bench.schema.result import read_result


def test_a_figure_that_cannot_be_read_does_not_take_the_others_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A negative amount of memory made the whole row "crashed: the worker has lost its result"."""
    figures: dict[str, Any] = {"flops": FlopsResult(5.0, 0.0, 1), "energy": EnergyResult(-5.0, 1, 1.0)}

    def load_pass(name: str) -> Any:
        return types.SimpleNamespace(applies=lambda model: True, measure=lambda context: figures[name])

    monkeypatch.setattr(main, "load_pass", load_pass)
    monkeypatch.setattr(main, "add_sources", lambda *given: None)
    dataset = CocoDataset("d", tmp_path / "a.json", (), 0, (), [], "")
    context = context_of(Blobs(Settings(torch.device("cpu"))), dataset)
    context.folder = tmp_path
    job, channel = types.SimpleNamespace(), types.SimpleNamespace(send=lambda message: None)
    with pytest.raises(ValueError, match="energy_joules is -5"):
        main._run_passes(job, context, ["flops", "energy"], channel)  # type: ignore[arg-type]
    main.write_result(context.result, tmp_path / "result.json")
    read = read_result(tmp_path / "result.json")
    assert (read.flops, read.energy) == (figures["flops"], None)
