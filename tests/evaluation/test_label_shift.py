"""Labels that are shifted by one are told with both AP50; right ones, and merely bad ones, are not."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts import context_of
from evaluator_cases import CASES, Case, perturbed, scene
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from test_matching import dataset_of

from adapters.replay import ReplayPredictor as FileReplay
from bench.data.dataset import CocoDataset
from bench.evaluation.evaluators import EVALUATORS
from bench.evaluation.label_shift import Shift, shifts, told
from bench.passes.accuracy import PASS
from bench.predictor import ReplayPredictor, ResultsFile, Settings
from bench.schema.config import BenchConfig, ModelConfig


class Replay(ReplayPredictor):
    """Gives the results that it was made with, and has the option that moves category ids."""

    def __init__(self, results: list[dict[str, Any]], category_offset: int = 0) -> None:
        self.classes = ()
        moved = [{**r, "category_id": r["category_id"] + category_offset} for r in results]
        self._results = sorted(moved, key=lambda r: -r["score"])

    def results(self, image_id: Any) -> list[dict[str, Any]]:
        return [r for r in self._results if r["image_id"] == image_id]


class WithoutOption(Replay):
    def __init__(self, results: list[dict[str, Any]]) -> None:
        super().__init__(results)


def notes_of(
    dataset: CocoDataset, predictor: ReplayPredictor, folder: Path, options: dict[str, Any] | None = None
) -> tuple[list[str], float]:
    """Give the notes of an accuracy pass, and its AP50 in points."""
    config = BenchConfig(model=ModelConfig(weights="own", options=options or {}))
    context = context_of(predictor, dataset, config, labels=[], folder=folder)
    accuracy = PASS.measure(context)
    return context.result.notes, 100 * ((accuracy.figures or {})["mask_ap50"] or 0)


def counted(case: Case, first: int = 1, step: int = 1) -> Case:
    """Give the case with the category ids ``first``, ``first + step``, ..."""
    ids = {c["id"]: first + step * n for n, c in enumerate(case.truth["categories"])}
    truth = {
        **case.truth,
        "categories": [{**c, "id": ids[c["id"]]} for c in case.truth["categories"]],
        "annotations": [{**a, "category_id": ids[a["category_id"]]} for a in case.truth["annotations"]],
    }
    return Case(truth, [{**r, "category_id": ids[r["category_id"]]} for r in case.results])


@pytest.fixture(scope="module")
def case() -> Case:
    truth = scene(np.random.default_rng(1), images=6, classes=5, instances=8, crowds=0.1)
    return Case(truth, perturbed(np.random.default_rng(2), truth, copies=2))


def within(case: Case, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the results of categories that the set has, as a reader of results files leaves out the others."""
    known = {category["id"] for category in case.truth["categories"]}
    return [r for r in results if r["category_id"] in known]


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("offset", [0, 2])
def test_category_ids_shifted_by_one(case: Case, step: int, offset: int, tmp_path: Path) -> None:
    case = counted(case)
    dataset = dataset_of(case)
    _, right = notes_of(dataset, Replay(case.results), tmp_path)
    shifted = [{**r, "category_id": r["category_id"] - step - offset} for r in case.results]
    shifted = [r for r in shifted if 1 <= r["category_id"] + offset <= 5]
    given = Replay(shifted, offset)
    [note], wrong = notes_of(dataset, given, tmp_path, {"category_offset": offset})
    way = "raised" if step > 0 else "lowered"
    assert note.startswith(f"the labels seem to be shifted by one: AP50 is {wrong:.1f}, and would be ")
    assert note.endswith(f"with each category_id {way} by 1; give model.options.category_offset={offset + step}")
    told = float(note.split("would be ")[1].split(" ")[0])
    assert right - 25 < told <= right  # the category at the end is lost
    assert told > wrong + 20
    # The printed remedy works: it gives just what was told.
    notes, mended = notes_of(
        dataset,
        Replay(within(case, [{**r, "category_id": r["category_id"] + offset + step} for r in shifted])),
        tmp_path,
    )
    assert notes == []
    assert mended == pytest.approx(told, abs=0.05)


def test_a_class_without_the_option_is_told_to_write_the_results_again(case: Case, tmp_path: Path) -> None:
    case = counted(case)
    shifted = within(case, [{**r, "category_id": r["category_id"] - 1} for r in case.results])
    [note], _ = notes_of(dataset_of(case), WithoutOption(shifted), tmp_path)
    assert note.endswith("raised by 1; write the results again with the category ids of the annotation file")


@pytest.mark.parametrize("step", [1, -1])
def test_labels_shifted_in_the_order_of_the_categories(case: Case, step: int, tmp_path: Path) -> None:
    case = counted(case, 7, 10)  # no id follows another
    order = [c["id"] for c in case.truth["categories"]]
    place = {identity: n for n, identity in enumerate(order)}
    shifted = [
        {**r, "category_id": order[place[r["category_id"]] - step]}
        for r in case.results
        if 0 <= place[r["category_id"]] - step < len(order)
    ]
    [note], _ = notes_of(dataset_of(case), Replay(shifted), tmp_path)
    which = "next" if step > 0 else "previous"
    assert note.endswith(
        f"with each category as the {which} one; write the results again with the category ids of the annotation file"
    )


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("shapes",)])
def test_right_results_are_not_called_shifted(name: str, tmp_path: Path) -> None:
    case = counted(CASES[name](np.random.default_rng(1)))
    notes, _ = notes_of(dataset_of(case), Replay(case.results), tmp_path)
    assert notes == []


def test_results_of_random_categories_are_not_called_shifted(case: Case, tmp_path: Path) -> None:
    case = counted(case)
    rng = np.random.default_rng(0)
    random = [{**r, "category_id": int(rng.integers(1, 6))} for r in case.results]
    assert notes_of(dataset_of(case), Replay(random), tmp_path)[0] == []


def test_a_rise_of_less_than_twenty_points_is_not_told(case: Case, tmp_path: Path) -> None:
    """Every object is found twice, the wrong category first but in a third of the cases."""
    case = counted(case)
    exact = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "segmentation": a["segmentation"], "score": 0.5}
        for a in case.truth["annotations"]
        if not a["iscrowd"]
    ]
    wrong = within(case, [{**r, "category_id": r["category_id"] - 1, "score": 0.4} for r in exact])
    more = within(case, [{**r, "category_id": r["category_id"] - 1, "score": 0.3} for r in exact])
    assert len(wrong) + len(more) > len(exact)  # the overlaps do hint at a shift
    assert notes_of(dataset_of(case), Replay(exact + wrong + more), tmp_path)[0] == []


def test_only_a_hint_costs_a_second_evaluation(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    hotcoco = EVALUATORS["hotcoco"]

    def counting(*arguments: Any) -> Any:
        made.append("one")
        return hotcoco(*arguments)

    monkeypatch.setitem(EVALUATORS, "hotcoco", counting)
    case = counted(case)
    notes_of(dataset_of(case), Replay(case.results), tmp_path)
    assert len(made) == 2  # one for each way with overlaps
    shifted = within(case, [{**r, "category_id": r["category_id"] - 1} for r in case.results])
    notes_of(dataset_of(case), Replay(shifted), tmp_path)
    assert len(made) == 5


def test_the_shifts_of_a_model_follow_its_own_labels(case: Case) -> None:
    dataset = dataset_of(counted(case, 1, 1))
    found = shifts(dataset, [None, 3, 1, 2])
    assert [(s.step, s.of, s.category) for s in found] == [(1, "class", {3: 1, 1: 2}), (-1, "class", {1: 3, 2: 1})]
    assert [(s.step, s.of) for s in shifts(dataset)] == [(1, "category_id"), (-1, "category_id")]
    gaps = dataclasses.replace(dataset, categories=tuple(c for c in dataset.categories if c.id != 3))
    assert [(s.step, s.of, s.category) for s in shifts(gaps)] == [
        (1, "category_id", {1: 2, 4: 5}),
        (1, "category", {1: 2, 2: 4, 4: 5}),
        (-1, "category_id", {2: 1, 5: 4}),
        (-1, "category", {2: 1, 4: 2, 5: 4}),
    ]
    texts = dataclasses.replace(
        dataset, categories=tuple(dataclasses.replace(c, id=f"c{c.id}") for c in dataset.categories[:2])
    )
    assert [(s.step, s.of, s.category) for s in shifts(texts)] == [
        (1, "category", {"c1": "c2"}),
        (-1, "category", {"c2": "c1"}),
    ]
    assert shifts(dataclasses.replace(dataset, categories=dataset.categories[:1])) == []


def test_what_is_said_of_a_model() -> None:
    text = told(Shift(-1, "class", {}), 0.031, 0.782)
    assert text == (
        "the labels seem to be shifted by one: AP50 is 3.1, and would be 78.2 with each label as the previous one; "
        "check the order of model.classes (a model may count its background as class 0)"
    )


def test_predictions_on_disk_are_what_was_looked_at(case: Case, tmp_path: Path) -> None:
    case = counted(case)
    notes_of(dataset_of(case), Replay(case.results), tmp_path)
    assert len(json.loads((tmp_path / "predictions.json").read_text())) == len(case.results)


def pycocotools_ap50(case: Case, results: list[dict[str, Any]]) -> float:
    """Give pycocotools' AP50 of results of categories that the set has, in points."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(case.truth)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(within(case, results))), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * float(evaluation.stats[1])


def file_of(results: list[dict[str, Any]], folder: Path, **options: Any) -> FileReplay:
    path = folder / "results.json"
    path.write_text(json.dumps(results))
    return FileReplay(Settings(device=torch.device("cpu")), results=str(path), **options)


def without_gaps(case: Case, first: int, offset: int = 0) -> list[dict[str, Any]]:
    place = {c["id"]: n for n, c in enumerate(sorted(case.truth["categories"], key=lambda c: c["id"]), first)}
    return [{**r, "category_id": place[r["category_id"]] - offset} for r in case.results]


@pytest.mark.parametrize("step", [1, 2, 3, 6])
@pytest.mark.parametrize("first", [0, 1])
def test_classes_counted_without_gaps(case: Case, first: int, step: int, tmp_path: Path) -> None:
    """Ids with gaps from 1 on, or without a gap from 2 on."""
    case = counted(case, 2 if step == 1 else 1, step)
    dataset = dataset_of(case)
    given = without_gaps(case, first)
    notes, wrong = notes_of(dataset, file_of(given, tmp_path), tmp_path)
    assert wrong == pytest.approx(pycocotools_ap50(case, given), abs=1e-9)
    right = pycocotools_ap50(case, case.results)
    assert right > wrong + 20
    [note] = [note for note in notes if "without gaps" in note]
    assert note == (
        f"the classes seem to be counted without gaps: AP50 is {wrong:.1f}, and would be {right:.1f} with each "
        f"category_id as the place of a category by rising id, counted from {first}; give "
        f"model.options.category_ids=index{first}"
    )
    # The printed remedy gives just what was told.
    notes, mended = notes_of(dataset, file_of(given, tmp_path, category_ids=f"index{first}"), tmp_path)
    assert notes == []
    assert mended == pytest.approx(right, abs=1e-9)


def test_an_offset_does_not_hide_that_classes_are_counted_without_gaps(case: Case, tmp_path: Path) -> None:
    case = counted(case, 1, 2)
    given = without_gaps(case, 0)
    notes, wrong = notes_of(
        dataset_of(case), file_of(given, tmp_path, category_offset=1), tmp_path, {"category_offset": 1}
    )
    right = pycocotools_ap50(case, case.results)
    assert notes[-1].startswith(
        f"the classes seem to be counted without gaps: AP50 is {wrong:.1f}, and would be {right:.1f}"
    )
    assert notes[-1].endswith("give model.options.category_ids=index0 and leave category_offset out")


class OwnFile(ReplayPredictor):
    """A class that names a file and has no option for the ids of categories."""

    def __init__(self, path: str) -> None:
        self.classes = ()
        self.results_file = ResultsFile(Path(path))


def test_a_class_of_a_file_without_the_option_is_told_to_write_it_again(case: Case, tmp_path: Path) -> None:
    case = counted(case, 1, 3)
    file_of(without_gaps(case, 1), tmp_path)
    notes, _ = notes_of(dataset_of(case), OwnFile(str(tmp_path / "results.json")), tmp_path)
    assert notes[-1].endswith("counted from 1; write the results again with the category ids of the annotation file")


@pytest.mark.parametrize("more", [0, 3])
def test_right_ids_with_gaps_are_not_called_places(case: Case, more: int, tmp_path: Path) -> None:
    """All results are of the first two categories, whose ids fit places too, or three are of a category not there."""
    case = counted(case, 1, 2)
    given = [r for r in case.results if r["category_id"] <= 3]
    given += [{**r, "category_id": 4, "score": 0.01} for r in given[:more]]
    notes, _ = notes_of(dataset_of(case), file_of(given, tmp_path), tmp_path)
    assert not [note for note in notes if "without gaps" in note or "shifted" in note]


def test_places_are_told_from_what_is_left_where_the_other_results_are_wrong(case: Case, tmp_path: Path) -> None:
    """A mask of a category that the set lacks is not looked at, and may be none."""
    case = counted(case, 1, 3)
    given = without_gaps(case, 0)
    given = [{**r, "segmentation": "none"} if r["category_id"] == 0 else r for r in given]
    notes, _ = notes_of(dataset_of(case), file_of(given, tmp_path), tmp_path)
    assert "without gaps" in notes[-1]


def test_classes_that_the_file_names_have_the_figures_of_their_ids(case: Case, tmp_path: Path) -> None:
    """A COCO object that counts classes from 0 in the order of names, each written in capitals, on ids with gaps."""
    case = counted(case, 1, 3)
    order = sorted(case.truth["categories"], key=lambda category: str(category["name"]), reverse=True)
    place = {category["id"]: n for n, category in enumerate(order)}
    export = {
        "categories": [{"id": n, "name": category["name"].upper()} for n, category in enumerate(order)],
        "annotations": [{**r, "category_id": place[r["category_id"]]} for r in case.results],
    }
    (tmp_path / "results.json").write_text(json.dumps(export))
    given = FileReplay(Settings(device=torch.device("cpu")), results=str(tmp_path / "results.json"))
    notes, ap50 = notes_of(dataset_of(case), given, tmp_path)
    assert ap50 == pytest.approx(pycocotools_ap50(case, case.results), abs=1e-9)
    assert len(notes) == 2
    assert "found by the names of the categories in the results file" in notes[1]
