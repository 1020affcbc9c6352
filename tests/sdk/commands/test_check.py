import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from command_line import invoke

from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.decision import DecisionPolicy

FITTED: Mapping[str, Any] = {"interval": [0.6, 0.9], "reason": "", "images": 2040, "videos": 68}
CERTIFIED: Mapping[str, Any] = {"judged": "kept (tflite int8)", "max_error": 0.01}


def bundle_of(
    tiny_bundle: Path,
    temperature: float,
    metrics: Mapping[str, Any] | None = None,
    guarantee: Mapping[str, Any] | None = None,
) -> Path:
    golden = Bundle.load(tiny_models.golden_bundle(tiny_bundle))
    scaled = replace(
        golden,
        path=golden.path.with_name("scaled.bundle"),
        decision=DecisionPolicy(threshold=0.5, temperature=temperature),
        metrics=metrics or {},
        guarantee=guarantee or {},
    )
    write_bundle(scaled, {name: golden.read(name) for name in golden.files})
    return scaled.path


@pytest.mark.parametrize(
    ("metrics", "guarantee", "origin"),
    [
        (FITTED, {}, "fitted on 2040 validation images of 68 videos"),
        (FITTED | {"videos": 2040}, {}, "fitted on 2040 validation images"),
        (FITTED | {"interval": None, "reason": "it was given"}, {}, "not fitted: it was given"),
        (FITTED, CERTIFIED, "certified with the threshold by kept (tflite int8)"),
        (None, {}, "not fitted"),
    ],
)
def test_a_temperature_is_shown_with_its_origin(
    tiny_bundle: Path,
    metrics: Mapping[str, Any] | None,
    guarantee: Mapping[str, Any],
    origin: str,
) -> None:
    scores = {"validation": {"scores": metrics}}
    path = bundle_of(tiny_bundle, 0.78346, metrics=scores, guarantee=guarantee)
    verdict, line = invoke("check", path).output.splitlines()
    assert "as it was made" in verdict
    assert line == f"temperature of the scores: 0.7835, {origin}"


@pytest.mark.parametrize("metrics", [{}, {"validation": 3}, {"validation": {"scores": []}}])
def test_metrics_of_any_form_are_no_fault(tiny_bundle: Path, metrics: Mapping[str, Any]) -> None:
    said = invoke("check", bundle_of(tiny_bundle, 2, metrics=metrics))
    assert said.exit_code == 0
    assert said.output.splitlines()[1] == "temperature of the scores: 2, not fitted"


def test_a_temperature_of_one_needs_no_line(tiny_bundle: Path) -> None:
    path = bundle_of(tiny_bundle, 1, metrics={"validation": {"scores": FITTED}})
    assert len(invoke("check", path).output.splitlines()) == 1


def test_json_tells_the_temperature(tiny_bundle: Path) -> None:
    said = json.loads(invoke("check", bundle_of(tiny_bundle, 0.5), "--json").output)
    assert said["temperature"] == 0.5
    assert said["holds"] is True
