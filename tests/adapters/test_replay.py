from __future__ import annotations

from pathlib import Path

import torch

from adapters.replay import ReplayPredictor
from bench import predictor

SETTINGS = predictor.Settings(device=torch.device("cpu"), classes=("circle", "square"))


def test_a_replay_names_its_file_and_how_it_is_read() -> None:
    plain = ReplayPredictor(SETTINGS, results="nowhere/r.json")
    assert plain.classes == ("circle", "square")
    assert plain.results_file == predictor.ResultsFile(Path("nowhere/r.json"))
    told = ReplayPredictor(SETTINGS, results="r.json", category_offset=-1, image_ids="name", other_images="drop")
    assert told.results_file == predictor.ResultsFile(Path("r.json"), -1, "name", "drop")
    by_place = ReplayPredictor(SETTINGS, results="r.json", category_ids="index1")
    assert by_place.results_file == predictor.ResultsFile(Path("r.json"), category_ids="index1")
    assert ReplayPredictor.files_read({"results": "r.json", "category_offset": 1}) == {"results": Path("r.json")}
