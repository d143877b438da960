"""Tests interleaved rounds of base and head through the command, in a user's repository with real commits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import gate_cases
import pytest

from bench.gate import interleaved, sides
from bench.gate.data_there import path_kept
from bench.gate.interleaved import OTHER_DIED
from bench.history.store import History
from bench.jobs.job import PlannedJob
from bench.schema.config import BenchConfig
from bench.schema.gate_report import read_report
from bench.schema.latency import rounds_of
from bench.schema.result import INTERRUPTED, Result, read_result, write_result

ROOT = Path(__file__).resolve().parents[2]

MODEL = """
import os, time
from toy_models import Blobs


class Own(Blobs):
    def forward(self, batch):
        time.sleep({delay})
        {extra}
        return super().forward(batch)
"""

OWN = ["model=custom", "model._target_=own_model.Own", "passes=[speed]"]
QUICK = ["protocol.rounds=6", "protocol.min_samples=12", "protocol.precision=10", "protocol.warmup_batches=1"]
SHORT = ["gate.rounds=6", "gate.processes=1"]
SHORT += ["gate.thresholds.fps_end_to_end=none", "gate.thresholds.latency_ms_p95=none"]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def git(repository: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", "-C", str(repository), *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write_model(repository: Path, delay: float, extra: str = "pass") -> None:
    (repository / "own_model.py").write_text(MODEL.format(delay=delay, extra=extra))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a repository whose commit ``main`` has a model that sleeps 20 ms."""
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    write_model(path, 0.020)
    git(path, "add", "own_model.py")
    git(path, "commit", "-qm", "a model")
    return path


def given(bright_squares: list[str], *arguments: str, study: str = "study=ci") -> list[str]:
    return [study, *OWN, *QUICK, *(SHORT if study == "study=ci" else []), *bright_squares, *arguments]


@pytest.fixture
def run(repository: Path, environment: dict[str, str], bright_squares: list[str]) -> Run:
    def call(*arguments: str, study: str = "study=ci") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "run_bench.py"), *given(bright_squares, *arguments, study=study)]
        return subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True, timeout=200, check=False
        )

    return call


@pytest.fixture
def refused(repository: Path, run_here: Run, bright_squares: list[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command in this process, in the user's repository."""
    monkeypatch.chdir(repository)
    return lambda *arguments, study="study=ci": run_here(*given(bright_squares, *arguments, study=study))


def side(out: Path, name: str) -> Result:
    [path] = (out / name / "jobs").glob("*/result.json")
    return read_result(path)


def test_a_commit_with_a_sleep_in_it_fails_and_one_without_passes(repository: Path, run: Run, tmp_path: Path) -> None:
    """The same command passes before, and fails after the model sleeps 10 ms more, also with the same ``out=``."""
    (repository / "README.md").write_text("a change that touches no model")
    good = bad = tmp_path / "out"
    done = run("gate=interleaved", "gate.base_ref=main", f"out={good}")
    assert done.returncode == 0, done.stdout + done.stderr
    first = side(good, "head")
    # The same command with more rounds measures only the missing ones, in another pair of processes; also where it was
    # interrupted in a round, which no command could go on with before.
    for name in ("base", "head"):
        interrupted = replace(side(good, name), status="failed", reason=INTERRUPTED)
        write_result(interrupted, next((good / name / "jobs").glob("*/result.json")))
    assert run("gate=interleaved", "gate.base_ref=main", f"out={good}", "gate.rounds=8").returncode == 0
    second = side(good, "head")
    assert first.speed is not None
    assert second.speed is not None
    assert (len(first.speed.rounds), len(second.speed.rounds)) == (6, 8)
    assert second.speed.model.latency_ms[: len(first.speed.model.latency_ms)] == first.speed.model.latency_ms
    assert first.interleaved == second.interleaved
    write_model(repository, 0.030)
    done = run("gate=interleaved", "gate.base_ref=main", f"out={bad}")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Own: measured anew: own_model.py has changed" in " ".join(done.stdout.split())
    assert {path.parent.name for path in bad.glob("*/earlier")} == {"base", "head"}
    report = read_report(bad / "gate.json")
    [finding] = report.of("worse")
    assert (finding.model, finding.metric) == ("Own", "fps_model")
    # About 20 ms against about 30 is a third slower; the part of the time that is no sleep makes it a little less.
    assert finding.change is not None
    assert -0.36 < finding.change < -0.25
    assert finding.test.startswith("bootstrap over 6 pairs of rounds, each batch against itself")
    assert "Own: fps_model fell by" in " ".join(done.stdout.split())
    base, head = side(bad, "base"), side(bad, "head")
    assert base.speed is not None
    assert head.speed is not None
    assert min(base.speed.model.latency_ms) < 30 <= min(head.speed.model.latency_ms)
    assert base.interleaved == head.interleaved is not None
    # Every round has as many batches as the first, on both sides.
    assert len({len(part) for speed in (base.speed, head.speed) for part in rounds_of(speed)}) == 1
    assert len(head.speed.rounds) == 6
    assert (bad / "comparison.html").exists()
    assert git(repository, "worktree", "list").count("\n") == 0
    assert "base-checkout" not in {path.name for path in bad.iterdir()}


def test_a_worker_that_dies_in_its_round(repository: Path, run: Run, tmp_path: Path) -> None:
    """The head ends in its second or third round: its row is crashed, which is worse; the base keeps its own."""
    extra = "self.calls = getattr(self, 'calls', 0) + 1; self.calls > 36 and os._exit(7)"
    write_model(repository, 0.020, extra)
    done = run("gate=interleaved", "gate.base_ref=main", f"out={tmp_path / 'out'}")
    assert done.returncode == 3, done.stdout + done.stderr
    head, base = side(tmp_path / "out", "head"), side(tmp_path / "out", "base")
    assert (head.status, head.reason and "exit status 7" in head.reason) == ("crashed", True)
    assert (base.status, base.reason) == ("ok", OTHER_DIED)
    assert base.speed is not None
    assert head.speed is not None
    assert len(base.speed.rounds) == len(head.speed.rounds)


def test_a_head_that_cannot_be_imported_is_worse(repository: Path, run: Run, tmp_path: Path) -> None:
    """A misspelt module of the user's own is no absent library: the row failed, and the gate with it."""
    (repository / "own_model.py").write_text("import my_helpres\n" + MODEL.format(delay=0, extra="pass"))
    done = run("gate=interleaved", "gate.base_ref=main", f"out={tmp_path / 'out'}")
    assert done.returncode == 3, done.stdout + done.stderr
    [finding] = read_report(tmp_path / "out" / "gate.json").findings
    assert (finding.metric, finding.verdict) == ("status", "worse")
    assert finding.sentence.startswith("Own: ran in the base, failed in the head: ")
    assert "my_helpres" in finding.sentence


def test_rounds_that_only_one_side_has_are_dropped(tmp_path: Path) -> None:
    """A command that is killed between the two rounds of a pair leaves one more on one side."""
    both = [PlannedJob(BenchConfig(), {}, tmp_path / name) for name in ("base", "head")]
    for job, rounds in zip(both, ([[1.0, 2.0], [3.0], [4.0, 5.0]], [[6.0, 7.0], [8.0]]), strict=True):
        written = gate_cases.result()
        written.speed = gate_cases.speed(rounds)
        written.speed.detections_per_image = [1] * sum(map(len, rounds))
        write_result(written, job.result_path)
    interleaved._keep_pairs(both)
    base, head = (read_result(job.result_path).speed for job in both)
    assert base is not None
    assert head is not None
    assert (rounds_of(base), rounds_of(base, base.end_to_end)) == ([[1.0, 2.0], [3.0]], [[1.0, 2.0], [3.0]])
    assert rounds_of(head) == [[6.0, 7.0], [8.0]]
    assert len(base.detections_per_image) == 3
    head_result = read_result(both[1].result_path)
    head_result.speed = None
    write_result(head_result, both[1].result_path)
    interleaved._keep_pairs(both, least=1)
    kept = read_result(both[0].result_path).speed
    assert kept is not None
    assert rounds_of(kept) == [[1.0, 2.0]]
    interleaved._keep_pairs(both)
    assert read_result(both[0].result_path).speed is None


def test_a_worker_that_takes_too_much_memory_in_its_round(repository: Path, run: Run, tmp_path: Path) -> None:
    write_model(
        repository, 0.020, "time.sleep(getattr(self, 'held', None) is not None); self.held = bytearray(3 * 10**9)"
    )
    done = run("gate=interleaved", "gate.base_ref=main", "protocol.memory_limit_gb=2", f"out={tmp_path / 'out'}")
    assert done.returncode == 3, done.stdout + done.stderr
    head, base = side(tmp_path / "out", "head"), side(tmp_path / "out", "base")
    assert head.status == "out_of_memory"
    assert "the limit is 2 GB (protocol.memory_limit_gb)" in (head.reason or "")
    assert (base.status, base.reason) == ("ok", OTHER_DIED)


def test_maskbench_installed_inside_the_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment that git does not track is not in the base's checkout; a copy of maskbench that git tracks is."""
    root = repository / ".venv" / "packages"
    root.mkdir(parents=True)
    (root / "run_bench.py").write_text("")
    monkeypatch.setattr(sides, "ROOT", root)
    assert sides._root_there(repository, tmp_path / "tree") == root
    git(repository, "add", "--force", str(root))
    assert sides._root_there(repository, tmp_path / "tree") == tmp_path / "tree" / ".venv" / "packages"


def test_against_a_run_of_the_history(repository: Path, run: Run, refused: Run, tmp_path: Path) -> None:
    """The baseline is given by its name; both runs are kept, the second with its verdict, and CI has its files."""
    base, head, history = tmp_path / "base", tmp_path / "head", f"history={tmp_path / 'history'}"
    done = run(f"out={base}", history, study="study=none")
    assert done.returncode == 0, done.stdout + done.stderr
    write_model(repository, 0.030)
    # A row that another command measured in this folder, perhaps of another commit, is not this command's.
    write_result(replace(side(tmp_path, "base"), origin=None), head / "jobs" / "another" / "result.json")
    done = run("baseline=main@latest", f"out={head}", history)
    assert done.returncode == 3, done.stdout + done.stderr
    report = read_report(head / "gate.json")
    assert "another" not in {finding.job for finding in report.findings}
    [finding] = report.of("worse")
    assert finding.test.startswith("Mann-Whitney over 6 and 6 rounds")
    commit = git(repository, "rev-parse", "HEAD")
    assert report.base == f"main@latest (run 1, commit {commit[:10]})"
    runs = History(tmp_path / "history").runs()
    assert [(kept.commit, kept.branch, kept.gate) for kept in runs] == [
        (commit, "main", None),
        (f"{commit}-dirty", "main", "failed"),
    ]
    failure = ElementTree.parse(head / "junit.xml").find(".//testcase[@classname='Own'][@name='fps_model']/failure")
    assert failure is not None
    assert "Own: fps_model fell by" in failure.get("message", "")
    assert "Own fps\\_model" in (head / "summary.md").read_text()
    assert json.loads((head / "bigger_is_better.json").read_text())
    # No run has passed yet, and a file that is no history is refused before anything runs.
    done = refused("baseline=last-good", f"out={tmp_path / 'third'}", history)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    (tmp_path / "notes.txt").write_text("not a history")
    done = refused(f"out={tmp_path / 'third'}", f"history={tmp_path / 'notes.txt'}", study="study=none")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert not list((tmp_path / "third").rglob("result.json"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gate=interleaved"], "gate.base_ref is missing"),
        (["gate=interleaved", "gate.base_ref=nowhere"], "gate.base_ref=nowhere: no such commit in"),
        (["gate=interleaved", "gate.base_ref=main", "baseline=x"], "leave out baseline="),
        (
            ["gate=interleaved", "gate.base_ref=main", "gate.thresholds.fps_end_to_end=-3%"],
            "has p = 0.062 at least, after the correction over 2 tests",
        ),
        (["baseline="], "baseline= is empty"),
        ([], "baseline is missing: a gate compares with an earlier run"),
        (["baseline=nowhere"], "nowhere: no such folder"),
        (["baseline=nowhere", "gate.rounds=3"], "gate.rounds=3: the test over rounds needs 6"),
        (["baseline=nowhere", "gate.thresholds.fps_modle=-3%"], "gate.thresholds.fps_modle: no such metric; did you"),
        (["baseline=nowhere", "gate.thresholds.fps_model=3"], "gate.thresholds.fps_model=3: a higher fps_model"),
    ],
)
def test_wrong_input_is_refused_beforehand(arguments: list[str], words: str, refused: Run, tmp_path: Path) -> None:
    done = refused(*arguments, f"out={tmp_path / 'out'}")
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "out").rglob("result.json"))


def test_an_interpreter_keeps_its_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment's interpreter is a link; the file that it leads to belongs to another environment."""
    (tmp_path / "own" / "bin").mkdir(parents=True)
    (tmp_path / "base").mkdir()
    (tmp_path / "own" / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path / "own")
    kept = path_kept("model.python='bin/python'", tmp_path / "base")
    assert kept == f"model.python='{tmp_path}/own/bin/python'"
    assert path_kept("model=solo", tmp_path / "base") == "model=solo"
