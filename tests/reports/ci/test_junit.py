"""Compare a gate's JUnit XML with a literal text and with the structure that pytest writes."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from literal_findings import SKIPPED, UNCLEAR, gate_report

from bench.schema.gate_report import GateReport
from reports.ci.junit import write_junit

EXPECTED = """\
<?xml version='1.0' encoding='utf-8'?>
<testsuites name="maskbench gate">
  <testsuite name="maskbench gate" errors="0" failures="1" skipped="1" tests="5" time="0">
    <properties>
      <property name="base" value="main (0123456789)" />
      <property name="head" value="runs/ci" />
      <property name="alpha" value="0.05" />
      <property name="on_ambiguous" value="pass" />
      <property name="outcome" value="1 of 3 comparisons worse: solov2_r50_mmdet fps_model" />
    </properties>
    <testcase classname="solov2_r50_mmdet" name="status" time="0">
      <properties>
        <property name="verdict" value="same" />
      </properties>
    </testcase>
    <testcase classname="solov2_r50_mmdet" name="fps_model" time="0">
      <properties>
        <property name="verdict" value="worse" />
        <property name="base" value="21.3 images/s" />
        <property name="head" value="20.19 images/s" />
        <property name="change" value="-5.20 %" />
        <property name="interval" value="[-5.90, -4.60]" />
        <property name="p" value="0.0015" />
        <property name="threshold" value="-2%" />
        <property name="test" value="bootstrap over 12 pairs of rounds, each batch against itself, Holm over 4 tests" />
      </properties>
      <failure type="worse" message="{worse}">{worse}</failure>
    </testcase>
    <testcase classname="mask_rcnn_r50_torchvision" name="mask_ap" time="0">
      <properties>
        <property name="verdict" value="ambiguous" />
        <property name="base" value="34.6 points" />
        <property name="head" value="34.5 points" />
        <property name="change" value="-0.1 points" />
        <property name="interval" value="[-0.25, +0.05]" />
        <property name="p" value="0.4" />
        <property name="threshold" value="-0.2" />
      </properties>
      <system-out>mask_rcnn_r50_torchvision: mask_ap fell by 0.10 points [-0.05, 0.25]</system-out>
    </testcase>
    <testcase classname="mask_rcnn_r50_torchvision" name="peak_allocated_mb" time="0">
      <properties>
        <property name="verdict" value="better" />
        <property name="base" value="1000 MB" />
        <property name="head" value="900 MB" />
        <property name="change" value="-10.00 %" />
        <property name="threshold" value="+1%" />
        <property name="test" value="as read" />
      </properties>
    </testcase>
    <testcase classname="mask_rcnn_r50_detectron2" name="status" time="0">
      <properties>
        <property name="verdict" value="not comparable" />
      </properties>
      <skipped type="not comparable" message="{skipped}">{skipped}</skipped>
    </testcase>
    <system-out>12 rounds a side</system-out>
  </testsuite>
</testsuites>
""".format(
    worse="solov2_r50_mmdet: fps_model fell by 5.20 % [4.60, 5.90], from 21.3 to 20.19 images/s; threshold -2%",
    skipped="mask_rcnn_r50_detectron2: skipped in the head: detectron2 is not installed in &lt;python&gt; &amp; so on"
    "[0m",
)


def _written(report: GateReport, folder: Path) -> str:
    write_junit(report, folder / "junit.xml")
    return (folder / "junit.xml").read_text(encoding="utf-8")


def test_literal(tmp_path: Path) -> None:
    assert _written(gate_report(), tmp_path) == EXPECTED


def test_ambiguous_fails_where_the_gate_says_so(tmp_path: Path) -> None:
    suite = ET.fromstring(_written(gate_report(on_ambiguous="fail"), tmp_path))[0]
    assert suite.get("failures") == "2"
    failed = suite.find("testcase[@name='mask_ap']")
    assert failed is not None
    failure = failed.find("failure")
    assert failure is not None
    assert failure.text == failure.get("message") == UNCLEAR.sentence
    assert failed.find("system-out") is None


def test_a_failed_gate_never_looks_green(tmp_path: Path) -> None:
    """Where the gate failed but no case did, the outcome is a case of its own."""
    report = replace(gate_report(), findings=[SKIPPED], outcome="nothing could be compared")
    suite = ET.fromstring(_written(report, tmp_path))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "1", "1")
    last = suite.findall("testcase")[-1]
    assert (last.get("classname"), last.get("name")) == ("gate", "outcome")
    assert last[0].get("message") == "nothing could be compared"


@pytest.mark.parametrize("text", ["\x00", "\x08", "\x0b", "\x1b[31m", "\ufffe", "\ud800"])
def test_what_xml_forbids_is_left_out(text: str, tmp_path: Path) -> None:
    finding = replace(UNCLEAR, model=f"a{text}b", sentence=f"a{text}b \U0001f600 ü\tc\nd", verdict="worse")
    [case] = ET.fromstring(_written(replace(gate_report(), findings=[finding]), tmp_path)).iter("testcase")
    rest = text.removeprefix("\x1b") if len(text) > 1 else ""
    assert case.get("classname") == f"a{rest}b"
    assert next(case.iter("failure")).text == f"a{rest}b \U0001f600 ü\tc\nd"


def test_structure_is_that_of_pytest(tmp_path: Path) -> None:
    """Every element stands where pytest puts it, and has only attributes that pytest writes."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_properties(record_property): record_property('base', 1); print('out'); assert 0\n"
        "def test_skipped(): pytest.skip('no')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "--junitxml=theirs.xml", "-o", "junit_family=xunit1"]
    command += ["-o", "junit_logging=all", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir=.", "test_it.py"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=60)
    theirs = _paths(ET.parse(tmp_path / "theirs.xml").getroot())
    ours = _paths(ET.fromstring(_written(gate_report(), tmp_path)))
    for path, attributes in ours.items():
        if path in ("testsuites/testsuite/properties", "testsuites/testsuite/properties/property"):
            continue  # pytest writes a suite's only where record_testsuite_property was asked for, in this form
        if path == "testsuites/testsuite/system-out":
            continue  # no test of pytest's has output outside of it; the JUnit schema has it as a suite's last element
        assert path in theirs
        known = theirs[path] | ({"type"} if path.endswith("/failure") else set())
        assert attributes <= known, path


def _paths(element: ET.Element, above: str = "") -> dict[str, set[str]]:
    path = f"{above}/{element.tag}".lstrip("/")
    structure = {path: set(element.attrib)}
    for child in element:
        for name, attributes in _paths(child, path).items():
            structure[name] = structure.get(name, set()) | attributes
    return structure
