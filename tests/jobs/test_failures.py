"""Tests what a missing module means: a library that is not installed, or a part of the user's code that is broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from users_files import enter_folder

from bench.jobs.job import WorkerJob
from bench.jobs.worker.failures import classify
from bench.jobs.worker.locate import locate
from bench.jobs.worker.main import _failures_recorded
from bench.schema.config import BenchConfig, ModelConfig
from bench.schema.result import UNFINISHED, Result

FILES = {
    "site-packages/installed_lib/__init__.py": "import absent_dependency\n",
    "site-packages/newer_lib/__init__.py": "import newer_lib.gone\n",
    "misspelt.py": "import my_helpres\nclass Net: pass\n",
    "within.py": "class Net:\n    def __init__(self):\n        import my_helpres\n",
    "declares.py": "import absent_library\nclass Net:\n    packages = ('absent-library', 'torch')\n",
    "annotated.py": "import absent_library\nclass Net:\n    packages: tuple[str, ...] = ('absent.library',)\n",
    "another.py": "import my_helpres\nclass Net:\n    packages = ('absent-library',)\n",
    "through.py": "import installed_lib\nclass Net: pass\n",
    "newer.py": "import newer_lib\nclass Net: pass\n",
    "syntax.py": "x = 1\nclass Net:\n    def = 3\n",
    "raises.py": "import json\nclass Net:\n    def __init__(self):\n        json.loads('{')\n",
}


@pytest.fixture(autouse=True)
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter_folder(tmp_path, FILES, monkeypatch, tmp_path, tmp_path / "site-packages")


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("misspelt.Net", "failed", "ModuleNotFoundError: No module named 'my_helpres' (misspelt.py:1; see a.log)"),
        ("misspelt.py:Net", "failed", "ModuleNotFoundError: No module named 'my_helpres' (misspelt.py:1; see a.log)"),
        ("within.Net", "failed", "ModuleNotFoundError: No module named 'my_helpres' (within.py:3; see a.log)"),
        ("another.Net", "failed", "ModuleNotFoundError: No module named 'my_helpres' (another.py:1; see a.log)"),
        ("newer.Net", "failed", "ModuleNotFoundError: No module named 'newer_lib.gone' (newer.py:1; see a.log)"),
        ("declares.Net", "skipped", "absent_library is not installed in "),
        ("annotated.py:Net", "skipped", "absent_library is not installed in "),
        ("through.Net", "skipped", "absent_dependency is not installed in "),
        ("syntax.Net", "failed", "SyntaxError: invalid syntax (syntax.py, line 3) (syntax.py:3; see a.log)"),
        ("raises.Net", "failed", "JSONDecodeError: Expecting property name enclosed in double quotes: "),
    ],
)
def test_what_an_error_of_users_code_means(target: str, status: str, reason: str) -> None:
    with pytest.raises(Exception, match=r"\w") as raised:
        locate(target)()
    said = classify(raised.value, target, "a.log")
    assert said[0] == status
    assert said[1].startswith(reason)
    if "raises" in target:
        assert said[1].endswith("(raises.py:4; see a.log)")


def test_a_library_of_an_adapter_of_ours_is_optional() -> None:
    error = ModuleNotFoundError("No module named 'detectron2'", name="detectron2")
    assert classify(error, "adapters.detectron2.predictor.Class", "a.log")[0] == "skipped"
    assert classify(error, "mine.Class", "a.log")[0] == "failed"


def test_an_exit_of_a_model_is_a_failure_of_its_job() -> None:
    """Else the worker would end with a status that says nothing."""
    result = Result("failed", {}, reason=UNFINISHED)
    config = BenchConfig(model=ModelConfig(name="m", _target_="mine.Class"))
    with _failures_recorded(result, WorkerJob(config, None, None, "")):
        sys.exit("licence key missing")
    assert result.status == "failed"
    assert (result.reason or "").startswith("SystemExit: licence key missing (test_failures.py:")


def test_a_secret_is_hidden_before_a_long_text_is_cut() -> None:
    """The beginning of a token stood in the reason where the cut went through it."""
    token = "tok-" + "x" * 60
    said = classify(ValueError("a" * 480 + token), "mine.Class", "a.log", lambda text: text.replace(token, "${T}"))[1]
    assert "tok-" not in said
    assert "${T}" in said
