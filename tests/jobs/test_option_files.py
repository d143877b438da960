"""Tests the files that options name, where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.jobs.identity import digest_together
from bench.jobs.worker.option_files import config_files, files_read
from bench.predictor import ReplayPredictor


class Replay(ReplayPredictor):
    @classmethod
    def files_read(cls, options: Mapping[str, Any]) -> Mapping[str, Path]:
        return {"results": Path(str(options["results"]))}


def test_a_path_that_is_null_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        files_read(Replay, {"results": None}, tmp_path)
    assert str(refused.value) == "model.options.results=null: a path is missing; give model.options.results=PATH"
    with pytest.raises(UserError, match=r"None: no such file or folder \(model.options.results\)$"):
        files_read(Replay, {"results": "None"}, tmp_path)


class Reads(ReplayPredictor):
    @classmethod
    def config_files(cls, path: Path) -> list[Path]:
        return [path / "config.json"]


def test_the_files_of_a_configuration(tmp_path: Path) -> None:
    """A name inside a zoo is no file; a class says which files of a folder count, else all do."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (tmp_path / "net.yaml").write_text("_BASE_: base.yaml")
    (tmp_path / "base.yaml").write_text("width: 1")
    for name in (None, "", "mask-rcnn_r50_fpn_2x_coco", "."):
        assert config_files(Replay, name, tmp_path) == []
    assert config_files(Replay, "checkpoint", tmp_path) == config_files(print, str(folder), tmp_path) == [folder]
    assert config_files(Reads, "checkpoint", tmp_path) == [folder / "config.json"]
    both = config_files(Replay, "net.yaml", tmp_path)
    assert both == [tmp_path / "base.yaml", tmp_path / "net.yaml"]
    before = digest_together(both)
    (tmp_path / "base.yaml").write_text("width: 2")
    assert digest_together(both) != before
