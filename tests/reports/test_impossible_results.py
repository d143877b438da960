"""A result that no measurement gives, since a figure of it was raised, is left out by every command, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result

import maskbench
from bench.cli import gate
from bench.device.origin import Origin
from bench.errors import UserError
from bench.history.commits import of_one_commit
from bench.schema.result import Result, read_result
from reports import __main__ as report
from reports.site import __main__ as site

WriteRun = Callable[[Path, Sequence[Result]], Path]


def _edited(run: Path, keys: Sequence[str], value: Any, without: Sequence[str] = ()) -> Path:
    """Set a value of the first result, and remove keys of its accuracy."""
    path = run / "jobs/job0/result.json"
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    for key in without:
        content["accuracy"][key] = None
    path.write_text(json.dumps(content))
    return path


FIGURE = ("accuracy", "figures", "mask_ap")


@pytest.mark.parametrize(
    ("keys", "value", "without", "told"),
    [
        (FIGURE, 0.9, (), "mask AP is 90.00, and the mean of its 2 classes, which is the same figure, 37.20"),
        (FIGURE, 0.9, ("per_class",), "mask AP is 90.00, and its 95 % interval is [35.70, 38.70]"),
        (("accuracy", "overlap_mask_ap"), {"keep": 0.472}, (), "with overlap keep, which is the same figure, 47.20"),
        (("speed", "batch_size"), 2, (), "config.batch_size is 1, and speed.batch_size 2"),
    ],
)
def test_what_of_it_cannot_be_true_is_said(
    keys: Sequence[str], value: Any, without: Sequence[str], told: str, tmp_path: Path, write_run: WriteRun
) -> None:
    run = write_run(tmp_path, [build_result(mask_ap=0.372)])
    read_result(run / "jobs/job0/result.json")
    with pytest.raises(UserError) as error:
        read_result(_edited(run, keys, value, without))
    assert "it contradicts itself: " in str(error.value)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_figure_at_the_edge_of_its_interval_is_none(tmp_path: Path, write_run: WriteRun) -> None:
    result = build_result(mask_ap=0.372)
    assert result.accuracy is not None
    result.accuracy.confidence_interval = [0.373, 0.383]
    read_result(write_run(tmp_path, [result]) / "jobs/job0/result.json")


def test_every_command_leaves_it_out(tmp_path: Path, write_run: WriteRun, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [build_result("A", mask_ap=0.3), build_result("B", mask_ap=0.2)]
    run, other = write_run(tmp_path / "run", rows), write_run(tmp_path / "other", rows)
    _edited(run, FIGURE, 0.9)
    assert report.main([str(run), "--best", "mask_ap"]) == 0
    said = capsys.readouterr()
    assert "B R50-FPN · torchvision: mask_ap 20.0 points" in said.out
    assert said.err.count("warning: ") == 1
    assert list(maskbench.load(run).frame["mask_ap"]) == [20.0]
    capsys.readouterr()
    commands: dict[str, Callable[[], int]] = {
        "report": lambda: report.main([str(run), "--out", str(tmp_path / "report")]),
        "site": lambda: site.main([str(run), "--out", str(tmp_path / "site")]),
        "gate": lambda: gate.main([str(other), str(run), "--out", str(tmp_path / "gate")]),
    }
    for name, command in commands.items():
        command()
        said = capsys.readouterr()
        assert "mask AP is 90.00, and the mean of its 2 classes" in said.err + said.out, name
        assert (said.err + said.out).count("it contradicts itself") == 1, name
    [left_out] = of_one_commit(run, Origin("0123abc" * 5, "main")).left_out
    assert "job0/result.json" in left_out
    assert "it contradicts itself: mask AP is 90.00" in left_out
