"""Tests which files a configuration is found to build upon."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.files.config_files import with_bases

BASES = {
    "a text in a list": ("own/net.py", "_base_ = [\n    '../shared/base.py',\n    'runtime.py',\n]\n"),
    "mmengine's folder of the file": (
        "own/net.py",
        "_base_ = '{{ fileDirname }}/runtime.py'; x = '../shared/base.py'\n",
    ),
    "YAML": ("own/net.yaml", "_BASE_: ../shared/base.py\nX: runtime.py\n"),
    "relative imports": ("own/net.py", "from ..shared.base import a, b\nfrom .runtime import c\n"),
    "modules of a package": (
        "own/net.py",
        "with read_base():\n    from ..shared import base\n    from . import runtime\n",
    ),
    "one upon the other": ("own/net.yaml", "_BASE_: 'runtime.py'  # and what that names\n"),
}


@pytest.mark.parametrize(("name", "text"), BASES.values(), ids=BASES)
def test_a_configuration_and_what_it_builds_upon(name: str, text: str, tmp_path: Path) -> None:
    texts = {
        "own/runtime.py": "from ..shared.base import *\n_base_ = './net.py'\n",  # a circle ends
        "shared/base.py": "_base_ = 'absent.py'; words = 'no file, in.any.py way'\n",
        "own/other.py": "",
        name: text,
    }
    for file, content in texts.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(content)
    found = {path.relative_to(tmp_path).as_posix() for path in with_bases(tmp_path / name)}
    assert found - {"own/net.py"} | {name} == {name, "own/runtime.py", "shared/base.py"}


def test_a_file_of_data_builds_upon_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": "b.json"}')
    (tmp_path / "b.json").write_text("{}")
    assert with_bases(tmp_path / "config.json") == [tmp_path / "config.json"]
