"""Test what is read of a file of predictions: the right detections, of any writer, in bounded memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from peaks import printed_by
from squares import SHAPE, detection, square

from reports.masks import predictions, results_text
from reports.masks.predictions import Predicted, read_predictions


def _read(file: Path, *image_ids: object, least: float = 0.0, most: int = 2000) -> dict[object, Predicted]:
    read = read_predictions(file, dict.fromkeys(image_ids, SHAPE), least, most)
    assert not isinstance(read, str)
    return read


def _scores(predicted: Predicted) -> list[float]:
    return [drawn.score for drawn in predicted.kept]


def test_predictions_of_some_images_from_a_file_cut_short(tmp_path):
    lines = [detection(1, 5, 0.7), detection(2, 5, 0.8), detection(1, 30, 0.9), detection(1, 40, 0.6)]
    file = tmp_path / "predictions.json"
    file.write_text("[\n" + ",\n".join(lines)[:-30])
    found = _read(file, 1, 3)
    assert _scores(found[1]) == [0.9, 0.7]
    assert found[3] == Predicted()
    assert found[1].kept[1].area == 100
    mask = found[1].kept[1].at(*SHAPE)
    assert mask[10:20, 5:15].all()
    assert mask.sum() == 100


DETECTIONS = [json.loads(detection(i, 5 + n, 0.5 + n / 100)) for n, i in enumerate([1, 2, 1, 3, 2, 1])]
DETECTIONS[2]["caption"] = 'a { brace, a \\ and a "quoted" } "image_id": 2'


@pytest.mark.parametrize("piece", [1, 7, 100, 1 << 20])
@pytest.mark.parametrize(
    "text",
    [
        json.dumps(DETECTIONS),
        json.dumps(DETECTIONS, separators=(",", ":")),
        json.dumps(DETECTIONS, indent=2),
        "[\n" + ",\n".join(map(json.dumps, DETECTIONS)) + "\n]\n",
        "\n".join(map(json.dumps, DETECTIONS)),
    ],
    ids=["one line", "without blanks", "many lines", "ours", "JSON lines"],
)
def test_any_layout_is_read(tmp_path, monkeypatch, text, piece):
    monkeypatch.setattr(results_text, "PIECE_BYTES", piece)
    (tmp_path / "predictions.json").write_text(text)
    found = _read(tmp_path / "predictions.json", 1, 2)
    assert [_scores(found[i]) for i in (1, 2)] == [[0.55, 0.52, 0.5], [0.54, 0.51]]


@pytest.mark.parametrize("written", [-5, 0, 2**70, "a b.jpg", 'a "b"', "ü", "7", 7.0])
def test_ids_of_any_kind(tmp_path, written):
    (tmp_path / "predictions.json").write_text(f"[{detection(written, 5, 0.9)},\n{detection(12, 5, 0.8)}]")
    image_id = 7 if written in ("7", 7.0) else written
    assert _scores(_read(tmp_path / "predictions.json", image_id)[image_id]) == [0.9]


def test_the_score_is_cut_first_and_the_highest_are_kept(tmp_path):
    lines = [detection(1, n, 0.1 * n) for n in (3, 9, 1, 7, 5, 8)]
    broken = {**json.loads(detection(1, 5, 0.2)), "segmentation": {"size": list(SHAPE), "counts": "x"}}
    (tmp_path / "predictions.json").write_text("\n".join([*lines, json.dumps(broken)]))
    found = _read(tmp_path / "predictions.json", 1, least=0.4, most=2)[1]
    assert _scores(found) == pytest.approx([0.9, 0.8])
    assert (found.total, found.reaching, found.left_out()) == (7, 4, "only the 2 highest scores of 4 are shown")


def test_masks_take_a_bounded_number_of_bytes(tmp_path, monkeypatch):
    (tmp_path / "predictions.json").write_text("\n".join(detection(1, n, 0.1 * n) for n in range(1, 10)))
    monkeypatch.setattr(predictions, "MOST_RLE_BYTES", 3 * len(square(1)["counts"]) + 3)
    found = _read(tmp_path / "predictions.json", 1)[1]
    assert _scores(found) == pytest.approx([0.9, 0.8, 0.7])
    assert found.left_out() == "only the 3 highest scores of 9 are shown"


def test_masks_that_are_not_kept_are_not_looked_into(tmp_path, monkeypatch):
    """A mask of noise takes a second, and a file has the highest scores of an image first."""
    looked_into = []
    problem = predictions.segmentation_problem
    monkeypatch.setattr(predictions, "segmentation_problem", lambda *given: looked_into.append(1) or problem(*given))
    monkeypatch.setattr(predictions, "MOST_RLE_BYTES", 3 * len(square(1)["counts"]) + 3)
    (tmp_path / "predictions.json").write_text("\n".join(detection(1, n, 0.1 * n) for n in range(9, 0, -1)))
    assert _scores(_read(tmp_path / "predictions.json", 1)[1]) == pytest.approx([0.9, 0.8, 0.7])
    assert len(looked_into) == 4


def test_a_mask_of_another_size_is_counted(tmp_path):
    other = {**json.loads(detection(1, 5, 0.9)), "segmentation": {"size": [2, 2], "counts": [1, 2, 1]}}
    (tmp_path / "predictions.json").write_text(f"[{json.dumps(other)}, {detection(1, 5, 0.8)}]")
    found = _read(tmp_path / "predictions.json", 1)[1]
    assert (found.other_size, _scores(found)) == (1, [0.8])


def test_a_detection_that_is_too_long_is_counted_and_the_next_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(results_text, "MOST_BYTES", 2000)
    long = [json.dumps({**json.loads(detection(i, 5, 0.9)), "more": "x" * 5000}) for i in (1, 2)]
    for between in ("\n", " "):
        (tmp_path / "predictions.json").write_text(between.join([*long, detection(1, 5, 0.8)]))
        found = _read(tmp_path / "predictions.json", 1)[1]
        assert (_scores(found), found.left_out()) == ([0.8], "1 too long to be read")


def test_no_predictions_file_says_so(tmp_path):
    assert read_predictions(tmp_path / "predictions.json", {1: SHAPE}, 0.0) == "no predictions file"


@pytest.mark.parametrize("kind", ["detections", "one object", "brackets", "numbers"])
def test_a_long_single_line_takes_little_memory(tmp_path, kind):
    """A line of 24 MB takes 100 MB and more once it is parsed."""
    nested = '{"a":' + 50 * " "
    unit = {"detections": detection(2, 5, 0.9) + ",", "one object": nested, "brackets": "[],", "numbers": "7,"}[kind]
    start, end = {"brackets": ('{"image_id":1,"x":[', "[]]}"), "numbers": ("[", "7]")}.get(kind, ("[", ""))
    file = tmp_path / "predictions.json"
    file.write_text(start + unit * ((24 << 20) // len(unit)) + detection(1, 5, 0.8) + end)
    megabytes, total = printed_by(f"""
from pathlib import Path
from peaks import peak_megabytes
from reports.masks.predictions import read_predictions

before = peak_megabytes()
found = read_predictions(Path({str(file)!r}), {{1: (40, 60)}}, 0.0)
print(peak_megabytes() - before, found[1].total)
""")
    assert megabytes < 40
    assert total == (1 if kind in ("detections", "numbers") else 0)
