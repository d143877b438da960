"""The look of every chart: once with colours written out, for pictures, and once with those of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reports.plots.palette import HUES

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""

STAGES = ("decode_ms", "preprocess_ms", "network_ms", "postprocess_ms", "encode_ms")
"""The five stages in their order."""

MEMORY = ("module_mb", "peak_allocated_mb", "peak_reserved_mb", "process_device_mb", "host_rss_mb")
"""The figures of memory; the first is that of parameters and buffers, which has no column."""

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"


@dataclass(frozen=True)
class Look:
    """Colours of a chart, as SVG takes them.

    hues: one for each model family, in turn
    stages: one for each of :data:`STAGES`, which also differ in lightness: for the colour-blind, and in print
    """

    ink: str
    quiet: str
    line: str
    ground: str
    hues: tuple[str, ...]
    stages: tuple[str, ...]
    memory: tuple[str, ...]

    def shade(self, hue: int, share: float) -> str:
        """Give a hue with a share of the ground, 0 to 1, mixed into it."""
        base = self.hues[hue % len(self.hues)]
        if not share:
            return base
        if base.startswith("var("):
            return f"color-mix(in srgb, {base} {100 * (1 - share):.0f}%, {self.ground})"
        mixed = (
            round(int(base[i : i + 2], 16) * (1 - share) + int(self.ground[i : i + 2], 16) * share) for i in (1, 3, 5)
        )
        return "#" + "".join(f"{channel:02X}" for channel in mixed)


PRINTED = Look(
    ink="#222222",
    quiet="#5B636C",
    line="#DFE3E7",
    ground="#FFFFFF",
    hues=HUES,
    stages=("#D3D9DF", "#9FB3C3", "#23405C", "#C97E22", "#8C4A7E"),
    memory=("#8A949D", "#56B4E9", "#0072B2", "#23405C", "#C97E22"),
)

PAGE = Look(
    ink="var(--ink)",
    quiet="var(--quiet)",
    line="var(--line)",
    ground="var(--ground)",
    hues=tuple(f"var(--hue-{place})" for place in range(len(HUES))),
    stages=tuple(f"var(--stage-{place})" for place in range(len(STAGES))),
    memory=tuple(f"var(--memory-{place})" for place in range(len(MEMORY))),
)
"""The page's style sheet has these twice, for light and for dark: an SVG follows it without being drawn anew."""


def config(look: Look) -> Spec:
    """Give the configuration that all charts of a look share."""
    words = {"labelColor": look.ink, "titleColor": look.quiet, "labelFontSize": 11.5, "titleFontSize": 12}
    plain = {"titleFontWeight": "normal", "domainColor": look.line, "tickColor": look.line, "gridColor": look.line}
    return {
        "background": None if look is PAGE else look.ground,
        "font": FONT,
        "view": {"stroke": None},
        "axis": {**words, **plain, "labelLimit": 340, "titlePadding": 10},
        "axisY": {"domain": False, "ticks": False, "labelPadding": 8},
        "axisX": {"labelPadding": 5},
        "header": {"labelColor": look.ink, "labelFontSize": 12, "title": None},
        "legend": {
            **{
                "labelColor": look.ink,
                "titleColor": look.quiet,
                "labelFontSize": 11.5,
                "title": None,
                "labelLimit": 300,
            },
            **{"orient": "top", "columns": {"signal": "width < 500 ? 2 : 5"}, "symbolBaseFillColor": look.quiet},
            "symbolBaseStrokeColor": look.quiet,
        },
        "text": {"fill": look.ink, "fontSize": 11},
        "mark": {"tooltip": True},
    }
