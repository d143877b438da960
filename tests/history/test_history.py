"""The history: what is appended comes back, by name and whole, whatever else is done to the file at the same time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from datetime import datetime, timezone
from pathlib import Path

import pytest

from bench.cli.history import main
from bench.cli.outputs import check_history
from bench.device.origin import find_origin
from bench.errors import UserError
from bench.history import file, store
from bench.history.baseline import find_baseline
from bench.history.runs import Run, clock_notes, looks_like_name, prunable
from bench.history.store import History
from bench.schema.gate_report import GateReport
from bench.schema.result import Origin, Result, read_result, write_result

ROOT = Path(__file__).resolve().parents[2]

APPENDER = """
import sys, time
from pathlib import Path
from bench.history.store import History
from bench.schema.result import Origin, Result, write_result
history, folder, who, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
for number in range(count):
    path = folder / f"{who}-{number}" / "jobs" / "job" / "result.json"
    write_result(Result("ok", {"model": {"name": who}}, reason=str(number)), path)
    History(history).append([path], Origin(f"{number:040d}", who))
"""
"""Appends runs of one result each."""

KILLED = """
import sqlalchemy, sys, time
from pathlib import Path
from bench.history.store import History
from bench.schema.result import Origin
def wait(_):
    print("inside", flush=True)
    time.sleep(60)
def shrink(connection, _):
    connection.execute("PRAGMA cache_size = " + sys.argv[3])
sqlalchemy.event.listen(sqlalchemy.Pool, "connect", shrink)
sqlalchemy.event.listen(sqlalchemy.Engine, "commit", wait)
History(Path(sys.argv[1])).append(Path(sys.argv[2]), Origin("f" * 40, "main"))
"""
"""Stops with everything written and nothing committed; what the cache of so many pages cannot hold is in the file."""


def _machine(gpu: str = "NVIDIA H200") -> dict[str, object]:
    cpu = {"name": "AMD EPYC 9354", "usable_cores": 16}
    return {"cpu": cpu, "gpu": {"name": gpu}, "maskbench": {"version": "0.1.0"}}


def _run_folder(
    folder: Path, models: tuple[str, ...] = ("a", "b"), started: str | None = None, **fields: object
) -> Path:
    for model in models:
        result = Result("ok", {"model": {"name": model}}, machine=_machine(), started=started, notes=[folder.name])
        for name, value in fields.items():
            setattr(result, name, value)
        write_result(result, folder / "jobs" / f"job-{model}" / "result.json")
    return folder


def _gate(passed: bool) -> GateReport:
    return GateReport("base", "head", passed, "because", [])


@pytest.fixture(scope="module")
def appended(tmp_path_factory):
    """Five runs and their history: main (passed), main (passed), feature/fast-nms (passed), main (failed), main."""
    tmp_path = tmp_path_factory.mktemp("appended")
    history = History(tmp_path / "history.sqlite")
    plan = [("main", True), ("main", True), ("feature/fast-nms", True), ("main", False), ("main", None)]
    for number, (branch, passed) in enumerate(plan, start=1):
        folder = _run_folder(tmp_path / f"run{number}", started=f"2026-11-2{number}T10:00:00+00:00")
        gate = None if passed is None else _gate(passed)
        assert history.append(folder, Origin(f"{number}abcdef".ljust(40, "0"), branch), gate).new
    return tmp_path


@pytest.fixture
def history(appended, tmp_path):
    """A copy of it; the files of the runs are in run1, run2, ... of ``tmp_path``."""
    shutil.copytree(appended, tmp_path, dirs_exist_ok=True)
    return History(tmp_path)


def test_what_is_appended_comes_back_byte_by_byte(history, tmp_path):
    run = history.find("latest")
    assert (run.id, run.branch, run.gate, run.models) == (5, "main", None, ("a", "b"))
    assert run.machine == "NVIDIA H200, AMD EPYC 9354, 16 cores"
    assert (run.measured, run.maskbench) == ("2026-11-25T10:00:00+00:00", "0.1.0")
    out = history.checkout(run, tmp_path / "out")
    for model in ("a", "b"):
        relative = Path("jobs", f"job-{model}", "result.json")
        assert (out / relative).read_bytes() == (tmp_path / "run5" / relative).read_bytes()
        assert read_result(out / relative).notes == ["run5"]
    with pytest.raises(UserError, match="holds results already"):
        history.checkout(run, out)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[("latest", 5), ("main@latest", 5), ("feature/fast-nms@latest", 3), ("last-good", 3), ("main@last-good", 2)],
        *[("main@1abc", 1), ("main@4ABCDEF", 4), ("@3abcdef", 3)],
    ],
)
def test_names(history, name, expected):
    assert looks_like_name("dependabot/npm/@types/node@latest")
    assert looks_like_name(name)
    assert history.find(name).id == expected


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("mian@latest", r"no run of the branch 'mian'; did you mean main\?"),
        ("main@3abc", "no run 'main@3abc'; "),
        ("main@2abcdee", r"did you mean 2abcdef000\?"),
        ("main@lates", r"did you mean latest\?"),
        ("main@", "no run 'main@'"),
    ],
)
def test_a_name_that_there_is_not(history, name, line):
    with pytest.raises(UserError, match=line):
        history.find(name)


def test_without_a_good_run_the_newest_is_named(tmp_path):
    history = History(tmp_path / "h.sqlite")
    history.append(_run_folder(tmp_path / "run"), Origin("1" * 40, "main"))
    with pytest.raises(UserError, match="no run of main passed a gate so far; main@latest is the newest"):
        history.find("main@last-good")


def test_folders_are_no_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "main@latest").mkdir()
    for text in ("runs/mine", "main@latest", "", "runs/a@b/c", "main"):
        assert not looks_like_name(text)


def test_the_same_again_is_not_doubled(history, tmp_path):
    origin = Origin("5abcdef".ljust(40, "0"), "main")
    again = history.append(tmp_path / "run5", origin)
    assert (again.new, again.run.id) == (False, 5)
    assert again.notes == ["the same results of the same commit are run 5 of it already"]
    assert history.append(tmp_path / "run5", origin, _gate(True)).run.gate == "passed"
    assert history.append(tmp_path / "run5", Origin("6" * 40, "main")).new
    _run_folder(tmp_path / "run5", models="c")
    assert history.append(tmp_path / "run5", origin).run.models == ("a", "b", "c")
    assert len(history.runs()) == 7
    with sqlite3.connect(history.path) as connection:
        # Two results of each of five folders and one of c, however often appended.
        assert connection.execute("SELECT count(*) FROM contents").fetchone() == (11,)


def test_without_a_repository(tmp_path):
    history = History(tmp_path / "new" / "folder" / "h.db")
    assert find_origin(tmp_path, {}) == Origin()
    for number in range(2):
        history.append(_run_folder(tmp_path / f"run{number}"), Origin())
    assert not history.append(tmp_path / "run0", Origin()).new
    assert history.path == tmp_path / "new" / "folder" / "h.db"
    assert history.find("latest").name == "run 2"


def test_origin(tmp_path):
    def git(*arguments):
        names = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", "-C", tmp_path, *names, *arguments], check=True, capture_output=True)

    git("init", "-b", "trunk")
    git("commit", "--allow-empty", "-m", "first")
    found = find_origin(tmp_path, {})
    assert (found.branch, len(found.commit or "")) == ("trunk", 40)
    git("checkout", "--detach")
    assert find_origin(tmp_path, {}) == Origin(found.commit, None, False)
    # What is checked out may be another commit than the one that the job was started for.
    pull = {"GITHUB_SHA": "a" * 40, "GITHUB_HEAD_REF": "fix", "GITHUB_REF_NAME": "12/merge"}
    assert find_origin(tmp_path, pull) == Origin(found.commit, "fix", False)
    assert find_origin(tmp_path, pull | {"GITHUB_HEAD_REF": ""}) == Origin(found.commit, "12/merge", False)
    gitlab = {"CI_COMMIT_SHA": "b" * 40, "CI_COMMIT_REF_NAME": "main"}
    elsewhere = tmp_path / "sources"
    elsewhere.mkdir()
    shutil.rmtree(tmp_path / ".git")
    assert find_origin(elsewhere, gitlab) == Origin("b" * 40, "main")


def test_an_origin_says_whether_tracked_files_differ_from_the_commit(tmp_path):
    def git(*arguments):
        names = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", "-C", tmp_path, *names, *arguments], check=True, capture_output=True)

    (tmp_path / "net.py").write_text("a = 1")
    git("init", "-b", "trunk")
    git("add", "net.py")
    git("commit", "-m", "first")
    (tmp_path / "untracked.py").touch()
    assert find_origin(tmp_path, {}).changed is False
    (tmp_path / "net.py").write_text("a = 2")
    once = find_origin(tmp_path, {})
    assert once.changed is True
    (tmp_path / "net.py").write_text("a = 3")
    assert find_origin(tmp_path, {}).changes not in (None, once.changes)


def test_clocks_do_not_order_runs(tmp_path):
    history = History(tmp_path)
    history.append(_run_folder(tmp_path / "one", started="2026-11-22T12:00:00+00:00"), Origin("1" * 40, "main"))
    late = _run_folder(tmp_path / "two", started="2026-11-22T12:00:00+02:00", machine=_machine("NVIDIA L4"))
    notes = history.append(late, Origin("2" * 40, "main")).notes
    assert len(notes) == 1
    assert "run 2 was measured at 2026-11-22T10:00:00+00:00, before run 1 (2026-11-22T12:00:00+00:00" in notes[0]
    ahead = _run_folder(tmp_path / "three", started="2999-01-01T00:00:00+00:00")
    notes = history.append(ahead, Origin("3" * 40, "main")).notes
    assert len(notes) == 1
    assert "later than it was appended; runs stay in the order of appending" in notes[0]
    assert [run.id for run in history.runs()] == [1, 2, 3]
    assert history.find("latest").id == 3


def test_a_minute_between_clocks_is_none():
    def run(number, measured, machine):
        return Run(number, "2026-11-22T13:00:00+00:00", measured, None, None, machine, None, None)

    first = run(1, "2026-11-22T12:00:30+00:00", "a")
    assert clock_notes(run(2, "2026-11-22T12:00:00+00:00", "b"), first) == []
    assert clock_notes(run(2, "2026-11-22T10:00:00+00:00", "a"), first) == []
    assert len(clock_notes(run(2, "2026-11-22T10:00:00+00:00", "b"), first)) == 1


def test_processes_that_append_at_once_lose_nothing(tmp_path):
    path = tmp_path / "history"
    who = ["w0", "w1", "w2", "w3"]
    command = [sys.executable, "-c", APPENDER, str(path), str(tmp_path / "runs")]
    writers = [subprocess.Popen([*command, name, "20"], cwd=ROOT, stderr=subprocess.PIPE) for name in who]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors.decode()
    history = History(path)
    runs = history.runs()
    assert [run.id for run in runs] == list(range(1, 81))
    for name in who:
        of_one = history.runs(name)
        assert [int(run.commit or "") for run in of_one] == list(range(20))
        assert [history.results(run)[0].parse().reason for run in of_one[::7]] == ["0", "7", "14"]
    _assert_sound(history)


@pytest.mark.parametrize("cache_pages", [500, 1], ids=["in memory", "in the file"])
def test_a_writer_killed_before_its_commit_leaves_nothing(history, tmp_path, cache_pages):
    """What is in the file already must be rolled back by the next to open it."""
    folder = _run_folder(tmp_path / "killed", notes=[os.urandom(200_000).hex()])
    size = history.path.stat().st_size
    command = [sys.executable, "-c", KILLED, str(history.path), str(folder), str(cache_pages)]
    writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"inside\n"
    assert (history.path.stat().st_size > size + 100_000) == (cache_pages == 1)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert [run.id for run in history.runs()] == [1, 2, 3, 4, 5]
    _assert_sound(history)
    assert history.append(folder, Origin("f" * 40, "main")).run.id == 6


def test_a_killed_creator_leaves_a_file_that_can_be_begun(tmp_path):
    history = History(tmp_path / "h.sqlite")
    history.path.touch()
    with pytest.raises(UserError, match="nothing was appended to this history yet"):
        history.runs()
    assert history.append(_run_folder(tmp_path / "run"), Origin()).run.id == 1


def test_a_first_append_that_is_killed_leaves_nothing_in_the_way(tmp_path):
    """An empty file stood in the way of every later command with this ``history=``: exit status 2."""
    history = History(tmp_path / "h.sqlite")
    folder = _run_folder(tmp_path / "run", notes=[os.urandom(200_000).hex()])
    command = [sys.executable, "-c", KILLED, str(history.path), str(folder), "1"]
    writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"inside\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    check_history(str(history.path))
    assert history.append(folder, Origin()).run.id == 1
    _assert_sound(history)


def test_an_empty_file_is_a_new_history(tmp_path):
    (tmp_path / "h.sqlite").touch()
    check_history(str(tmp_path / "h.sqlite"))
    (tmp_path / "h.txt").write_text("no database at all, " * 100)
    with pytest.raises(UserError, match="not an SQLite file"):
        check_history(str(tmp_path / "h.txt"))


def _execute(history, statement, *values):
    with contextlib.closing(sqlite3.connect(history.path)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(statement, values)
        connection.commit()


BOMB = zlib.compress(b" " * 2**24)
"""16 KiB that unpack to 16 MiB."""


@pytest.mark.parametrize(
    ("blob", "line"),
    [
        (b"no zlib", "damaged (Error -3"),
        (zlib.compress(b"{}"), "damaged: it is not what was appended"),
        (None, "damaged: it is not what was appended"),
        ("text", "damaged ("),
        (BOMB, "has 1 MiB or more"),
    ],
    ids=["no zlib", "another content", "cut", "text", "bomb"],
)
def test_a_damaged_result_is_left_out_with_a_line(history, tmp_path, capsys, monkeypatch, blob, line):
    monkeypatch.setattr(store, "MOST_BYTES", 2**20)
    digest = hashlib.sha256((tmp_path / "run5/jobs/job-a/result.json").read_bytes()).hexdigest()
    packed = zlib.compress((tmp_path / "run5/jobs/job-a/result.json").read_bytes())
    _execute(history, "UPDATE contents SET zlib = ? WHERE sha256 = ?", packed[:-20] if blob is None else blob, digest)
    for command in (["trend"], ["export", "--csv", str(tmp_path / "all.csv")]):
        assert main([command[0], str(history.path), *command[1:]]) == 0
        (told,) = capsys.readouterr().err.splitlines()
        assert told.startswith("warning: run 5: history, job-a: ")
        assert line in told
        assert told.endswith("; left out")
    # Who asks for this very run must not get a part of it.
    assert main(["export", str(history.path), "--run", "latest", "--out", str(tmp_path / "out")]) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"run 5: history, job-a: .*; name another run"):
        find_baseline("latest", str(history.path))
    assert main(["export", str(history.path), "--run", "main@4abcdef", "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [("appended", "soon"), ("measured", "2026-11-25T10:00:00"), ("machine", b"\x00"), ("gate", 7), ("branch", 1.5)],
)
def test_a_damaged_run_is_left_out_with_a_line(history, tmp_path, capsys, column, value):
    # A column of text turns a number into text; a column without a type keeps it.
    _execute(history, "CREATE TABLE kept AS SELECT * FROM runs")
    _execute(history, "DROP TABLE runs")
    _execute(
        history,
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, appended, measured, 'commit', branch, machine,"
        "maskbench, gate, digest)",
    )
    _execute(history, "INSERT INTO runs SELECT * FROM kept")
    _execute(history, f"UPDATE runs SET {column} = ? WHERE id = 5", value)
    commands = (["list"], ["trend"], ["export", "--csv", str(tmp_path / "all.csv")], ["prune", "--keep", "9"])
    for command in commands:
        assert main([command[0], str(history.path), *command[1:]]) == 0
        (told,) = capsys.readouterr().err.splitlines()
        assert told.startswith(f"warning: {history.path}: run 5: damaged: ")
    assert [run.id for run in history.runs()] == [1, 2, 3, 4]


def test_a_history_with_a_view_is_refused(history, capsys):
    """A query of a view can go on without end."""
    _execute(history, "ALTER TABLE runs RENAME TO kept")
    _execute(
        history,
        "CREATE VIEW runs AS "
        "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT * FROM n JOIN kept",
    )
    assert main(["list", str(history.path)]) == 2
    assert "has views or triggers" in capsys.readouterr().err


def _assert_sound(history):
    with contextlib.closing(sqlite3.connect(history.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        orphans = "SELECT count(*) FROM contents WHERE sha256 NOT IN (SELECT sha256 FROM results)"
        assert connection.execute(orphans).fetchone() == (0,)


def test_one_that_waits_too_long_says_so(history, tmp_path, monkeypatch):
    monkeypatch.setattr(file, "LOCK_TIMEOUT_S", 0.2)
    with contextlib.closing(sqlite3.connect(history.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert len(history.runs()) == 5
        began = time.monotonic()
        with pytest.raises(UserError, match="another process has had it locked"):
            history.append(_run_folder(tmp_path / "new"), Origin())
        assert time.monotonic() - began < 5


def _foreign(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE moz_places (id INTEGER)")
        connection.commit()


def _newer(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {file.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (_foreign, "an SQLite database, but not a history of maskbench"),
        (_newer, "a history of schema 99, this maskbench reads 1"),
        (lambda path: path.write_text("no database at all, " * 100), "not an SQLite file"),
    ],
)
def test_files_that_are_no_history(tmp_path, capsys, make, line):
    path = tmp_path / "h.sqlite"
    make(path)
    content = path.read_bytes()
    with pytest.raises(UserError, match=line):
        History(path).append(_run_folder(tmp_path / "run"), Origin())
    assert main(["list", str(path)]) == 2
    assert line in capsys.readouterr().err
    assert path.read_bytes() == content


def test_what_cannot_be_appended(history, tmp_path):
    with pytest.raises(UserError, match=r"no jobs/\*/result.json in it"):
        history.append(tmp_path / "run1" / "jobs", Origin())
    with pytest.raises(UserError, match="two results of the job job-a"):
        history.append([tmp_path / f"run{n}" / "jobs" / "job-a" / "result.json" for n in (1, 2)], Origin())
    folder = _run_folder(tmp_path / "bad")
    (folder / "jobs" / "job-b" / "result.json").write_text('{"schema_version": 7}')
    with pytest.raises(UserError, match="schema_version 7"):
        history.append(folder, Origin())
    assert len(history.runs()) == 5
    missing = History(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no such history"):
        missing.runs()
    assert not missing.path.parent.exists()


def test_a_job_cannot_leave_its_folder(history, tmp_path):
    with contextlib.closing(sqlite3.connect(history.path)) as connection:
        connection.execute("UPDATE results SET job = '../../evil' WHERE job = 'job-a'")
        connection.commit()
    with pytest.raises(UserError, match="no name of a folder"):
        history.checkout(history.find("latest"), tmp_path / "a" / "b")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        ({"keep": 1}, [1, 4]),
        ({"keep": 1, "last_good": True}, [1, 2, 4]),
        ({"keep": 2}, [1]),
        ({"keep": 9}, []),
        ({"before": datetime(2999, 1, 1, tzinfo=timezone.utc)}, [1, 4, 5]),
        ({"before": datetime(2999, 1, 1, tzinfo=timezone.utc), "keep": 1}, [1, 4]),
        ({"before": datetime(2000, 1, 1, tzinfo=timezone.utc)}, []),
    ],
)
def test_what_pruning_takes(history, arguments, gone):
    assert [run.id for run in prunable(history.runs(), **arguments)] == gone


def test_prune(history, tmp_path, capsys):
    assert main(["prune", str(history.path), "--keep", "1", "--dry-run"]) == 0
    assert "2 runs would be removed" in capsys.readouterr().out
    assert len(history.runs()) == 5
    size = history.path.stat().st_size
    assert main(["prune", str(history.path), "--keep", "1"]) == 0
    assert [run.id for run in history.runs()] == [2, 3, 5]
    assert history.path.stat().st_size <= size
    _assert_sound(history)
    # The number of a run that is gone is not given again.
    history.delete([history.find("latest")])
    assert history.append(_run_folder(tmp_path / "next"), Origin()).run.id == 6
    assert len(history.results(history.find("last-good"))) == 2


def test_list_and_export(history, tmp_path, capsys):
    assert main(["list", str(history.path.parent), "--branch", "main"]) == 0
    out = capsys.readouterr().out
    assert out.count("│ main ") == 4
    assert "5abcdef000" in out
    assert main(["list", str(history.path), "--branch", "mian"]) == 2
    assert "did you mean main?" in capsys.readouterr().err
    assert main(["export", str(history.path), "--run", "main@last-good", "--out", str(tmp_path / "base")]) == 0
    assert json.loads((tmp_path / "base/jobs/job-a/result.json").read_text())["notes"] == ["run2"]
    for wrong in (
        ["export"],
        ["export", "--run", "latest"],
        ["prune"],
        ["prune", "--before", "soon"],
        ["trend", "--last", "0"],
    ):
        with pytest.raises(SystemExit, match="2"):
            main([wrong[0], str(history.path), *wrong[1:]])


def test_an_empty_history_is_exit_1(history, capsys):
    history.delete(history.runs())
    assert main(["list", str(history.path)]) == 1
    with pytest.raises(UserError, match="holds no run"):
        history.find("latest")
