"""Tests that a result is only taken for what its job would measure now, and that nothing measured is lost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gate_cases import result

from bench.data.dataset import local as local_set
from bench.device.fingerprint import Fingerprint
from bench.errors import UserError
from bench.jobs.job import PlannedJob, open_result, passes_due, write_job
from bench.jobs.run_job import _with_trained_weights
from bench.jobs.stored import settle, settle_together
from bench.schema.config import BenchConfig, DatasetConfig, ModelConfig
from bench.schema.parts.training import FinetuneResult
from bench.schema.result import MEASUREMENT_VERSION, Origin, Result, read_result, results_under, write_result

SOURCES = {"models.py": "aa"}
NOW = Fingerprint(sources=SOURCES, target="models.py", facts={"processor": "AMD EPYC 9354", "GPU": "NVIDIA H200"})
HERE = Origin("1" * 40, "main", False)


def job(out: Path, name: str = "net-coco-1", **fields: Any) -> PlannedJob:
    config = BenchConfig(model=ModelConfig(name="net", _target_="models.Net"), dataset=DatasetConfig(name="d"))
    planned = PlannedJob(config, {}, out / "jobs" / name, contents={"dataset": "d1"}, origin=HERE, now=NOW)
    return replace(planned, **fields)


def store(planned: PlannedJob, **fields: Any) -> Result:
    """Write a result with figures as the job's; ``fields`` of it are changed."""
    measured = result(machine={"cpu": {"name": "AMD EPYC 9354"}, "gpu": {"name": "NVIDIA H200"}})
    measured.config, measured.contents = dataclasses.asdict(planned.config), dict(planned.contents)
    measured.sources, measured.origin, measured.measurement_version = SOURCES, planned.origin, MEASUREMENT_VERSION
    for name, value in fields.items():
        setattr(measured, name, value)
    write_result(measured, planned.result_path)
    write_job(planned)
    return measured


def settled(*planned: PlannedJob) -> list[str]:
    lines: list[str] = []
    settle(planned, lines.append)
    return lines


def test_what_is_as_it_was_stays(tmp_path: Path) -> None:
    planned = job(tmp_path)
    store(planned)
    assert settled(planned) == []
    assert passes_due(planned, 1) == []


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ({"sources": {"models.py": "bb"}}, "models.py has changed"),
        ({"facts": {"processor": "Xeon"}}, "processor was AMD EPYC 9354 and is Xeon"),
    ],
)
def test_what_has_changed_is_measured_anew_and_kept(tmp_path: Path, now: dict[str, Any], why: str) -> None:
    planned = job(tmp_path)
    before = store(planned)
    changed = replace(planned, now=replace(NOW, **now))
    moved = tmp_path / "earlier" / planned.folder.name
    assert settled(changed) == [f"net: measured anew: {why} (the earlier result: {moved})"]
    assert read_result(moved / "result.json") == before
    assert passes_due(changed, 1) == list(changed.config.passes)
    # No report takes it for a row, and a second one finds a place of its own.
    assert results_under(tmp_path) == []
    store(changed, sources={"models.py": "cc"})
    [line] = settled(changed)
    assert line.endswith(f"{moved}-2)")


def test_an_older_way_of_measuring_is_kept_too(tmp_path: Path) -> None:
    planned = job(tmp_path)
    before = store(planned, measurement_version=1)
    [line] = settled(planned)
    assert "the version of the way of measuring was 1 and is 4" in line
    assert read_result(tmp_path / "earlier" / planned.folder.name / "result.json") == before


@pytest.mark.parametrize("content", ['{"schema_version": 99}', '{"schema_version": 3', ""])
def test_what_cannot_be_read_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    planned, other = job(tmp_path), job(tmp_path, "other-1", now=replace(NOW, sources={"models.py": "bb"}))
    planned.folder.mkdir(parents=True)
    planned.result_path.write_text(content)
    store(other)
    with pytest.raises(UserError) as refused:
        settled(other, planned)
    assert str(planned.result_path) in str(refused.value)
    assert f"give another out=, or delete {planned.folder} to measure anew" in str(refused.value)
    assert planned.result_path.read_text() == content
    assert other.result_path.exists(), "nothing is moved where something is refused"
    with pytest.raises(UserError, match="it is kept"):
        open_result(planned)
    assert planned.result_path.read_text() == content


def test_the_same_question_with_another_file_leaves_no_stale_row(tmp_path: Path) -> None:
    """Another content gives another folder; the row of the old content would stand beside the new one."""
    planned = job(tmp_path)
    store(planned)
    again = job(tmp_path, "net-coco-2", contents={"dataset": "d2"})
    [line] = settled(again)
    assert line.startswith("net: measured anew: the data set has changed (the earlier result: ")
    assert results_under(tmp_path) == []


@pytest.mark.parametrize(("weights", "left"), [("zoo", 0), ("my.onnx", 1)])
def test_another_export_of_a_zoos_weights_leaves_no_stale_row(tmp_path: Path, weights: str, left: int) -> None:
    """Its name in the cache holds versions of libraries. Of a path that a user gave, another one is another row."""
    config = BenchConfig(model=ModelConfig(name="net", _target_="models.Net", weights=weights))
    files = [{"config": config, "weights_path": f"/cache/net-{key}.onnx", "contents": {"weights": key}} for key in "ab"]
    before, now = (job(tmp_path, f"net-{number}", **fields) for number, fields in enumerate(files))
    store(before)
    lines = settled(now)
    assert len(lines) == 1 - left
    assert all("the file of the weights has changed" in line for line in lines)
    assert len(results_under(tmp_path)) == left


def test_what_is_said_of_a_files_weights_later_is_written_into_its_row(tmp_path: Path) -> None:
    """``model.exported_from`` decides below which base a row stands, and no figure: the file was measured once more."""

    def said(name: str, exported_from: str | None) -> PlannedJob:
        config = BenchConfig(model=ModelConfig(name="net", _target_="models.Net", exported_from=exported_from))
        return job(tmp_path, name, config=config)

    measured = store(said("net-1", None))
    for name, sha256 in (("net-2", "ab" * 32), ("net-3", "cd" * 32), ("net-1", None)):
        assert settled(now := said(name, sha256)) == []
        [path] = results_under(tmp_path)
        assert path == now.result_path
        assert passes_due(now, 1) == []
        kept = read_result(path)
        assert kept.config["model"]["exported_from"] == sha256
        assert dataclasses.replace(kept, config=measured.config) == measured


def test_a_folder_that_an_earlier_version_named_is_found_again(tmp_path: Path) -> None:
    """The same command after an upgrade measured all again, and the old row stayed beside the new one."""
    planned = job(tmp_path, "net-coco-new")
    store(job(tmp_path, "net-coco-old"))
    assert settled(planned) == []
    assert [path.parent for path in results_under(tmp_path)] == [planned.folder]
    assert passes_due(planned, 1) == []
    store(job(tmp_path, "net-coco-old"))
    [line] = settled(planned)
    assert "is an earlier result of the same job; it is now" in line
    assert [path.parent for path in results_under(tmp_path)] == [planned.folder]


def test_a_default_that_has_changed_is_measured_anew(tmp_path: Path) -> None:
    """The name of a job's folder does not hold what has its default."""
    planned = job(tmp_path)
    earlier = replace(planned.config, protocol=replace(planned.config.protocol, precision=0.05))
    store(replace(planned, config=earlier))
    [line] = settled(planned)
    assert line.startswith("net: measured anew: protocol.precision was 0.05 and is 0.01 (the earlier result: ")
    assert results_under(tmp_path) == []


def test_the_other_side_of_a_gate_keeps_its_folder(tmp_path: Path) -> None:
    store(job(tmp_path / "base", "old"))
    base, head = job(tmp_path / "base", "new"), job(tmp_path / "head", "new")
    settle_together([(head, base)], lambda line: None, of_commit=True)
    assert [path.parent for path in results_under(tmp_path)] in ([base.folder], [tmp_path / "base/jobs/old"])


def test_what_a_base_reads_takes_the_rounds_of_its_head_with_it(tmp_path: Path) -> None:
    base, head = job(tmp_path / "base"), job(tmp_path / "head")
    store(base)
    store(head)
    moved, lines = job(tmp_path / "base", "net-coco-2", contents={"dataset": "d2"}), list[str]()
    settle_together([(moved, head)], lines.append, of_commit=True)
    assert len(lines) == 2
    assert results_under(tmp_path) == []


def test_another_question_keeps_its_row(tmp_path: Path) -> None:
    planned = job(tmp_path)
    store(planned)
    other = job(tmp_path, "net-coco-2", contents={"dataset": "d2"})
    other = replace(other, config=replace(other.config, precision="bf16"))
    assert settled(other) == []
    # Two files in one command are two questions, even where only their contents tell them apart.
    both = [planned, job(tmp_path, "net-coco-3", contents={"dataset": "d3"})]
    assert settled(*both) == []
    assert len(results_under(tmp_path)) == 1


def test_a_training_stays_where_only_the_machine_has_changed(tmp_path: Path) -> None:
    training = FinetuneResult("scratch", 9, 1.0, 4, "d", checkpoint="trained.safetensors")
    planned = job(tmp_path)
    before = store(planned, finetune=training)
    (planned.folder / "trained.safetensors").write_bytes(b"weights")
    moved = replace(planned, now=replace(NOW, facts={"GPU": "NVIDIA H100"}))
    [line] = settled(moved)
    assert "GPU was NVIDIA H200 and is NVIDIA H100" in line
    kept = read_result(planned.result_path)
    assert (kept.finetune, kept.speed, kept.sources) == (training, None, SOURCES)
    assert (planned.folder / "trained.safetensors").exists()
    assert read_result(tmp_path / "earlier" / planned.folder.name / "result.json") == before


def test_a_row_whose_library_is_gone_keeps_its_figures(tmp_path: Path) -> None:
    planned = job(tmp_path)
    before = store(planned)
    assert settled(replace(planned, skip_reason="mmdet is not installed", now=Fingerprint())) == []
    assert read_result(planned.result_path) == before


def test_rounds_that_go_on_keep_their_commit(tmp_path: Path) -> None:
    planned = job(tmp_path)
    store(planned)
    later = replace(planned, origin=Origin("2" * 40, "main", False))
    assert settled(later) == []
    open_result(later)
    assert read_result(planned.result_path).origin == HERE
    # A result without a figure is of the commit at which it is begun.
    failed = store(planned, status="failed", speed=None, memory=None, energy=None, accuracy=None)
    assert not failed.measured
    open_result(later)
    assert read_result(planned.result_path).origin == later.origin


@pytest.mark.parametrize(
    ("origin", "why"),
    [
        (Origin("2" * 40, "main", False), "it was of commit 1111111111, and this is 2222222222"),
        (Origin("1" * 40, "main", True), "commit 1111111111 was not changed in the working tree then"),
        (Origin("1" * 40, "main", False, "a"), "commit 1111111111 was changed in another way in the working tree then"),
    ],
)
def test_a_pair_of_a_gate_is_of_the_commits_that_it_names(tmp_path: Path, origin: Origin, why: str) -> None:
    """A base branch that moved takes the head's rounds with it: they were interleaved with the old base's."""
    base, head = job(tmp_path / "base"), job(tmp_path / "head")
    store(base)
    store(head)
    lines: list[str] = []
    settle_together([(base, head)], lines.append, of_commit=True)
    assert lines == []
    settle_together([(replace(base, origin=origin), head)], lines.append, of_commit=True)
    assert len(lines) == 2
    assert all(why in line for line in lines)
    assert results_under(tmp_path) == []
    assert len(list(tmp_path.glob("*/earlier/*/result.json"))) == 2


def test_the_job_that_a_worker_reads_has_what_it_must_compare(tmp_path: Path) -> None:
    planned = job(tmp_path, weights_sha256="ab")
    planned.folder.mkdir(parents=True)
    write_job(planned)
    written = json.loads((planned.folder / "job.json").read_text())
    assert (written["contents"], written["weights_sha256"], written["checkout"]) == ({"dataset": "d1"}, "ab", None)


def test_trained_weights_are_those_that_the_training_left(tmp_path: Path) -> None:
    """A training that is over is measured later; another file in the place of its weights has no figures of it."""
    weights = b"weights"
    training = FinetuneResult("scratch", 9, 1.0, 4, "d", checkpoint="best.safetensors")
    planned = job(tmp_path)
    store(planned, finetune=training)
    path = planned.folder / "best.safetensors"
    path.write_bytes(weights)
    assert _with_trained_weights(planned).weights_sha256 == hashlib.sha256(weights).hexdigest()
    store(planned, finetune=replace(training, checkpoint_sha256=hashlib.sha256(weights).hexdigest()))
    assert _with_trained_weights(planned).weights_path == str(path)
    path.write_bytes(b"others")
    with pytest.raises(UserError, match=r"best\.safetensors has changed since its training ended"):
        _with_trained_weights(planned)
    path.unlink()
    with pytest.raises(UserError, match=r"best\.safetensors cannot be read: No such file"):
        _with_trained_weights(planned)


@pytest.mark.parametrize(("query", "left"), [("", 0), ("?version=1", 1)])
def test_what_has_changed_in_a_bucket_leaves_no_stale_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, left: int
) -> None:
    """The copies lie in two folders, and the same command asked for both; a query may be what names the file."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    address = f"memory://shop/stored/annotations.json{query}"

    def planned(name: str, content: bytes) -> PlannedJob:
        fsspec.filesystem("memory").pipe(f"/shop/stored/annotations.json{query}", content)
        there = DatasetConfig("d", annotations=address)
        config = dataclasses.replace(job(tmp_path).config, dataset=local_set(there))
        return job(tmp_path / "out", name, config=config, contents={"dataset": content.decode()})

    before, now = planned("net-1", b"one"), planned("net-2", b"other")
    assert before.config.dataset.annotations != now.config.dataset.annotations
    store(before)
    lines = settled(now)
    assert len(results_under(tmp_path / "out")) == left
    moved = tmp_path / "out" / "earlier" / "net-1"
    why = f"net: measured anew: the data set has changed (the earlier result: {moved})"
    assert lines == ([] if left else [why])
