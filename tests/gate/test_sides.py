"""Tests what the base of a gate finds beside its commit, and what git says of a repository that it does not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.device.commands import ask_git, git
from bench.errors import UserError
from bench.gate import sides
from bench.gate.data_there import link_data, path_kept
from bench.schema.config import BenchConfig


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Make the folder of the working tree, which is the current one, and that of the base's checkout."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    return here, there


@pytest.mark.parametrize("name", ["plain", "a b", "a,b", "it's", 'a "b"', "größe (1)", "lr=0.1"])
def test_a_path_is_kept_however_it_is_spelled(name: str, folders: tuple[Path, Path]) -> None:
    from bench.schema.typed.overrides import plain, quoted

    here, there = folders
    (here / name).mkdir()
    kept = path_kept(f"dataset.images={quoted(name)}", there)
    assert plain(kept) == ("dataset.images", str(here / name))
    assert plain(path_kept(f"+model.options.file={quoted(f'./{name}')}", there))[1] == str(here / f"./{name}")
    (there / name).mkdir()
    assert path_kept(f"dataset.images={quoted(name)}", there) == f"dataset.images={quoted(name)}"


def test_each_path_of_a_sweep_is_kept(folders: tuple[Path, Path]) -> None:
    here, there = folders
    for name in ("a.pth", "b.pth"):
        (here / name).touch()
    assert path_kept("model.weights='a.pth','b.pth',random", there) == (
        f"model.weights='{here}/a.pth','{here}/b.pth',random"
    )


def test_a_word_that_is_the_name_of_a_folder_by_chance(folders: tuple[Path, Path]) -> None:
    here, there = folders
    for word in ("coco", "cpu", "demo"):
        (here / word).mkdir()
    for argument in ("dataset=coco", "device='cpu'", "+model.options.builder=demo", "passes=[speed]"):
        assert path_kept(argument, there) == argument


def test_a_folder_of_configurations_is_kept(folders: tuple[Path, Path]) -> None:
    here, there = folders
    (here / "mine").mkdir()
    assert path_kept("--config-dir=mine", there) == f"--config-dir={here}/mine"


def test_data_that_only_a_configuration_names_is_linked(folders: tuple[Path, Path], tmp_path: Path) -> None:
    here, there = folders
    (here / "data" / "images").mkdir(parents=True)
    (there / "data").mkdir()
    (here / "models").mkdir()
    (here / "models" / "w.pt").write_text("weights")
    (tmp_path / "beside").mkdir()
    config = BenchConfig()
    config.dataset.images, config.dataset.annotations = "data/images", "../beside"
    config.model.options = {"files": [{"checkpoint": "models/w.pt"}], "word": "nothing", "empty": ""}
    link_data([config], here, there)
    link_data([config], here, there)  # the commit may have all of it
    assert (there / "data" / "images").readlink() == here / "data" / "images"
    assert (there / "models" / "w.pt").read_text() == "weights"
    assert sorted(os.listdir(there)) == ["data", "models"]


@pytest.fixture
def of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a repository that git takes for another user's, as in many containers."""
    repository = tmp_path / "repository"
    repository.mkdir()
    assert git(repository, "init", "-q") is not None
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GIT_CONFIG_COUNT", raising=False)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.chdir(repository)
    return repository


def test_a_repository_of_another_owner(of_another: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"dubious ownership .*git config --global --add safe\.directory"):
        sides._repository()
    # The usual cure where no file may be written.
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "*")
    assert sides._repository() == of_another


def test_a_git_hook_names_no_other_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git(tmp_path, "init", "-q") is not None
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert git(tmp_path, "rev-parse", "--show-toplevel") == str(tmp_path)


def test_no_repository_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is in no git repository; run it inside the one to be judged"):
        sides._repository()
    assert ask_git(tmp_path, "rev-parse").reason.startswith("fatal: not a git repository")
