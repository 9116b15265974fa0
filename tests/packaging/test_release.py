"""The files around a release agree with the project: citation, workflows, issue templates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

import pseudo_iou_ops

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def steps_of(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in load(workflow)["jobs"].values() for step in job["steps"]]


def test_citation_names_this_version_and_the_paper() -> None:
    citation = load(ROOT / "CITATION.cff")
    assert citation["version"] == pseudo_iou_ops.__version__
    assert citation["license"] == "Apache-2.0"
    (paper,) = citation["references"]
    assert paper["title"].startswith("Pseudo-IoU: ")


def test_workflows_run_what_exists() -> None:
    commands = [step["run"] for workflow in WORKFLOWS for step in steps_of(workflow) if "run" in step]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in commands:
        program, *arguments = command.split()
        if program == "make":
            assert set(arguments) <= set(targets), command
        else:
            assert (ROOT / program).is_file(), command
    assert ".ci/run" in commands


def test_a_bug_report_asks_for_the_environment() -> None:
    (form,) = (load(path) for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("bug.yml"))
    (field,) = (part for part in form["body"] if part.get("id") == "env")
    assert "python -m pseudo_iou_ops.env" in field["attributes"]["description"]
    assert field["validations"]["required"]
