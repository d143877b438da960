"""Test that the CI files of docs/ci are valid by the vendors' schemas, and that the command takes their options."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from literal_results import build_result

from bench.cli.composing.errors import schema_keys
from bench.cli.gate import from_settings
from bench.errors import UserError
from bench.schema.config import GateConfig
from bench.schema.result import write_result
from bench.schema.typed.overrides import GROUPS

ROOT = Path(__file__).resolve().parents[1]
FILES = {"github.yml": "vendor.github-workflows", "gitlab.yml": "vendor.gitlab-ci"}
PAGES = "pages.yml"
SCHEMAS = {**FILES, PAGES: "vendor.github-workflows"}
DOCUMENTS = [ROOT / "docs" / "ci" / name for name in (*FILES, "README.md")]


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_valid_by_the_vendors_schema(name: str, schema: str) -> None:
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / "docs" / "ci" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def _commands(path: Path) -> Iterator[list[str]]:
    """Give the arguments of each call of the command, with the lines of folded scalars joined."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yml":
        blocks = list(_strings(yaml.safe_load(text)))
    else:
        blocks = [line for line in text.splitlines() if line.startswith("    python run_bench.py")]
        blocks += re.findall(r"`(maskbench study=[^`]*)`", text)
    for block in blocks:
        for command in re.findall(r"(?:run_bench\.py|maskbench) ([^#\n]*)", block):
            yield shlex.split(command)


def _strings(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _strings(child)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_key_exists(path: Path) -> None:
    known = {*schema_keys(), *GROUPS, *(f"gate.{name}" for name in vars(GateConfig()))}
    commands = list(_commands(path))
    assert len(commands) == {"github.yml": 1, "gitlab.yml": 1, "README.md": 3}[path.name]
    for command in commands:
        for argument in command:
            key, _, value = argument.partition("=")
            assert key in known, argument
            assert value, argument
            if key in GROUPS and re.fullmatch(r"\w{2,}", value):
                assert (ROOT / "configs" / key / f"{value}.yaml").exists(), argument


def test_models_of_the_files_exist() -> None:
    for name in FILES:
        [models] = re.findall(r"MODELS: (.*)", (ROOT / "docs" / "ci" / name).read_text())
        for model in models.split(","):
            assert (ROOT / "configs" / "model" / f"{model}.yaml").exists()


def test_settings_of_the_text_exist() -> None:
    text = (ROOT / "docs" / "ci" / "README.md").read_text(encoding="utf-8")
    settings = re.findall(r"`gate\.([a-z_.]+=[^`]+)`", text)
    assert len(settings) == 4
    try:
        from_settings(settings)
    except UserError as error:
        pytest.fail(str(error))


def test_two_jobs_never_share_the_gpu() -> None:
    github = yaml.safe_load((ROOT / "docs" / "ci" / "github.yml").read_text())
    gitlab = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab.yml").read_text())["maskbench"]
    assert github["concurrency"] == {"group": "maskbench-gpu", "cancel-in-progress": False}
    assert gitlab["resource_group"] == "maskbench-gpu"
    assert github["permissions"] == {"contents": "read"}
    assert github["jobs"]["gate"]["timeout-minutes"] == 120
    uses = [step["uses"] for step in github["jobs"]["gate"]["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w./-]+@v\d+", action) for action in uses)
    assert github["jobs"]["gate"]["steps"][0]["with"]["fetch-depth"] == 0
    assert gitlab["variables"]["GIT_DEPTH"] == "0"


def test_the_plugin_is_registered_and_the_command_is_installed() -> None:
    """pyproject.toml is read as text, since Python 3.10 has no parser for it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pytest11]\nmaskbench = "maskbench_pytest"\n' in text
    assert '[project.scripts]\nmaskbench = "run_bench:main"\n' in text


ONLY = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "hydra", "omegaconf", "hotcoco", "pycocotools", "torchvision", "pynvml"}:
            raise ModuleNotFoundError(f"{name}: not in the workflow", name=name)

sys.meta_path.insert(0, Refuse())
from reports.site.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_site_of_the_workflow_needs_no_more_than_it_installs(tmp_path: Path) -> None:
    """What a site of many results needs is installed there by hand, without torch, so its command must do without."""
    workflow = yaml.safe_load((ROOT / "docs" / "ci" / PAGES).read_text())
    steps = [step["run"] for step in workflow["jobs"]["site"]["steps"] if "run" in step]
    [command] = [shlex.split(run) for run in steps if run.startswith("python -m reports.site ")]
    [packages] = [set(run.split()[2:]) for run in steps if run.startswith("pip install ")]
    assert {"pandas", "jinja2", "msgspec", "pyyaml"} <= packages
    write_result(build_result(), tmp_path / "results" / "run" / "jobs" / "job0" / "result.json")
    arguments = [
        argument if argument.startswith("-") or argument == "none" else str(tmp_path / argument)
        for argument in command[3:]
    ]
    done = subprocess.run(
        [sys.executable, "-c", ONLY, *arguments], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "public" / "index.html").exists()
    uses = [step["uses"] for step in workflow["jobs"]["site"]["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in uses)
