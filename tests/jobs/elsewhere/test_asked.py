"""Tests of what goes to a node and what comes back: nothing is lost on the way, and no secret is on it."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.jobs.elsewhere.archive import packed, unpack
from bench.jobs.elsewhere.asked import Asked, Order, Version, asked
from bench.jobs.job import ComposedJob, PlannedJob
from bench.private.environment import FromEnvironment
from bench.schema.config import BenchConfig, DatasetConfig, LauncherConfig, ModelConfig, TrainSplitConfig

RAY, SLURM = LauncherConfig("ray", address="host:6379"), LauncherConfig("slurm")
OUT = Path("runs/out")


def _job(**changes: object) -> ComposedJob:
    options = {"depth": 50, "token": "${oc.env:TOK}"}
    model = ModelConfig(name="m", family="m", library="l", _target_="a.B", options=options)
    config = BenchConfig(model=model, dataset=DatasetConfig(name="d", images="i", annotations="a.json"))
    return ComposedJob(replace(config, **changes), {"model": "custom"})  # type: ignore[arg-type]


def _secret(value: str = "s3cr3t-value") -> ComposedJob:
    return replace(_job(), from_environment=FromEnvironment({"token": value}, {value: "${oc.env:TOK}"}))


def test_jobs_are_the_same_after_the_way() -> None:
    sent = asked([_job()], "maskbench model=m", RAY, ["a.py"], OUT)
    there = Asked.from_json(sent.to_json())
    assert there == sent
    assert there.results == str(Path.cwd() / OUT)
    [job] = there.jobs
    # but for the launcher: what was measured says nothing of a cluster's address
    assert job.composed() == replace(_job(), config=replace(_job().config, launcher=LauncherConfig()))
    planned = PlannedJob(job.config, {}, Path("name"), contents={"dataset": "1"})
    order = Order(there, planned)
    assert Order.from_json(order.to_json()) == order


def test_a_node_with_another_maskbench_refuses() -> None:
    sent = replace(asked([_job()], "", RAY, [], OUT), version=Version("0.0.1"))
    with pytest.raises(UserError, match=r"this node has another maskbench \(.*; the command has 0\.0\.1, "):
        Asked.from_json(sent.to_json())
    unknown = json.loads(asked([_job()], "", RAY, [], OUT).to_json())
    unknown["jobs"][0]["config"]["made_up"] = 1
    with pytest.raises(UserError, match="describes jobs in another way"):
        Asked.from_json(json.dumps(unknown))


def test_a_secret_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^launcher=ray: model\.options\.token has its value from the environment"):
        asked([_secret()], "", RAY, [], OUT)
    monkeypatch.setenv("TOK", "s3cr3t-value")
    sent = asked([_secret()], "", SLURM, [], OUT)
    assert "s3cr3t" not in sent.to_json()
    [job] = Asked.from_json(sent.to_json()).jobs
    assert job.composed() == replace(_secret(), config=replace(_job().config, launcher=LauncherConfig()))
    monkeypatch.setenv("TOK", "another")  # what the variable holds on the node counts there
    assert job.composed().from_environment.options == {"token": "another"}
    monkeypatch.delenv("TOK")
    with pytest.raises(UserError, match=r"^model\.options: .*TOK"):
        job.composed()
    monkeypatch.setenv("TOK", "another")
    with pytest.raises(UserError, match="cannot repeat"):  # it came from elsewhere too
        asked([_secret()], "", SLURM, [], OUT)


def test_where_a_node_has_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = TrainSplitConfig(images="coco/train", annotations="/other/t.json")
    dataset = DatasetConfig(name="d", images="coco/val", annotations=str(tmp_path / "coco" / "a.json"), train=train)
    job = _job(dataset=dataset)
    for name in ("coco/val/1.jpg", "coco/train/1.jpg", "coco2/w.pt"):
        Path(name).parent.mkdir(parents=True)
        Path(name).touch()
    job.config.model.weights = "coco2/w.pt"
    launcher = replace(RAY, data=[f"{tmp_path}/coco:/mnt/coco", f"{tmp_path}:/mnt/all"])
    [there] = asked([job], "", launcher, [], OUT).jobs
    assert (there.config.dataset.images, there.config.dataset.annotations) == ("/mnt/coco/val", "/mnt/coco/a.json")
    assert there.config.dataset.train == TrainSplitConfig(images="/mnt/coco/train", annotations="/other/t.json")
    assert there.config.model.weights == "/mnt/all/coco2/w.pt"
    [same] = asked([job], "", RAY, [], OUT).jobs
    assert same.config.dataset == dataset
    with pytest.raises(UserError, match=r"^launcher\.data=\[/a\]: must be a folder here and the one of a node"):
        asked([job], "", replace(RAY, data=["/a"]), [], OUT)


def test_a_word_for_weights_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for word in ("random", "zoo", "own", "weights/demo_mask_rcnn.safetensors"):
        job = _job()
        job.config.model.weights = word
        [there] = asked([job], "", replace(RAY, data=[f"{tmp_path}:/mnt"]), [], OUT).jobs
        assert there.config.model.weights == word


def test_what_a_file_was_exported_from_is_sent_as_a_digest(tmp_path: Path) -> None:
    """A node need not have the weights: it only says in the row which they are."""
    (tmp_path / "weights.pth").write_bytes(b"w")
    model = ModelConfig(name="m", weights="m.onnx", exported_from=str(tmp_path / "weights.pth"))
    [there] = asked([_job(model=model)], "", RAY, [], OUT).jobs
    assert there.config.model.exported_from == "50e721e49c013f00c62cf59f2163542a9d8df02464efeb615d31051b0fddc326"


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    files = {"jobs/n/result.json": b"{}", "jobs/n/w.pt": b"\0" * 9, "jobs/n/deep/p.json": b"[]", "jobs/m/x": b"x"}
    for name, content in {**files, "jobs/n/.result.json.12": b"half"}.items():
        (one / name).parent.mkdir(parents=True, exist_ok=True)
        (one / name).write_bytes(content)

    def there() -> dict[str, bytes]:
        return {p.relative_to(two).as_posix(): p.read_bytes() for p in two.rglob("*") if p.is_file()}

    unpack(packed(one, "jobs/n", weights=False), two)
    assert there() == {name: files[name] for name in ("jobs/n/result.json", "jobs/n/deep/p.json")}
    unpack(packed(one), two)
    assert there() == files


@pytest.mark.parametrize(
    ("name", "kind"),
    [("../x", tarfile.REGTYPE), ("/tmp/x", tarfile.REGTYPE), ("x", tarfile.SYMTYPE), ("d", tarfile.DIRTYPE)],
)
def test_an_archive_writes_nothing_elsewhere(tmp_path: Path, name: str, kind: bytes) -> None:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        good, bad = tarfile.TarInfo("good"), tarfile.TarInfo(name)
        bad.type, bad.linkname = kind, "/etc/passwd"
        archive.addfile(good)
        archive.addfile(bad)
    with pytest.raises(ValueError, match="no file of a folder of results"):
        unpack(buffer.getvalue(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
