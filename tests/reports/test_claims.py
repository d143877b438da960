"""A claim of a study: what was measured of it, and whether it held."""

from __future__ import annotations

import numpy as np
import pytest
from literal_results import build_result, with_replicates

import reports
from reports.claims import claims
from reports.comparison import load

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
