"""Test the check of a GPU's figures with small programs in the place of its steps, and that its real steps exist."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aims
import check
import pytest
from aims import Line
from check import Check, Step

from run_bench import compose

ROOT = Path(__file__).resolve().parents[2]


def step(name: str, code: str, lines: Callable[[], list[Line]] = list, limit_s: float = 30) -> Step:
    return Step(name, [sys.executable, "-c", code], limit_s, lines)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Give a function that runs the check with these steps, on a machine of eight cores with a GPU."""
    (tmp_path / "images").mkdir()
    (tmp_path / "instances.json").write_text("{}")
    monkeypatch.setattr("check._has_gpu", lambda python: True)
    monkeypatch.setattr("os.cpu_count", lambda: 8)

    def call(together: Sequence[Step], alone: Sequence[Step] = (), *more: str) -> int:
        monkeypatch.setattr(Check, "together", lambda self: list(together))
        monkeypatch.setattr(Check, "alone", lambda self: list(alone))
        return check.main([*map(str, (tmp_path / "images", tmp_path / "instances.json", tmp_path / "out")), *more])

    return call


def says(what: str, ok: bool) -> Callable[[], list[Line]]:
    return lambda: [Line(what, "1", "1", ok)]


def test_the_exit_status_is_1_where_a_figure_falls_short(
    run: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run([step("a", "pass", says("good", True))], [step("b", "pass", says("also good", True))]) == 0
    assert "0 of 3 figures fall short" in capsys.readouterr().out
    assert run([step("a", "pass", says("good", True))], [step("b", "raise SystemExit(1)", says("bad", False))]) == 1
    told = capsys.readouterr().out
    assert re.search(r"^bad +\| 1 +\| 1 +\| NO$", told, re.MULTILINE)
    assert re.search(r"^seconds of this check +\| \d+ +\| at most 300 +\| yes$", told, re.MULTILINE)
    assert "1 of 3 figures fall short" in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1", "2"], "no call reads another's files"


def test_a_command_that_breaks_falls_short_with_its_last_words(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    broken = step("broken", "import sys; print('starts'); print('no such model'); sys.exit(2)", says("figure", True))
    assert run([broken]) == 1
    assert re.search(r"the command of broken +\| exit status 2: no such model", capsys.readouterr().out)


def test_figures_that_cannot_be_read_cost_no_other(
    run: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "jobs" / "a" / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert run([step("a", "pass", lambda: aims.row_lines(tmp_path, 1))], [step("b", "pass", says("good", True))]) == 1
    told = capsys.readouterr().out
    assert re.search(r"the figures of a +\| .*result\.json", told)
    assert re.search(r"good +\| 1 +\| 1 +\| yes", told)


def test_a_step_is_ended_at_its_limit_with_all_that_it_started(
    run: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    beats = tmp_path / "beats"
    child = f"import time\nwhile True: open({str(beats)!r}, 'a').write('.'); time.sleep(0.05)"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    assert run([step("slow", code, says("figure", True), limit_s=3)]) == 1
    assert re.search(r"the command of slow +\| it was interrupted at its limit", capsys.readouterr().out)
    length = len(beats.read_text())
    assert length
    time.sleep(0.3)
    assert len(beats.read_text()) == length


def test_the_table_is_printed_in_time_whatever_the_steps_take(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("check.LONGEST_SECONDS", 1)
    sleeps = "import time; time.sleep(60)"
    assert run([step("a", sleeps, says("good", True))], [step("b", sleeps, says("also good", True))]) == 1
    told = capsys.readouterr().out
    assert all(f"the command of {name}" in told for name in "ab")


def test_what_is_right_or_wrong_runs_at_once_and_what_is_timed_alone(run: Any, tmp_path: Path) -> None:
    meets = f"""
import pathlib, sys, time
here, end = pathlib.Path({str(tmp_path)!r}), time.time() + 20
(here / OWN).touch()
while not (here / OTHER).exists():
    if time.time() > end:
        sys.exit(3)
    time.sleep(0.01)
"""
    alone = f"""
import pathlib, sys, time
running = pathlib.Path({str(tmp_path / "running")!r})
if running.exists():
    sys.exit(3)
running.touch()
time.sleep(0.3)
running.unlink()
"""
    together = [step(own, f"OWN, OTHER = {own!r}, {other!r}{meets}") for own, other in ("ab", "ba")]
    assert run(together, [step("c", alone), step("d", alone)]) == 0


def test_a_rehearsal_fails_only_where_a_step_breaks(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([step("a", "raise SystemExit(1)", says("slow", False))], [], "--rehearse") == 0
    assert run([step("a", "raise SystemExit(4)", says("slow", False))], [], "--rehearse") == 1
    assert "1 steps broke" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("check._has_gpu", lambda python: False)
    assert run([step("a", "pass")]) == 2
    assert "torch sees no CUDA device here; --rehearse runs every step on the CPU" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_data_set_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        check.main([str(tmp_path / "images"), str(tmp_path / "a.json"), str(tmp_path / "out")])
    assert ended.value.code == 2
    assert f"{tmp_path / 'images'} is not there" in capsys.readouterr().err


def steps(rehearse: bool) -> dict[str, list[str]]:
    real = Check(Path("/data/images"), Path("/data/instances.json"), Path("/data/out"), rehearse)
    return {one.name: list(one.command[1:]) for one in (*real.together(), *real.alone())}


def test_every_test_that_a_step_names_is_there() -> None:
    named = [word for command in steps(False).values() for word in command if word.startswith("tests/")]
    assert len(named) == 9
    for word in named:
        file, _, function = word.partition("::")
        assert (ROOT / file).exists(), word
        assert not function or f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), word
    assert steps(True).keys() - steps(False).keys() == {f"precisions-{name}" for name in check.DEMO.every_precision}


def test_every_command_composes_to_what_the_aims_are_of() -> None:
    commands = steps(False)
    rows = [job.config for job in compose(commands["rows"][1:])]
    assert [(c.model.name, c.precision) for c in rows] == [
        (model, precision) for model in check.FULL_SIZE.rows for precision in ("fp32", "fp16")
    ]
    of_the_first_round = {"rounds": 1, "max_seconds": 1.5, "energy_seconds": 1.5, "max_warmup_seconds": 1.0}
    assert {key: getattr(rows[0].protocol, key) for key in of_the_first_round} == of_the_first_round
    assert (rows[0].input_size, rows[0].dataset.limit, rows[0].detections) == ("800x1333", 48, "saturated")
    assert set(rows[0].passes) == {"speed", "busy", "memory", "energy", "flops"}
    [compiled] = compose(commands["compile"][1:])
    assert (compiled.config.compile, compiled.config.device) == ("default", "cuda:0")
    assert "precision=fp32,tf32,fp16,bf16" in commands["precisions-point_rend_r50_mmdet"]


def test_some_of_the_steps_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "instances.json").write_text("{}")
    given = [*map(str, (tmp_path / "images", tmp_path / "instances.json", tmp_path / "out")), "--only"]
    asked = check._check_of([*given, "rle,card"])
    assert [[one.name for one in steps] for steps in (asked.together(), asked.alone())] == [["card"], ["rle"]]
    with pytest.raises(SystemExit):
        check._check_of([*given, "rel"])
    assert "there is no step rel; there are precisions-mask_rcnn_r50_torchvision," in capsys.readouterr().err
