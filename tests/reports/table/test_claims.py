"""Test which rows a claim is about, what was measured of them, and the verdict."""

from __future__ import annotations

import numpy as np
import pytest
from literal_results import build_result, with_replicates

import reports
from reports.table.claims import VERDICTS, Claim, Estimate, claims
from reports.table.columns import COLUMNS
from reports.table.comparison import load

DRAWS = np.linspace(-0.03, 0.03, 200)
WOBBLE = np.where(np.arange(200) % 2, 0.01, -0.01)
CLAIM = {"claim": "a is better than b", "source": "A. Author 2017", "better": "a", "worse": "b", "metric": "mask_ap"}


def study(tmp_path, write_run, a, b, replicates_of_b, **claim):
    first = with_replicates(build_result("A", mask_ap=a), a + DRAWS, 0.3 + DRAWS)
    second = with_replicates(build_result("B", mask_ap=b), b + replicates_of_b, 0.3 + DRAWS)
    for result, name in ((first, "a"), (second, "b")):
        result.config["model"]["name"] = name
        result.config["claims"] = [{**CLAIM, "points": 3.4, **claim}]
    return write_run(tmp_path / "run", [first, second])


def _claim(metric: str, said: float | None, measured: tuple[float, float, float] | None) -> Claim:
    estimate = Estimate(*measured) if measured else None
    return Claim("text", "source", metric, said, "a", "b", estimate, COLUMNS[metric].title)


@pytest.mark.parametrize(
    ("metric", "said", "measured", "verdict"),
    [
        # Points of AP are compared with 0, and then with what was said.
        ("mask_ap", 2.1, (2.5, 1.9, 3.1), "more"),
        ("mask_ap", 2.1, (3.5, 3.0, 4.0), "more"),
        ("mask_ap", 2.1, (1.5, 0.9, 2.1), "more"),
        ("mask_ap", 2.1, (1.5, 0.9, 2.0), "less than said"),
        ("mask_ap", 2.1, (0.5, -0.5, 1.5), "not decided"),
        ("mask_ap", 2.1, (0.5, 0.0, 1.0), "not decided"),
        ("mask_ap", 2.1, (-2.0, -3.0, 0.0), "not decided"),
        ("mask_ap", 2.1, (-2.0, -3.0, -1.0), "not"),
        ("mask_ap", 2.1, None, "not measured"),
        # Without a number the direction alone counts.
        ("boundary_ap", None, (0.2, 0.1, 0.3), "more"),
        ("boundary_ap", None, (0.2, -0.1, 0.5), "not decided"),
        ("boundary_ap", None, (-0.2, -0.3, -0.1), "not"),
        # Speeds are ratios, compared with 1.
        ("fps_model", 3.0, (2.34, 2.2, 2.5), "less than said"),
        ("fps_model", 3.0, (2.9, 2.7, 3.1), "more"),
        ("fps_model", 3.0, (4.0, 3.9, 4.1), "more"),
        ("fps_model", 3.0, (1.05, 0.95, 1.15), "not decided"),
        ("fps_model", 3.0, (0.5, 0.4, 0.6), "not"),
        ("fps_model", None, (1.2, 1.1, 1.3), "more"),
        ("fps_model", None, None, "not measured"),
    ],
)
def test_verdicts(metric, said, measured, verdict):
    assert _claim(metric, said, measured).verdict == verdict
    assert verdict in VERDICTS


def test_a_claim_in_one_line():
    assert _claim("fps_model", 3.0, (2.34, 2.2, 2.5)).outcome == (
        "a against b: said FPS model 3 times; measured FPS model 2.34 times [2.20, 2.50]; verdict: less than said"
    )
    assert _claim("mask_ap", None, None).outcome == "a against b: said Mask AP higher; verdict: not measured"


@pytest.mark.parametrize(
    ("a", "b", "replicates_of_b", "verdict", "measured"),
    [
        (0.44, 0.40, DRAWS, "more", "Mask AP +4.0 [+4.0, +4.0]"),
        (0.43, 0.40, DRAWS + WOBBLE, "more", "Mask AP +3.0 [+2.0, +4.0]"),
        (0.42, 0.40, DRAWS, "less than said", "Mask AP +2.0 [+2.0, +2.0]"),
        (0.42, 0.40, DRAWS + WOBBLE, "less than said", "Mask AP +2.0 [+1.0, +3.0]"),
        (0.40, 0.42, DRAWS + WOBBLE, "not", "Mask AP -2.0 [-3.0, -1.0]"),
        (0.405, 0.40, DRAWS + WOBBLE, "not decided", "Mask AP +0.5 [-0.5, +1.5]"),
    ],
)
def test_a_claim_about_ap_is_a_difference(tmp_path, write_run, a, b, replicates_of_b, verdict, measured):
    run = study(tmp_path, write_run, a, b, replicates_of_b)
    (claim,) = claims(load([run], tmp_path))
    assert (claim.verdict, claim.measured, claim.claimed) == (verdict, measured, "Mask AP +3.4")


@pytest.mark.parametrize(
    ("a_ms", "b_ms", "verdict", "measured"),
    [
        # 10 and 20 ms, each known to 18.37 %: at least 2 * (1 - hypot(1 - 1/1.18374, 1/0.81626 - 1)).
        ([9.0, 11.0, 9.0, 11.0], [18.0, 22.0, 18.0, 22.0], "more", "FPS model 2.00 times [1.45, 2.55]"),
        ([9.0, 11.0, 9.0, 11.0], [9.9, 12.1, 9.9, 12.1], "not decided", "FPS model 1.10 times [0.80, 1.40]"),
        ([10.0] * 4, [15.0] * 4, "less than said", "FPS model 1.50 times [1.50, 1.50]"),
        ([20.0] * 4, [10.0] * 4, "not", "FPS model 0.50 times [0.50, 0.50]"),
        ([20.0], [10.0], "not measured", ""),
    ],
)
def test_a_claim_about_speed_is_a_ratio(tmp_path, write_run, a_ms, b_ms, verdict, measured):
    results = [build_result(name.upper(), weights="random", model_ms=ms) for name, ms in (("a", a_ms), ("b", b_ms))]
    for result, name in zip(results, "ab", strict=True):
        result.config["model"]["name"] = name
        result.config["claims"] = [{**CLAIM, "metric": "fps_model", "points": None, "times": 2.0}]
    (claim,) = claims(load([write_run(tmp_path / "run", results)], tmp_path))
    assert (claim.verdict, claim.measured, claim.claimed) == (verdict, measured, "FPS model 2 times")


def test_without_one_of_the_two_nothing_is_measured(tmp_path, write_run):
    run = study(tmp_path, write_run, 0.42, 0.40, DRAWS, worse="c")
    (claim,) = claims(load([run], tmp_path))
    assert (claim.verdict, claim.measured, claim.rows) == ("not measured", "", "A R50-FPN · torchvision against c")


def test_a_claim_names_its_rows_and_stands_for_every_comparable_two(tmp_path, write_run):
    """Model a has two precisions and two batch sizes; b has two sets of options, in fp32 at batch 1 only."""
    settings = [("a", "fp32", 1, {}), ("a", "fp16", 1, {}), ("a", "fp32", 8, {})]
    settings += [("b", "fp32", 1, {"layers": layers}) for layers in (3, 4)]
    results = []
    for name, precision, batch, options in settings:
        numbers = {"model_ms": [9.0, 11.0, 9.0, 11.0], "precision": precision, "batch_size": batch}
        result = build_result(name.upper(), **numbers)
        result.config["model"] |= {"name": name, "options": options}
        result.config["claims"] = [{**CLAIM, "metric": "fps_model"}]
        results.append(result)
    stated = claims(load([write_run(tmp_path / "run", results)], tmp_path))
    a, b = "A R50-FPN · torchvision", "B R50-FPN · torchvision"
    assert sorted((claim.rows, claim.verdict) for claim in stated) == [
        (f"{a} · fp16 against b", "not measured"),
        (f"{a} · fp32 · batch 1 against {b} · layers=3", "not decided"),
        (f"{a} · fp32 · batch 1 against {b} · layers=4", "not decided"),
        (f"{a} · fp32 · batch 8 against b", "not measured"),
    ]


def test_a_claim_stands_in_every_report(tmp_path, write_run):
    from rich.console import Console

    run = study(tmp_path, write_run, 0.42, 0.40, DRAWS + WOBBLE, points=None)
    reports.build([run], tmp_path / "out")
    console = Console(width=200, record=True)
    console.print(reports.terminal_table([run]))
    texts = [console.export_text()]
    texts += [(tmp_path / "out" / f"comparison.{kind}").read_text() for kind in ("md", "html")]
    for text, verdict in zip(texts, ("verdict: more", "| more |", "<td>more</td>"), strict=True):
        assert "a is better than b" in text
        assert "A. Author 2017" in text
        assert "Mask AP higher" in text
        assert "+2.0 [+1.0, +3.0]" in text.replace("\\", "")
        assert "A R50-FPN · torchvision against B R50-FPN · torchvision" in text
        assert verdict in text
