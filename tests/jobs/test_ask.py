"""Tests the check before a study: what code of the user's does in it costs that model's row and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from python_path import python_path

from bench.errors import UserError
from bench.jobs.ask import Answer, CheckBrokenError, ask_interpreters
from bench.jobs.job import Failure, PlannedJob, Question, WorkerJob
from bench.jobs.messages import Message, Resolved, Verdict
from bench.jobs.worker.check import check
from bench.schema.config import BenchConfig, DatasetConfig, ModelConfig, ProtocolConfig
from bench.schema.result import Result, read_result

ROOT = Path(__file__).resolve().parents[2]

FAKE_CHECK = """
import json, os, pathlib, sys, time
from bench.jobs.messages import Channel, Progress, Refused, Resolved, Verdict
send = Channel(int(sys.argv[-1])).send
jobs = [job["config"]["model"] for job in json.load(sys.stdin)["jobs"]]
with open("asked", "a") as file:
    print(*[job["name"] for job in jobs], file=file)
{does}
"""
ANSWERS = """
send(Resolved("cpu"))
for job in jobs:
    {does}
    send(Verdict("ok", files={{"of": job["name"]}}))
"""


def draft(name: str, target: str = "adapters.any.Class", **protocol: Any) -> PlannedJob:
    model = ModelConfig(name=name, _target_=target)
    return PlannedJob(BenchConfig(model=model, protocol=ProtocolConfig(**protocol)), {}, Path())


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[Answer], list[str]]]:
    """Give a function that asks about drafts where the check is a program of a few lines.

    It gives the answers, and the names of the jobs that each process was asked about.
    """

    def ask(does: str, *drafts: PlannedJob) -> tuple[list[Answer], list[str]]:
        (tmp_path / "script.py").write_text(FAKE_CHECK.format(does=does))
        monkeypatch.setenv("PYTHONPATH", python_path(ROOT))
        monkeypatch.setattr(
            "bench.jobs.ask.worker_command", lambda _, __, *told: [sys.executable, "-u", "script.py", *told]
        )
        monkeypatch.chdir(tmp_path)
        return ask_interpreters(drafts, tmp_path / "check.log"), (tmp_path / "asked").read_text().splitlines()

    return ask


def test_classes_of_a_user_get_a_process_each(asked: Any) -> None:
    drafts = [draft("a"), draft("b", "mine.One"), draft("c"), draft("d", "mine.Two"), draft("e", "mine.One")]
    answers, processes = asked(ANSWERS.format(does="pass"), *drafts)
    assert answers == [Answer("cpu", files={"of": name}) for name in "abcde"]
    assert processes == ["a c", "b e", "d"]


def test_a_death_is_blamed_on_a_model_that_dies_alone(asked: Any) -> None:
    dies = """if job["name"] == "b": print("b is dying"); os._exit(3)"""
    answers, processes = asked(ANSWERS.format(does=dies), draft("a"), draft("b"), draft("c"))
    assert processes == ["a b c", "b c", "c"]
    assert [answer.failure and answer.failure.status for answer in answers] == [None, "crashed", None]
    reason = answers[1].failure.reason
    assert "ended with exit status 3" in reason
    assert "its last words: b is dying" in reason


def test_a_death_of_what_another_model_left_behind_is_not(asked: Any) -> None:
    dies = """if job["name"] == "b" and len(jobs) == 2: os._exit(3)"""
    answers, processes = asked(ANSWERS.format(does=dies), draft("a"), draft("b"))
    assert processes == ["a b", "b"]
    assert [answer.failure for answer in answers] == [None, None]


def test_a_constructor_that_hangs_has_a_limit(asked: Any) -> None:
    hangs = """if job["name"] == "b": time.sleep(60)"""
    began = time.monotonic()
    answers, _ = asked(ANSWERS.format(does=hangs), draft("a", check_limit_s=1), draft("b", check_limit_s=1))
    assert answers[1].failure == Failure("timeout", "not done after 1 s (protocol.check_limit_s)")
    assert time.monotonic() - began < 20


def test_the_start_of_a_check_is_no_part_of_a_constructor(asked: Any) -> None:
    """Importing torch takes long on a busy machine, and says nothing of the model."""
    answers, _ = asked("time.sleep(2)\n" + ANSWERS.format(does="pass"), draft("a", check_limit_s=1))
    assert answers == [Answer("cpu", files={"of": "a"})]


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("os.write(int(sys.argv[-1]), b'[1]\\n')", "no message of a worker: b'[1]'"),
        ("send(Progress('a', 1, 1, 1))", "no answer of a check: Progress("),
        ("os.write(int(sys.argv[-1]), b'x' * 2_000_000)", "no message of a worker: a line of more than"),
    ],
)
def test_what_is_no_answer_is_a_failure(asked: Any, does: str, told: str) -> None:
    answers, _ = asked(ANSWERS.format(does=does), draft("a"))
    assert answers[0].failure.status == "crashed"
    assert answers[0].failure.reason.startswith(told)


def test_a_child_that_holds_the_descriptor_delays_no_answer(asked: Any) -> None:
    began = time.monotonic()
    answers, _ = asked("if not os.fork(): time.sleep(60)\n" + ANSWERS.format(does="pass"), draft("a"))
    assert answers == [Answer("cpu", files={"of": "a"})]
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("does", "error", "told"),
    [
        ("send(Refused('device=cuda:7: no such device'))", UserError, "device=cuda:7: no such device"),
        ("send(Resolved('cpu')); send(Verdict('wrong input', 'no such file'))", UserError, "no such file"),
        ("sys.exit('torch is broken')", CheckBrokenError, "torch is broken"),
    ],
)
def test_what_concerns_the_command_ends_it(asked: Any, does: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        asked(does, draft("a"))


def test_a_runtime_that_cannot_use_the_device_is_skipped_beside_one_that_can(asked: Any) -> None:
    refuses = """if job["name"] == "b": send(Verdict("other device", "b has no CUDA")); continue"""
    answers, _ = asked(ANSWERS.format(does=refuses), draft("a"), draft("b"))
    assert [answer.skip_reason for answer in answers] == [None, "b has no CUDA"]
    with pytest.raises(UserError, match="b has no CUDA"):
        asked(ANSWERS.format(does=refuses), draft("b"), draft("b"))


@pytest.fixture
def verdict(bright_squares: list[str]) -> Callable[[str], Verdict]:
    """Give a function that checks a class in this process, and gives the verdict."""
    paths = dict(argument.split("=", 1) for argument in bright_squares)
    dataset = DatasetConfig("bright", paths["dataset.images"], paths["dataset.annotations"])

    def ask(target: str) -> Verdict:
        config = BenchConfig(model=ModelConfig(name="m", _target_=target, weights="own"), dataset=dataset)
        sent: list[Message] = []
        check(Question("cpu", [WorkerJob(config, None, None, "")]), sent.append)
        resolved, answer = sent
        assert resolved == Resolved("cpu")
        assert isinstance(answer, Verdict)
        return answer

    return ask


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RaisesInInit", "ValueError: num_classes must be 7, got 6 (habits.py:{}; see check.log)"),
        ("Exits", "SystemExit: licence key missing (habits.py:{}; see check.log)"),
        ("OwnArguments", "SystemExit: 2 (habits.py:{}; see check.log)"),
        ("MissingOwn", "ModuleNotFoundError: No module named 'my_helpres' (habits.py:{}; see check.log)"),
    ],
)
def test_what_a_constructor_raises_is_the_models_failure(
    verdict: Callable[[str], Verdict], name: str, reason: str
) -> None:
    lines = (ROOT / "tests" / "toys" / "habits.py").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"class {name}("))
    marks = ("raise ", "sys.exit(", "parse_args(", "import my_helpres")
    line = next(n for n in range(first, len(lines)) if any(mark in lines[n] for mark in marks)) + 1
    assert verdict(f"habits.{name}") == Verdict("failed", reason.format(line))


def test_a_class_that_keeps_every_promise_can_run(verdict: Callable[[str], Verdict]) -> None:
    given = verdict("habits.Bright")
    assert (given.status, given.reason, given.files) == ("ok", None, {})


@pytest.mark.parametrize("target", ["nothing", "no_such_module.Net", "habits.NoSuchClass", "no/such/file.py:Net"])
def test_a_class_that_does_not_exist_is_wrong_input(verdict: Callable[[str], Verdict], target: str) -> None:
    answer = verdict(target)
    assert answer.status == "wrong input"
    assert (answer.reason or "").startswith(f"model._target_={target}: ")


def test_one_models_habits_cost_no_other_row(
    environment: dict[str, str], bright_squares: list[str], tmp_path: Path
) -> None:
    """One command, with a relative ``out=``: three classes fail in the check, and the fourth is measured."""
    names = ["unruly.Unruly", "habits.RaisesInInit", "habits.Asks", "habits.Crashes"]
    command = [sys.executable, str(ROOT / "run_bench.py"), "model=custom", f"model._target_={','.join(names)}"]
    done = subprocess.run(
        [*command, *bright_squares, "passes=[accuracy]", "out=out"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    results = [read_result(path) for path in tmp_path.glob("out/jobs/*/result.json")]
    by_class: dict[str, Result] = {result.config["model"]["_target_"]: result for result in results}
    assert set(by_class) == set(names)
    unruly = by_class["unruly.Unruly"]
    assert (unruly.status, unruly.reason) == ("ok", None)
    assert unruly.accuracy is not None
    assert next(tmp_path.glob(f"out/jobs/*/{unruly.accuracy.predictions}")).is_file()
    ends = {name: (by_class[name].status, by_class[name].reason or "") for name in names[1:]}
    assert ends["habits.RaisesInInit"][0] == "failed"
    assert "num_classes must be 7, got 6 (habits.py:" in ends["habits.RaisesInInit"][1]
    assert ends["habits.Asks"][0] == "failed"
    assert "EOFError" in ends["habits.Asks"][1]
    assert ends["habits.Crashes"] == (
        "crashed",
        "the check of this model was killed by SIGSEGV; see check.log",
    )
    assert "SIGSEGV" in (tmp_path / "out" / "comparison.csv").read_text()
    log = (tmp_path / "out" / "check.log").read_text()
    assert "MyNet v3" in log
    assert "run finished, see you" in log
