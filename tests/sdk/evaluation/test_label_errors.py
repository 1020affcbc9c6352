from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models

from leansight.runtime.decision import Task
from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.data.samples import Sample
from leansight.sdk.evaluation.answers import Answers, ask, load_model
from leansight.sdk.evaluation.evaluate import measure_report
from leansight.sdk.evaluation.label_errors import likely_label_errors, surest_mistakes
from leansight.sdk.evaluation.report import write_report
from leansight.sdk.recipes.load import load_recipe


def test_the_surest_mistakes_come_first(tiny_bundle: Path, data: Path) -> None:
    answers = ask(load_model(tiny_bundle), data, find_samples(data))
    found = surest_mistakes(answers)
    assert {Path(m.path).name.split("_")[0] for m in found} == {"9"}
    assert [m.score for m in found] == sorted((m.score for m in found), reverse=True)
    assert all(m.true != m.predicted for m in found)


def test_wrong_labels_are_found(tiny_bundle: Path, data: Path) -> None:
    answers = ask(load_model(tiny_bundle), data, find_samples(data))
    wrong = {m.path for m in surest_mistakes(answers)}
    found = {m.path for m in likely_label_errors(answers)}
    assert found
    assert found <= wrong


def test_many_labels_have_missing_ones_found() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, (200, 3))
    logits = np.where(classes, 4.0, -4.0) + rng.normal(0, 0.5, (200, 3))
    classes[17] = 1 - classes[17]
    answers = Answers(
        name="many",
        labels=tiny_models.LABELS,
        task="multilabel",
        policy=load_recipe("multilabel-scratch").decision,
        samples=tuple(Sample(path=Path(str(i)), labels=()) for i in range(200)),
        classes=classes,
        logits=logits.astype(np.float32),
    )
    assert surest_mistakes(answers)[0].index == 17
    assert 17 in {m.index for m in likely_label_errors(answers)}
    report = measure_report(answers)
    assert report["metrics"]["accuracy"] == pytest.approx(1 - 3 / 600)
    assert report["confusion"] == []


@pytest.mark.parametrize(
    ("task", "classes"),
    [
        ("classification", [2] * 9),
        ("multilabel", [[0, 0, 1]] * 9),
        ("multilabel", [[0, 0, 0]] * 9),
        ("multilabel", [[1, 1, 1]] * 9),
        ("multilabel", [[1, 0, 1], [1, 0, 0], [1, 0, 1]] * 3),
    ],
)
def test_a_report_of_one_class_only_has_every_figure_but_those_that_compare(
    task: Task, classes: list[object], tmp_path: Path
) -> None:
    answers = Answers(
        name="one",
        labels=("plain", "$x_{$", "level"),
        task=task,
        policy=load_recipe("multilabel-scratch").decision,
        samples=tuple(Sample(path=Path(f"{i}.png"), labels=()) for i in range(9)),
        classes=np.array(classes),
        logits=np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32),
    )
    report = measure_report(answers)
    assert report["images"] == 9
    assert report["metrics"]["classes"][1]["auc"] is None
    for index in range(9):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((8, 8, 3), np.uint8))
    write_report(report, answers, tmp_path, tmp_path / "report", drawings={})
    assert "$x_{$" in (tmp_path / "report" / "report.html").read_text()
