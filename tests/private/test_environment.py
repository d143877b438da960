"""What comes from the environment reaches the model, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.jobs.job import Failure, PlannedJob, for_worker, from_description, read_job, to_description, write_job
from bench.jobs.local import LocalLauncher
from bench.jobs.run_job import run_job
from bench.private.environment import VARIABLE, FromEnvironment
from bench.schema.result import read_result
from run_bench import compose

ROOT = Path(__file__).resolve().parents[2]
SECRET = "hf_s3cr3tT0ken_of_ada"
CUSTOM = ["model=custom", "model._target_=tokened.Tokened"]


@pytest.fixture(autouse=True)
def secrets_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("SIZE", "1333")
    monkeypatch.setenv("ALL_OPTIONS", "{a: 1, b: text}")
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))


def options(*arguments: str) -> tuple[dict[str, object], dict[str, object]]:
    """Give the options that are shown, and those that the model gets."""
    [job] = compose([*CUSTOM, *arguments])
    shown = job.config.model.options
    return shown, job.from_environment.fill(shown)


def test_a_text_with_a_variable_is_shown_as_it_is_written() -> None:
    shown, filled = options("+model.options.token='Bearer ${oc.env:TOKEN}'", "+model.options.plain=3")
    assert shown == {"token": "Bearer ${oc.env:TOKEN}", "plain": 3}
    assert filled == {"token": f"Bearer {SECRET}", "plain": 3}


def test_a_variable_anywhere_in_an_option() -> None:
    shown, filled = options(
        "+model.options.headers={a: [x, '${oc.env:TOKEN}'], b: 1}",
        "+model.options.size='${oc.decode:${oc.env:SIZE}}'",
        "+model.options.again=${model.options.headers}",
        "+model.options.usual=${oc.env:NOT_SET,usual value}",
        "+model.options.library=${model.library}",
    )
    assert shown == {
        "headers": {"a": ["x", "${oc.env:TOKEN}"], "b": 1},
        "size": "${oc.decode:${oc.env:SIZE}}",
        "again": {"a": ["x", "${model.options.headers}"], "b": 1},
        "usual": "${oc.env:NOT_SET,usual value}",
        "library": "custom",
    }
    headers = {"a": ["x", SECRET], "b": 1}
    assert filled == {
        "headers": headers, "size": 1333, "again": headers, "usual": "usual value", "library": "custom"
    }  # fmt: skip


def test_all_options_from_one_variable(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    text = "family: f\nlibrary: l\n_target_: a.B\noptions: ${oc.decode:${oc.env:ALL_OPTIONS}}\n"
    (tmp_path / "model" / "mine.yaml").write_text(text)
    [job] = compose(["model=mine", f"hydra.searchpath=[file://{tmp_path}]"])
    written = "${oc.decode:${oc.env:ALL_OPTIONS}}"
    assert job.config.model.options == {"a": written, "b": written}
    assert job.from_environment.options == {"a": 1, "b": "text"}


def test_a_variable_that_is_not_set_is_one_line() -> None:
    with pytest.raises(UserError, match=r"model\.options\.token.*'NOT_SET' not found"):
        compose([*CUSTOM, "+model.options.token=${oc.env:NOT_SET}"])


def planned(folder: Path) -> PlannedJob:
    [job] = compose([*CUSTOM, "+model.options.token=${oc.env:TOKEN}"])
    return PlannedJob(job.config, job.choices, folder, from_environment=job.from_environment)


def test_no_file_of_a_job_holds_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = planned(tmp_path)
    assert SECRET not in repr(job)
    write_job(job)
    assert SECRET not in (tmp_path / "job.json").read_text()
    for name, value in job.from_environment.variables().items():
        monkeypatch.setenv(name, value)
    read = read_job(tmp_path)
    assert read.config.model.options == {"token": "${oc.env:TOKEN}"}
    assert read.filled.model.options == {"token": SECRET}
    assert VARIABLE not in os.environ
    assert from_description(json.loads(json.dumps(to_description(job)))) == job
    assert dataclasses.asdict(for_worker(job))["from_environment"]["options"] == {"token": SECRET}


def test_the_last_words_of_a_check_that_died_are_hidden(tmp_path: Path) -> None:
    """They are read from its log by the command, so no code of the check has seen them."""
    job = dataclasses.replace(planned(tmp_path), failure=Failure("crashed", f"its last words: token {SECRET}"))
    result = run_job(job, ["speed"], LocalLauncher(), lambda _: None)
    assert result.reason == "its last words: token ${oc.env:TOKEN}"
    assert SECRET not in (tmp_path / "result.json").read_text()


def test_a_changed_value_changes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = FromEnvironment({"a": "x", "w": "1.pt"}), FromEnvironment({"a": "y", "w": "1.pt"})
    assert one.digest(but={}) == FromEnvironment({"w": "1.pt", "a": "x"}).digest(but={}) != other.digest(but={})
    assert one.digest(but={"a": ""}) == other.digest(but={"a": ""})  # a file: it counts by its content
    assert one.digest(but={"a": "", "w": ""}) is FromEnvironment().digest(but={}) is None
    assert ((tmp_path / "cache" / "key").stat().st_mode & 0o777) == 0o600
    before = one.digest(but={})
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "another machine"))
    assert one.digest(but={}) != before


def test_a_log(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"\xff before\n" + SECRET.encode() + b" after\n")
    values = FromEnvironment({"token": SECRET}, {SECRET: "${oc.env:TOKEN}"})
    values.hide_in_file(log)
    assert log.read_bytes() == b"\xff before\n${oc.env:TOKEN} after\n"
    values.hide_in_file(tmp_path / "absent.log")


def run_in_the_home_of_ada(home: Path, bright_squares: list[str], environment: dict[str, str]) -> str:
    """Measure two rows, one of which fails, in a home folder that has the class and the data; give what was printed."""
    (home / "code").mkdir(parents=True)
    (home / "code" / "tokened.py").write_text((ROOT / "tests" / "toys" / "tokened.py").read_text())
    dataset = dict(argument.split("=", 1) for argument in bright_squares)
    os.symlink(dataset["dataset.images"], home / "pictures")
    (home / "squares.json").write_text(Path(dataset["dataset.annotations"]).read_text())
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "run_bench.py"), "model=custom", "out=results", "device=cpu"),
            *("model._target_=tokened.py:Tokened", "+model.options.token=${oc.env:TOKEN}"),
            "+model.options.headers={Authorization: 'Bearer ${oc.env:TOKEN}'}",
            f"+model.options.sha256={hashlib.sha256(SECRET.encode()).hexdigest()}",
            *("+model.options.fail=false,true", "passes=[accuracy]", "dataset=coco"),
            *(f"dataset.images={home}/pictures", "dataset.annotations='~/squares.json'"),
        ],
        cwd=home / "code",
        env={**environment, "HOME": str(home), "LOGNAME": "ada", "TOKEN": SECRET},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return done.stdout + done.stderr


def test_a_whole_run_publishes_neither_the_secret_nor_the_home(
    bright_squares: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home" / "ada"
    printed = run_in_the_home_of_ada(home, bright_squares, environment)
    results = [read_result(path) for path in sorted(home.glob("code/results/jobs/*/result.json"))]
    assert sorted(result.status for result in results) == ["failed", "ok"]
    [reason] = [result.reason for result in results if result.reason]
    assert "~/code/tokened.py: the server refused '${oc.env:TOKEN}'" in reason
    assert "constructed with ${oc.env:TOKEN}" in next(home.glob("code/results/jobs/*/worker.log")).read_text()
    for result in results:
        assert result.config["model"]["options"]["headers"] == {"Authorization": "Bearer ${oc.env:TOKEN}"}
        assert result.config["dataset"]["annotations"] == "squares.json"
    written = {path: path.read_bytes() for path in home.glob("code/results/**/*") if path.is_file()}
    for path, content in written.items():
        assert SECRET.encode() not in content, path
        if path.suffix != ".log" and path.name != "job.json":  # these are of this machine
            assert str(home).encode() not in content, path
    assert SECRET not in printed
    assert any("panel" in path.name for path in written), [path.name for path in written]
