"""Test paths of a user who has no home folder, as in a container that runs under any number."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files.paths import cache_folder, expanded, path_argument


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: str) -> str:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("MASKBENCH_CACHE", raising=False)
    monkeypatch.setattr("pwd.getpwuid", none)


def test_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.delenv("MASKBENCH_CACHE", raising=False)
    assert expanded("~/runs") == Path("/somewhere/runs")
    assert expanded("runs") == Path("runs")
    assert cache_folder("shapes") == Path("/somewhere/.cache/maskbench/shapes")
    monkeypatch.setenv("MASKBENCH_CACHE", "~/cache")
    assert cache_folder("shapes") == Path("/somewhere/cache/shapes")


@pytest.mark.usefixtures("no_home")
def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    assert expanded("runs") == Path("runs")
    with pytest.raises(UserError, match=r"^out=~/runs: ~ stands for a home folder, and there is none"):
        expanded("~/runs", "out")
    with pytest.raises(UserError, match="set MASKBENCH_CACHE"):
        cache_folder("weights")
    monkeypatch.setenv("MASKBENCH_CACHE", "/cache")
    assert cache_folder("weights") == Path("/cache/weights")


@pytest.mark.parametrize("address", ["s3://bucket/runs", "https://me:word@bucket/runs?sig=secret"])
def test_an_address_is_no_path(address: str) -> None:
    """A folder of the name ``s3:`` was made in the current one, and the command said that all was written."""
    said = "s3://bucket/runs" if address.startswith("s3") else "https://bucket/runs?***"
    with pytest.raises(UserError) as told:
        expanded(address, "out")
    assert str(told.value) == f"out={said}: is an address, must be a path of this machine"
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        path_argument(address)
    assert str(refused.value) == f"{said} is an address, must be a path of this machine"


COMMANDS = {
    "bench.cli.main": ["model=demo_mask_rcnn_torchvision", "out=s3://bucket/runs"],
    "bench.cli.dataset": ["check", "s3://bucket/runs"],
    "bench.cli.export": ["s3://bucket/runs/f.onnx", "model=demo_mask_rcnn_torchvision"],
    "bench.cli.history": ["trend", "s3://bucket/runs"],
    "bench.cli.status": ["s3://bucket/runs"],
    "reports.__main__": ["runs", "--out", "s3://bucket/runs"],
    "reports.ci.__main__": ["runs", "--out", "s3://bucket/runs"],
    "reports.site.__main__": ["runs", "--out", "s3://bucket/runs"],
}


@pytest.mark.parametrize("module", COMMANDS)
def test_no_command_writes_to_an_address_or_reads_one(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = importlib.import_module(module).main(COMMANDS[module])
    except SystemExit as ended:  # of argparse
        status = ended.code
    assert status == 2
    assert "an address, must be a path of this machine" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
