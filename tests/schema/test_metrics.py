"""Tests that the table of figures is consistent."""

from __future__ import annotations

from typing import get_args

from bench.schema.metrics import FIGURES, METRICS, Place, shown_in


def test_ends_are_those_of_an_interval_that_there_is() -> None:
    ends = {figure.name: figure.end for figure in FIGURES.values() if figure.end}
    assert ends == {
        "mask_ap_low": ("mask_ap", 0),
        "mask_ap_high": ("mask_ap", 1),
        "fps_model_low": ("fps_model", 0),
        "fps_model_high": ("fps_model", 1),
    }
    assert {name for name, figure in FIGURES.items() if figure.interval} == {"mask_ap", "fps_model", "latency_ms_p50"}


def test_every_figure_says_what_its_places_need() -> None:
    for figure in FIGURES.values():
        assert set(figure.shown) <= set(get_args(Place)), figure.name
        assert figure.title, figure.name
        assert figure.definition, figure.name
        assert bool(figure.short) == ("terminal" in figure.shown), figure.name
        assert "chart" not in figure.shown or figure.name in METRICS, figure.name
        assert "trend" not in figure.shown or figure.name in METRICS, figure.name
        assert (figure.better is None) or figure.decimals is not None, figure.name


def test_the_pages_of_trends() -> None:
    assert set(shown_in("trend")) == {
        *("fps_model", "latency_ms_p50", "latency_ms_p95", "mask_ap", "peak_allocated_mb", "peak_reserved_mb"),
        *("host_rss_mb", "energy_j_per_image"),
    }


def test_a_gate_tests_each_kind_of_figure_its_own_way() -> None:
    def how(name: str) -> tuple[bool, bool, bool]:
        return METRICS[name].over_rounds, METRICS[name].of_every_batch, METRICS[name].resampled

    assert how("fps_end_to_end") == (True, True, False)
    assert how("latency_ms_p95_network") == (True, False, False)
    assert how("boundary_ap") == (False, False, True)
    assert how("host_rss_mb") == how("mask_ap50") == (False, False, False)
    assert not {"gflops", "detections_per_image", "images", "fits_in_gb", "published_mask_ap"} & set(METRICS)
