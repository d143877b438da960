"""Test that a user's settings of matplotlib reach neither a plot nor the trend page, which needs only its ticks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from reports.plots.style import figure
from reports.plots.user_settings import without_user_settings

ROOT = Path(__file__).resolve().parents[3]


def test_a_trend_with_a_backend_that_does_not_exist() -> None:
    code = "from reports.page.trend import _nice_numbers; print(_nice_numbers(0, 10))"
    environment = {**os.environ, "MPLBACKEND": "nonsense"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[0.0, 2.5, 5.0, 7.5, 10.0]\n", "")


def test_the_environment_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    monkeypatch.delenv("MATPLOTLIBRC", raising=False)
    before = dict(os.environ)
    with without_user_settings():
        assert "MPLBACKEND" not in os.environ
        assert Path(os.environ["MATPLOTLIBRC"]).is_file()
    assert dict(os.environ) == before


def test_a_plot_is_drawn_with_our_settings_alone(tmp_path: Path) -> None:
    with figure(tmp_path / "ours.png", 2, 1) as (_, axes):
        axes.plot([1, 2])
    with (
        matplotlib.rc_context({"font.size": 40, "lines.linewidth": 20, "axes.facecolor": "red"}),
        figure(tmp_path / "same.png", 2, 1) as (_, axes),
    ):
        axes.plot([1, 2])
    assert (tmp_path / "ours.png").read_bytes() == (tmp_path / "same.png").read_bytes()
