"""Tests which source files the figures of a class depend on, and by which names."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from users_files import enter_folder

from bench.device.fingerprint import digest_of
from bench.jobs.identity import digest_named
from bench.jobs.start import ROOT
from bench.jobs.worker.locate import locate
from bench.jobs.worker.option_files import files_read, other_files
from bench.jobs.worker.sources import fingerprint, own_files, own_sources, started_in

FILES = {
    "own_net.py": "import numpy\nfrom own_layers import WIDTH\nfrom bench.predictor import Predictor\n"
    "class Net:\n    def late(self):\n        import own_late\n",
    "own_layers.py": "WIDTH = 64\n",
    "own_late.py": "DEPTH = 5\n",
    "own_other.py": "class Other: pass\n",
    "lib/python3/site-packages/installed_net.py": "import own_layers\nclass Net: pass\n",
}


@pytest.fixture(autouse=True)
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    enter_folder(tmp_path, FILES, monkeypatch, tmp_path, tmp_path / "lib/python3/site-packages")
    started_in.cache_clear()
    yield tmp_path
    started_in.cache_clear()


def of_this_folder(sources: dict[str, str]) -> set[str]:
    """Give the names of the files above: the test itself has modules of its own."""
    return {name for name in sources if name.rpartition("/")[2].startswith(("own_", "installed_"))}


def test_what_a_class_imports_counts_with_it() -> None:
    net = locate("own_net.Net")
    found = fingerprint(net, {"weights": "own_other.py"}, {"versions": {"torch": "2.14.1"}})
    assert of_this_folder(found.sources) == {"own_net.py", "own_layers.py"}
    assert found.target == "own_net.py"
    assert found.sources["own_layers.py"] == digest_of(Path("own_layers.py"))
    assert found.paths["own_net.py"] == str(Path("own_net.py").resolve())
    assert found.facts == {"torch": "2.14.1"}
    assert found.named == {"weights": str(Path("own_other.py").resolve())}
    assert not [path for path in found.paths.values() if path.startswith(str(ROOT / "bench")) or "numpy" in path]
    net().late()
    assert of_this_folder(own_sources(own_files(net))) == {"own_net.py", "own_layers.py", "own_late.py"}


def test_a_class_counts_where_it_is_installed_too() -> None:
    found = fingerprint(locate("installed_net.Net"), {}, {})
    assert found.target == "lib/python3/site-packages/installed_net.py"
    assert "own_layers.py" in found.sources


def test_an_adapter_of_ours_counts_by_its_name_in_maskbench() -> None:
    found = fingerprint(locate("adapters.replay.ReplayPredictor"), {}, {})
    assert found.target == "adapters/replay.py"
    assert not [name for name in found.sources if name.startswith("bench/")]
    assert "adapters/replay.py" not in found.paths


def test_a_file_that_is_edited_after_its_import_counts_as_it_was_imported() -> None:
    net = locate("own_net.Net")
    before = own_sources(own_files(net))["own_layers.py"]
    Path("own_layers.py").write_text("WIDTH = 128\n")
    assert own_sources(own_files(net))["own_layers.py"] == before


def test_names_start_from_the_repository(users_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (users_folder / ".git").mkdir()
    (users_folder / "sub").mkdir()
    monkeypatch.chdir(users_folder / "sub")
    started_in.cache_clear()
    found = fingerprint(locate("own_net.Net"), {}, {})
    assert found.target == "own_net.py"
    assert found.folders[:2] == [str(users_folder), str(users_folder / "sub")]


def test_files_that_options_name_at_any_depth(users_folder: Path) -> None:
    for name in ("w.pt", "a.onnx", "b.onnx"):
        (users_folder / name).write_text(name)
    options = {"checkpoint": "w.pt", "parts": ["a.onnx", {"deep": str(users_folder / "b.onnx")}], "size": 3}
    options |= {"mode": "fast", "folder": "lib", "nothing": None, "nul": "a\0b", "long": "x" * 5000}
    assert other_files(object, options, users_folder) == {
        "checkpoint": users_folder / "w.pt",
        "parts.0": users_folder / "a.onnx",
        "parts.1.deep": users_folder / "b.onnx",
        "folder": users_folder / "lib",
    }


def test_a_file_that_the_class_declares_is_no_other_file(users_folder: Path) -> None:
    (users_folder / "r.json").write_text("[]")
    replay = locate("adapters.replay.ReplayPredictor")
    assert files_read(replay, {"results": "r.json"}, users_folder) == {"results": users_folder / "r.json"}
    assert other_files(replay, {"results": "r.json"}, users_folder) == {}


def test_a_folder_that_an_option_names_counts_by_the_contents_of_its_files(tmp_path: Path) -> None:
    """A changed config.json in the folder of a from_pretrained was measured before."""
    (tmp_path / "config.json").write_text("1")
    before = digest_named(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").touch()
    assert digest_named(tmp_path) == before
    (tmp_path / "config.json").write_text("2")
    assert digest_named(tmp_path) != before


def test_a_file_beside_the_known_folders_is_named_by_its_whole_path(
    users_folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``forward`` that adds a folder to the path had a source that no later process found, and failed for ever."""
    net = locate("own_net.Net")
    first = fingerprint(net, {}, {})
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "added_late.py").touch()
    monkeypatch.syspath_prepend(elsewhere)
    importlib.import_module("added_late")
    sources = own_sources(own_files(net))
    del sys.modules["added_late"]
    [name] = [name for name in sources if name.endswith("added_late.py")]
    assert first.source(name) == sources[name]


def test_installed_modules_cost_no_look_at_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker asks before its first pass and after each one, and a library has thousands of modules."""
    found, asked, resolve = own_files(None), list[str](), os.path.realpath

    def realpath(path: str, *arguments: Any, **more: Any) -> str:
        asked.append(str(path))
        return resolve(path, *arguments, **more)

    monkeypatch.setattr(os.path, "realpath", realpath)
    assert own_files(None) == found
    assert not [path for path in asked if "site-packages" in path and "installed_net" not in path]
    assert len(asked) < 10 * len(found) + 50
