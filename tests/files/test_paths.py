"""Test paths of a user who has no home folder, as in a container that runs under any number."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files.paths import cache_folder, expanded


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
