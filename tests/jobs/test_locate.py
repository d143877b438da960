"""Tests which class ``model._target_`` names, in a folder that holds packages called like ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from users_files import enter_folder

import bench.predictor
from bench.errors import UserError
from bench.jobs.worker.failures import classify
from bench.jobs.worker.locate import ImportOfOwnError, locate, remedy

FILES = {
    "bench/net.py": "from .layers import WIDTH\nimport beside\nclass Net: width, depth = WIDTH, beside.DEPTH\n",
    "bench/layers.py": "WIDTH = 64\n",
    "bench/beside.py": "DEPTH = 5\n",
    "bench/predictor.py": "class Mine: pass\n",
    "bench/by_package.py": "from bench.layers import WIDTH\nclass Net: pass\n",
    "bench/alone.py": "from .absent import WIDTH\nclass Net: pass\n",
    "bench/library.py": "import a_library_that_nobody_has\nclass Net: pass\n",
    "adapters/__init__.py": "class Net: pass\n",
    "nets/netz.v2.py": "from .layers import WIDTH\nclass Torch: width = WIDTH\n",
    "nets/netz_v2.py": "class Torch: width = 0\n",
    "nets/layers.py": "WIDTH = 32\n",
    "src/own_package/__init__.py": "",
    "src/own_package/layers.py": "WIDTH = 16\n",
    "src/own_package/heads/__init__.py": "",
    "src/own_package/heads/net.py": "from own_package.layers import WIDTH\nclass Net: width = WIDTH\n",
    "src/own_package/heads/above.py": "from ..layers import WIDTH\nclass Net: width = WIDTH\n",
    "plain/heads/above.py": "from ..layers import WIDTH\nclass Net: width = WIDTH\n",
    "plain/layers.py": "WIDTH = 8\n",
}


@pytest.fixture(autouse=True)
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter_folder(tmp_path, FILES, monkeypatch)


def test_a_class_in_a_file() -> None:
    """It imports its neighbours with a dot before their names and without; a second call gives the same class."""
    net = locate("bench/net.py:Net")
    assert (net.width, net.depth) == (64, 5)
    assert locate("bench/net.py:Net") is net
    assert locate(f"{Path.cwd()}/bench/net.py:Net") is net
    assert locate("bench.predictor.Predictor") is bench.predictor.Predictor


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("bench.net.Net", "give model._target_=bench/net.py:Net"),
        ("bench.predictor.Mine", "give model._target_=bench/predictor.py:Mine"),
        ("adapters.Net", "give model._target_=adapters/__init__.py:Net"),
        ("bench.absent.Net", "no module 'bench.absent'; it must be importable"),
        ("bench.errors.Absent", "module bench.errors has no 'Absent'"),
        ("bench/net.py:Absent", "bench/net.py has no 'Absent'"),
        ("bench/absent.py:Net", "no such file"),
        ("Net", "must be package.module.Class, or path/to/file.py:Class"),
        ("bench/net.Net", "must be package.module.Class, or path/to/file.py:Class"),
    ],
)
def test_what_is_none(target: str, told: str) -> None:
    with pytest.raises(UserError) as refused:
        locate(target)
    assert str(refused.value).startswith(f"model._target_={target}: ")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("bench/by_package.py:Net", "`from .layers import ...`"),
        ("bench/alone.py:Net", "no module 'absent' beside bench/alone.py"),
    ],
)
def test_an_import_of_a_module_of_its_own_that_is_not_there(target: str, told: str) -> None:
    """The class exists and is broken, which is a failure of its model and no wrong input of the command."""
    with pytest.raises(ImportOfOwnError) as refused:
        locate(target)
    assert str(refused.value).startswith(f"model._target_={target}: ")
    assert told in str(refused.value)
    status, reason = classify(refused.value, target, "check.log")
    assert status == "failed"
    assert reason == f"{refused.value} ({target.partition(':')[0].removeprefix('bench/')}:1; see check.log)"


def test_a_file_whose_name_is_no_name_of_a_module() -> None:
    """``netz.v2.py`` was looked up as a module ``v2`` of a package ``netz``."""
    assert locate("nets/netz.v2.py:Torch").width == 32
    assert locate("nets/netz.v2.py:Torch") is locate("nets/netz.v2.py:Torch")
    assert locate("nets/netz_v2.py:Torch").width == 0


def test_a_file_of_a_package_below_src_imports_the_package_by_its_name() -> None:
    assert locate("src/own_package/heads/net.py:Net").width == 16


@pytest.mark.parametrize(
    ("target", "width"), [("src/own_package/heads/above.py:Net", 16), ("plain/heads/above.py:Net", 8)]
)
def test_what_imports_from_the_folder_above_is_named_by_its_module(
    target: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="imports from a folder above its own") as refused:
        locate(target)
    named, _, folder = str(refused.value).rpartition("give model._target_=")[2].partition(", and set PYTHONPATH=")
    monkeypatch.syspath_prepend(folder or str(tmp_path))
    assert locate(named).width == width


def test_an_absent_library_is_no_mistake_of_the_users() -> None:
    with pytest.raises(ModuleNotFoundError, match="a_library_that_nobody_has"):
        locate("bench/library.py:Net")


def test_what_is_named_for_another_package_runs() -> None:
    """The remedy at the end of the message works as it is written."""
    for target in ("bench.net.Net", "bench.predictor.Mine", "adapters.Net"):
        with pytest.raises(UserError) as refused:
            locate(target)
        remedy = str(refused.value).rpartition("model._target_=")[2]
        assert locate(remedy).__name__ == target.rpartition(".")[2]


def test_our_own_files_are_not_taken_for_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """In maskbench's own folder the file of an adapter lies below the current folder too."""
    own = "adapters.torchvision.predictor"
    assert remedy(own, "Net") is None
    Path("adapters/torchvision").mkdir()
    Path("adapters/torchvision/predictor.py").touch()
    assert "give model._target_=adapters/torchvision/predictor.py:Net" in (remedy(own, "Net") or "")
    monkeypatch.chdir(Path(bench.predictor.__file__).parents[1])
    assert Path("adapters/torchvision/predictor.py").is_file()
    assert remedy(own, "Net") is None
