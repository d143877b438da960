"""The pixels of the generated demo dataset: textures, colours, noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from bench.data.shapes.generate import Item

# Distances of mean colours in RGB, so that a shape is visible before the background and, less so, before the others.
MIN_DISTANCE_TO_BACKGROUND = 95.0
MIN_DISTANCE_TO_OTHERS = 60.0


def draw(items: Sequence[Item], height: int, width: int, rng: np.random.Generator) -> Image.Image:
    """Draw the items, from the back to the front, on a background of one of four textures; return an RGB image."""
    dark, light = _background_colors(rng)
    weight = _texture(height, width, rng, scale=float(rng.uniform(14, 60)))
    canvas = dark + (light - dark) * weight[..., None]
    background = [dark, light, (dark + light) / 2]
    used: list[np.ndarray] = []
    for item in items:
        color = _distinct_color(rng, background, used)
        used.append(color)
        weight = _texture(height, width, rng, scale=float(rng.uniform(6, 24))) - 0.5
        contrast = rng.uniform(15, 60)
        tint = rng.uniform(0.4, 1.0, 3)
        canvas[item.mask] = (color + contrast * weight[..., None] * tint)[item.mask]
    # A lens has no hard edges, and a sensor has noise.
    canvas = _blur(canvas)
    canvas += rng.normal(0.0, rng.uniform(3, 10), canvas.shape)
    return Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))


def _background_colors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    # Mostly gray, as photographs are; the shapes are the colourful things.
    first = rng.uniform(30, 225) + rng.uniform(-40, 40, 3)
    second = first + rng.choice([-1.0, 1.0]) * rng.uniform(25, 80) + rng.uniform(-25, 25, 3)
    return np.clip(first, 0, 255), np.clip(second, 0, 255)


def _distinct_color(
    rng: np.random.Generator, background: Sequence[np.ndarray], used: Sequence[np.ndarray]
) -> np.ndarray:
    """Return the first of some random colours that is far enough from all others, else the farthest."""
    best, best_score = np.zeros(3), -1.0
    for candidate in rng.uniform(10, 245, (30, 3)):
        score = min(np.linalg.norm(candidate - other) for other in background) / MIN_DISTANCE_TO_BACKGROUND
        if used:
            score = min(score, min(np.linalg.norm(candidate - other) for other in used) / MIN_DISTANCE_TO_OTHERS)
        if score >= 1:
            return candidate
        if score > best_score:
            best, best_score = candidate, float(score)
    return best


def _texture(height: int, width: int, rng: np.random.Generator, scale: float) -> np.ndarray:
    """Make a texture of ``scale`` pixels, float (height, width) in 0..1: noise, a gradient, stripes or a checker."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    noise = _noise(height, width, rng, scale)
    kind = rng.integers(4)
    if kind == 0:
        return noise
    if kind == 1:
        plain = (along - along.min()) / (along.max() - along.min())
    elif kind == 2:
        plain = 0.5 + 0.5 * np.sin(2 * np.pi * along / scale)
    else:
        plain = ((along // scale + across // scale) % 2).astype(np.float32)
    return 0.75 * plain + 0.25 * noise


def _noise(height: int, width: int, rng: np.random.Generator, scale: float) -> np.ndarray:
    """Make value noise, float (height, width) in 0..1: random grids of falling cell size, interpolated and summed."""
    total, weights = np.zeros((height, width), dtype=np.float32), 0.0
    for octave in range(4):
        cell, weight = max(scale / 2**octave, 2.0), 0.6**octave
        rows, columns = int(height / cell) + 2, int(width / cell) + 2
        grid = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
        total += weight * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
        weights += weight
    return np.clip(0.5 + 1.6 * (total / weights - 0.5), 0, 1)


def _blur(canvas: np.ndarray) -> np.ndarray:
    """Filter with (1, 2, 1) / 4 along both axes."""
    for axis in (0, 1):
        pad = [(1, 1) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(canvas, pad, mode="edge")
        before, after = np.take(padded, range(canvas.shape[axis]), axis), np.roll(padded, -2, axis)
        after = np.take(after, range(canvas.shape[axis]), axis)
        canvas = 0.5 * canvas + 0.25 * (before + after)
    return canvas
