"""Tests the files that options name, where there is none."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.jobs.identity import digest_together
from bench.jobs.worker.option_files import config_files, files_read, other_files
from bench.predictor import Model, ReplayPredictor


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


class Words(Model):
    word_options = ("builder", "heads")


class Derived(Words):
    pass


def test_an_option_of_words_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/part.txt").write_text("1")
    options = {"builder": "demo", "heads": {"kind": "demo/part.txt"}, "parts": ["demo/part.txt"], "folder": "demo"}
    counted = {"parts.0": tmp_path / "demo/part.txt", "folder": tmp_path / "demo"}
    assert other_files(Words, options, tmp_path) == other_files(Derived, options, tmp_path) == counted
    both = {"builder": tmp_path / "demo", "heads.kind": tmp_path / "demo/part.txt"}
    assert other_files(Model, options, tmp_path) == other_files(print, options, tmp_path) == counted | both


@pytest.mark.parametrize("jobs", ["jobs", "base/jobs"])
def test_a_single_word_names_no_folder_of_results(tmp_path: Path, jobs: str) -> None:
    """What a class reads out of such a folder is named by its path, and counts."""
    job = tmp_path / "demo" / jobs / "net-1"
    job.mkdir(parents=True)
    (job / "best.safetensors").write_bytes(b"w")
    path = str((job / "best.safetensors").relative_to(tmp_path))
    options = {"builder": "demo", "folder": "./demo", "weights": path}
    assert other_files(Model, options, tmp_path).keys() == {"builder", "folder", "weights"}
    (job / "job.json").write_text("{}")
    assert other_files(Model, options, tmp_path).keys() == {"folder", "weights"}


@pytest.mark.parametrize("library", ["torchvision", "transformers", "ultralytics", "onnx", "openvino"])
def test_the_words_of_the_adapters(library: str) -> None:
    """Every option of an adapter that may be a text is one of words, so no folder of the user is taken for it."""
    pytest.importorskip({"onnx": "onnxruntime"}.get(library, library))
    predictors = importlib.import_module(f"adapters.{library}.predictor")
    for cls in vars(predictors).values():
        if isinstance(cls, type) and issubclass(cls, Model) and cls.__module__ == predictors.__name__:
            inits = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)]
            given = [one for init in inits for one in inspect.signature(init).parameters.values()]
            named = [one for one in given if one.kind is not one.VAR_KEYWORD and one.name != "settings"]
            texts = {one.name for one in named if "str" in str(one.annotation)}
            assert texts
            assert texts <= set(cls.word_options)


def test_the_folder_that_the_command_writes_into_names_no_input(tmp_path: Path) -> None:
    """By whichever path an option names it, and also where it is a folder above that one."""
    for name in ("runs/demo", "runs/other"):
        (tmp_path / name).mkdir(parents=True)
    options = {"word": "runs", "path": "./runs/demo", "whole": str(tmp_path / "runs/demo"), "other": "runs/other"}
    assert other_files(Model, options, tmp_path, tmp_path / "runs/demo") == {"other": tmp_path / "runs/other"}
    assert other_files(Model, options, tmp_path).keys() == options.keys()
