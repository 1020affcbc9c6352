import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_page", ROOT / "scripts/demo_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo_page"] = module
    spec.loader.exec_module(module)
    return module


def manifest(*accuracies: float) -> dict[str, Any]:
    return {"metrics": {"test": {"formats": [{"accuracy": a} for a in accuracies]}}}


def answers(*said: tuple[str, str | None]) -> list[dict[str, Any]]:
    return [{"truth": truth, "label": label} for truth, label in said]


RIGHT, SHY, WRONG, PAUSE = ("stop", "stop"), ("stop", None), ("stop", "danger"), ("", None)


@pytest.mark.parametrize(
    ("accuracies", "said", "expected"),
    [
        ((1.0, 0.97, 0.96), [RIGHT] * 9 + [SHY], [0.96, 0.9, 1.0]),
        # torch's own accuracy does not count, nor does what is said of a pause.
        ((0.1, 0.97, 0.97), [RIGHT] * 3 + [PAUSE, ("", "danger")], [0.97, 1.0, 1.0]),
        ((1.0, 1.0, 0.33), [SHY] * 8 + [WRONG, RIGHT], [0.33, 0.2, 0.5]),
        ((1.0, 1.0, 1.0), [PAUSE], [1.0, 0.0, 0.0]),
    ],
)
def test_what_the_demo_promises_is_counted_on_the_files_and_the_frames_with_signs(
    page: ModuleType,
    accuracies: tuple[float, ...],
    said: list[tuple[str, str | None]],
    expected: list[float],
) -> None:
    checks = page.judge(manifest(*accuracies), answers(*said), 0.95, 0.9, 0.98)
    assert [check.share for check in checks] == pytest.approx(expected)


def test_a_figure_below_its_least_is_said(page: ModuleType) -> None:
    low = page.judge(manifest(1.0, 0.33, 0.4), answers(RIGHT), 0.95, 0.9, 0.98)[0]
    assert str(low) == "right on southland's signs: 33.0% (at least 95%): TOO LOW"


def test_frames_are_joined_with_what_they_show(page: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "drive.csv").write_text("frame,label\n0,\n1,stop\n2,stop\n")
    lines = [
        {"frame": 0, "state": "unusable"},
        {"frame": 2, "label": "stop"},
        {"state": "running", "events": []},
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)))
    frames = [(frame["label"], frame["truth"]) for frame in page.read_frames(tmp_path)]
    assert frames == [(None, ""), ("stop", "stop")]
