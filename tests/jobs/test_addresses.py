"""An address with a token is used to download, and is nowhere else."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from bench.cli.run import _command
from bench.errors import UserError
from bench.jobs import plan
from bench.jobs.job import new_result
from run_bench import compose

SECRET = "hf_s3cr3tT0ken"
URL = f"https://me:{SECRET}@zoo.org/net.pth?token={SECRET}"


def draft(bright_squares: list[str], tmp_path: Path, *arguments: str) -> Any:
    [job] = compose(["model=mask_rcnn_r50_torchvision", *bright_squares, *arguments])
    return plan._draft(job, tmp_path, {}, lambda *_: None, "")


def test_a_planned_job_has_the_address_without_its_token(
    bright_squares: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetched(url: str, *_: object, **__: object) -> Path:
        asked.append(url)
        (tmp_path / "net.pth").write_bytes(b"weights")
        return tmp_path / "net.pth"

    monkeypatch.setattr(plan, "fetch", fetched)
    monkeypatch.setenv("TOKEN", SECRET)
    typed = f"model.zoo.url='{URL}'"
    written = "model.zoo.url='https://zoo.org/net.pth?token=${oc.env:TOKEN}'"
    for argument in (typed, written):
        job = draft(bright_squares, tmp_path, "model.weights=zoo", argument)
        assert job.config.model.zoo.url == "https://zoo.org/net.pth?***"
        assert SECRET not in json.dumps([dataclasses.asdict(new_result(job, "ok", None)), _command([argument])])
    assert asked == [URL, f"https://zoo.org/net.pth?token={SECRET}"]


def test_an_address_as_weights(bright_squares: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.weights=https://zoo\.org/net\.pth\?\*\*\*: is an address") as caught:
        draft(bright_squares, tmp_path, f"model.weights='{URL}'")
    assert SECRET not in str(caught.value)


def test_a_pipe_as_weights_is_named_as_such(bright_squares: list[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    with pytest.raises(UserError, match="not a regular file"):
        draft(bright_squares, tmp_path, f"model.weights={tmp_path / 'w.pth'}")
