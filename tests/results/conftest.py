"""What tests of docs/results/gpu share: its scripts importable by their names, and the XML of pytest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "gpu"
sys.path.insert(0, str(SCRIPTS))

WriteXml = Callable[..., Path]


@pytest.fixture
def write_xml(tmp_path: Path) -> WriteXml:
    """Give a function that writes an XML file of tests: (name, properties, element of a test that did not pass)."""

    def write(name: str, *tests: tuple[str, dict[str, object], str]) -> Path:
        cases = [
            f'<testcase classname="tests.any" name="{test}"><properties>'
            + "".join(f'<property name="{key}" value="{value}"/>' for key, value in properties.items())
            + f"</properties>{ended}</testcase>"
            for test, properties, ended in tests
        ]
        path = tmp_path / f"{name}.xml"
        path.write_text(
            f'<testsuites name="pytest tests"><testsuite name="pytest" hostname="vm">{"".join(cases)}'
            "</testsuite></testsuites>"
        )
        return path

    return write
