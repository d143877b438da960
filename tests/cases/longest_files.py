"""The order of the files of tests: those of minutes come first."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

LONGEST = (
    "test_study.py",
    "gate/test_interleaved.py",
    "test_demo_weights.py",
    "jobs/elsewhere/test_ray.py",
    "jobs/elsewhere/test_slurm.py",
    "benchmarks/test_agreement.py",
    "jobs/slots/test_slots_of_the_command.py",
    "jobs/test_accuracy_in_shards.py",
    "training/test_training.py",
    "benchmarks/test_replay_speed.py",
    "test_example.py",
    "gate/test_what_ran.py",
)
"""Files of minutes, under ``tests/``. One of them at the end would have one process at work and the others waiting."""


def longest_first(items: list[pytest.Item]) -> None:
    """Put the tests of :data:`LONGEST` before all others, which keep their order.

    What a process of pytest-xdist takes from another's share are the last ones of it, so these stay together.
    """
    place = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
