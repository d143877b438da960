"""The colours of rows: one in all plots, which the colour-blind can tell from the others."""

from __future__ import annotations

HUES = ("#0072B2", "#C95400", "#008A63", "#B85C95", "#B07A00", "#2E8CC4", "#6A51A3", "#6E6E6E", "#96690F")
"""Okabe and Ito's palette without its yellow, as dark as a mark on white must be (3 to 1), and three more colours."""

SHADES = 0.3
"""So much of the ground is at most mixed into a hue, to tell the rows of one family apart."""
