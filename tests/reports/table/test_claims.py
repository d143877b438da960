"""A claim of a study: what was measured of it, and whether it held."""

from __future__ import annotations

import numpy as np
import pytest
from literal_results import build_result, with_replicates

import reports
from reports.table.claims import claims
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


@pytest.mark.parametrize(
    ("a", "b", "replicates_of_b", "verdict", "measured"),
    [
        (0.42, 0.40, DRAWS, "held", "Mask AP +2.0 [+2.0, +2.0]"),
        (0.42, 0.40, DRAWS + WOBBLE, "held", "Mask AP +2.0 [+1.0, +3.0]"),
        (0.40, 0.42, DRAWS + WOBBLE, "refuted", "Mask AP -2.0 [-3.0, -1.0]"),
        (0.405, 0.40, DRAWS + WOBBLE, "open", "Mask AP +0.5 [-0.5, +1.5]"),
    ],
)
def test_whether_a_claim_held(tmp_path, write_run, a, b, replicates_of_b, verdict, measured):
    run = study(tmp_path, write_run, a, b, replicates_of_b)
    (claim,) = claims(load([run], tmp_path))
    assert (claim.verdict, claim.measured, claim.claimed) == (verdict, measured, "Mask AP +3.4")


@pytest.mark.parametrize(
    ("a_ms", "b_ms", "verdict", "measured"),
    [
        # 10 and 20 ms, each known to 18.37 %: at least 2 * (1 - hypot(1 - 1/1.18374, 1/0.81626 - 1)).
        ([9.0, 11.0, 9.0, 11.0], [18.0, 22.0, 18.0, 22.0], "held", "FPS model 2.00 times [1.45, 2.55]"),
        ([9.0, 11.0, 9.0, 11.0], [9.9, 12.1, 9.9, 12.1], "open", "FPS model 1.10 times [0.80, 1.40]"),
        ([20.0] * 4, [10.0] * 4, "refuted", "FPS model 0.50 times [0.50, 0.50]"),
        ([20.0], [10.0], "absent", ""),
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
    assert (claim.verdict, claim.measured) == ("absent", "")


def test_a_claim_stands_in_every_report(tmp_path, write_run):
    from rich.console import Console

    run = study(tmp_path, write_run, 0.42, 0.40, DRAWS + WOBBLE, points=None)
    reports.build([run], tmp_path / "out")
    console = Console(width=200, record=True)
    console.print(reports.terminal_table([run]))
    texts = [console.export_text()]
    texts += [(tmp_path / "out" / f"comparison.{kind}").read_text() for kind in ("md", "html")]
    for text in texts:
        assert "a is better than b" in text
        assert "A. Author 2017" in text
        assert "Mask AP higher" in text
        assert "+2.0 [+1.0, +3.0]" in text.replace("\\", "")
        assert "held" in text
