"""Tests of what a node does with an order: it plans the job itself, and says where it has other files or lacks one."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.errors import UserError
from bench.jobs.elsewhere.asked import Asked, Order, asked
from bench.jobs.elsewhere.node import measure, plan_there, read_planned
from bench.schema.config import LauncherConfig
from run_bench import compose

TOYS = Path(__file__).resolve().parents[2] / "toys"


@pytest.fixture
def data(bright_squares: list[str], tmp_path: Path) -> list[str]:
    """A copy of the bright squares that a test may change."""
    images = Path(bright_squares[1].partition("=")[2])
    copy = tmp_path / "data"
    (copy / "images").mkdir(parents=True)
    for path in [*images.iterdir(), images.parent / "annotations.json"]:
        target = copy / "images" / path.name if path.suffix == ".png" else copy / path.name
        target.write_bytes(path.read_bytes())
    return ["dataset=coco", f"dataset.images={copy / 'images'}", f"dataset.annotations={copy / 'annotations.json'}"]


def _asked(data: list[str], target: str, *more: str) -> Asked:
    rows = ["model=custom", f"model._target_={target}", "model.weights=own", "passes=[accuracy]", "device=cpu"]
    sources = ["lazily.py", "tests/toys/toy_models.py"]
    return asked(compose([*rows, *data, *more]), "maskbench", LauncherConfig("ray"), sources, Path("demo"))


def _order(data: list[str], target: str = f"{TOYS / 'halting.py'}:Shifted", *more: str) -> Order:
    question = _asked(data, target, *more)
    [job] = read_planned(plan_there(question.to_json()), "a node").jobs
    return Order(question, job)


Measured = Callable[[Order], Any]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Measure an order in ``node/``, and give its result."""
    monkeypatch.delenv("MASKBENCH_TEST_HALT", raising=False)

    def run(order: Order) -> Any:
        home = tmp_path / "node"
        measure(order, home, lambda progress: None, lambda line: None)
        return json.loads((home / "jobs" / order.job.folder.name / "result.json").read_text())

    return run


def test_what_comes_back_from_planning_holds_for_all_nodes(data: list[str]) -> None:
    answer = plan_there(_asked(data, f"{TOYS / 'halting.py'}:Shifted").to_json())
    [job] = read_planned(answer, "a node").jobs
    assert job.config.device == "cpu"
    assert job.folder == Path(job.folder.name)
    assert {"processor", "usable cores"}.isdisjoint(job.now.facts)
    assert "Python" in job.now.facts
    assert (job.now.paths, job.now.folders) == ({}, [])
    assert set(job.now.sources) >= {"tests/toys/halting.py", "tests/toys/toy_models.py"}  # the second was asked for
    assert job.now.source("lazily.py") is None  # the node has none


def test_a_node_refuses_what_is_wrong_with_its_name(data: list[str]) -> None:
    question = _asked([*data[:2], "dataset.annotations=/nowhere/a.json"], f"{TOYS / 'halting.py'}:Shifted")
    with pytest.raises(UserError, match=r"^on node-7: .*/nowhere/a\.json: "):
        read_planned(plan_there(question.to_json()), "node-7")


def test_a_row_is_measured_and_is_due_no_more(data: list[str], measured: Measured, tmp_path: Path) -> None:
    order = _order(data)
    first = measured(order)
    assert (first["status"], first["accuracy"]["figures"]["mask_ap"]) == ("ok", 1.0)
    assert first["config"]["launcher"]["name"] == "local"
    assert measured(order)["accuracy"] == first["accuracy"]
    assert not (tmp_path / "node" / "earlier").exists()


def _change(image: Path) -> None:
    with Image.open(image) as opened:
        changed = opened.copy()
    changed.putpixel((0, 0), (255, 0, 0))
    changed.save(image)


def test_a_data_set_that_differs_on_the_node(data: list[str], measured: Measured) -> None:
    order = _order(data)
    _change(Path(data[1].partition("=")[2]) / "1.png")
    result = measured(order)
    assert result["status"] == "failed"
    assert result["reason"] == "the data set on the node: other content than on the node that planned it"
    assert result["accuracy"] is None


def test_each_node_copies_a_set_in_a_bucket(
    data: list[str], measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node that measures has a cache of its own; where the bucket holds another set by then, the row says so."""
    bucket = [data[0], *(argument.replace("=/", "=file:///") for argument in data[1:])]
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "of the first"))
    order = _order(bucket)
    assert [path.read_bytes() for path in tmp_path.glob("of the first/datasets/*/images/1.png")] != []
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "of the second"))
    result = measured(order)
    assert (result["status"], result["accuracy"]["figures"]["mask_ap"]) == ("ok", 1.0)
    assert len(list(tmp_path.glob("of the second/datasets/*/images/1.png"))) == 1
    assert str(tmp_path) not in json.dumps(result)
    shutil.rmtree(tmp_path / "node")
    _change(Path(data[1].partition("=")[2]) / "1.png")
    result = measured(order)
    assert (result["status"], result["accuracy"]) == ("failed", None)
    assert result["reason"] == "the data set on the node: other content than on the node that planned it"


def test_a_node_without_the_data_set(data: list[str], measured: Measured) -> None:
    order = _order(data)
    Path(data[2].partition("=")[2]).unlink()
    result = measured(order)
    assert result["status"] == "failed"
    assert result["reason"].startswith("the node refuses it: ")
    assert "annotations.json" in result["reason"]


WORDS = """
from bench.predictor import ReplayPredictor


class Net(ReplayPredictor):
    needs_torch = False

    def __init__(self, settings, builder):
        self.classes = settings.classes

    def results(self, image_id):
        return []
"""


def test_the_folder_of_results_is_no_input_on_a_node(
    data: list[str], measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``out=demo`` a word ``demo`` was an input there, of "other content" once the command wrote into it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.py").write_text(WORDS)
    Path("demo").mkdir()
    order = _order(data, f"{tmp_path / 'words.py'}:Net", "+model.options.builder=demo")
    assert order.job.contents.keys() == {"dataset"}
    Path("demo/queue.json").write_text("{}")
    result = measured(order)
    assert (result["status"], result["reason"]) == ("ok", None)


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is not None, reason="detectron2 is installed")
def test_a_node_without_the_library(data: list[str], measured: Measured) -> None:
    order = _order(data)
    lacking = compose(["model=demo_mask_rcnn_detectron2", "passes=[accuracy]", "device=cpu", *data])
    question = asked(lacking, "maskbench", LauncherConfig("ray"), [], Path("out"))
    result = measured(replace(order, asked=question))
    assert result["status"] == "skipped"
    assert result["reason"].startswith("detectron2 is not installed in ")


def test_figures_of_another_machine_are_not_continued(data: list[str], measured: Measured, tmp_path: Path) -> None:
    """The first part is of a machine with another processor: the row begins anew, and that part is kept aside."""
    order = _order(data)
    measured(order)
    path = tmp_path / "node" / "jobs" / order.job.folder.name / "result.json"
    stored = json.loads(path.read_text())
    stored["machine"]["cpu"]["name"] = "Another Processor"
    stored.update(status="failed", reason="interrupted")
    path.write_text(json.dumps(stored))
    after = measured(order)
    assert after["status"] == "ok"
    assert after["machine"]["cpu"]["name"] != "Another Processor"
    [kept] = (tmp_path / "node" / "earlier").glob("*/result.json")
    assert json.loads(kept.read_text())["machine"]["cpu"]["name"] == "Another Processor"
