"""A search tries every point once, and goes on after it was stopped."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_search import OWN, SPACE, measure, optimizer
from search_folder import optuna_study, points_of, trials_of

from leansight.exporters.errors import ConversionError
from leansight.exporters.options import ExportRefusedError
from leansight.runtime.errors import LeansightError
from leansight.sdk.search import results as optimizing_results
from leansight.sdk.search.space import BundleMeasurement, Point


@pytest.mark.usefixtures("no_picture")
def test_every_point_is_tried_once_and_the_run_itself_first(tmp_path: Path) -> None:
    told: list[str] = []
    results = optimizer(tmp_path, report_line=told.append).run(trials=100, hours=None)
    assert sorted(map(str, points_of(results))) == sorted(map(str, SPACE.points()))
    assert results[0].point == OWN
    assert told[0] == "trial 0 (of 16) begins: width 16, 48 px, unpruned, int8"
    assert told[1].startswith("trial 0: accuracy 9")


@pytest.mark.usefixtures("no_picture")
def test_the_front_of_a_search_is_the_one_that_optuna_finds(tmp_path: Path) -> None:
    results = optimizer(tmp_path).run(trials=12, hours=None)
    front = optimizing_results.front_of(results)
    assert [r.number for r in front] == list(range(1, len(front) + 1))
    assert sorted(r.trial for r in front) == [t.number for t in optuna_study(tmp_path).best_trials]
    accuracies = [r.measured.accuracy for r in front if r.measured]
    assert accuracies == sorted(accuracies, reverse=True)


@pytest.mark.usefixtures("no_picture")
def test_a_search_comes_to_draw_what_is_good(tmp_path: Path) -> None:
    space = replace(SPACE, widths=(4, 8, 12, 16), sizes=(32, 48, 64), shares=(0.0, 0.25, 0.5, 0.75))

    def value(point: Point) -> float:
        assert point.width is not None
        return point.width * point.size * (1 - point.share) / 1024

    def wide_is_good(point: Point) -> BundleMeasurement:
        return replace(measure(point), accuracy=value(point))

    made = optimizer(tmp_path, wide_is_good, space, objectives=("accuracy",))
    later = points_of(made.run(trials=40, hours=None))[10:]
    of_all = [value(point) for point in space.points()]
    assert np.mean([value(point) for point in later]) > np.mean(of_all) + 0.35 * np.std(of_all)


@pytest.mark.usefixtures("no_picture")
def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = optimizer(tmp_path / "whole").run(trials=14, hours=None)
    stops = iter([3, 9])
    stop = next(stops)
    done: list[Point] = []

    def stopping(point: Point) -> BundleMeasurement:
        nonlocal stop
        if len(done) == stop:
            stop = next(stops, -1)
            raise KeyboardInterrupt
        done.append(point)
        return measure(point)

    folder = tmp_path / "stopped"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            optimizer(folder, stopping).run(trials=14, hours=None)
    told: list[str] = []
    again = optimizer(folder, stopping, report_line=told.append).run(trials=14, hours=None)
    assert told[0].startswith("trial 9 (of 14) goes on: ")
    assert again == whole
    assert done == points_of(whole)  # none twice
    assert optimizer(folder, stopping).run(trials=14, hours=None) == whole  # nothing left to do
    assert len(done) == 14
    more = optimizer(folder, stopping).run(trials=15, hours=None)
    assert points_of(more)[:14] == points_of(whole)
    assert len(more) == 15


@pytest.mark.usefixtures("no_picture")
def test_other_seeds_try_other_points(tmp_path: Path) -> None:
    first, second = (
        points_of(optimizer(tmp_path / str(seed), seed=seed).run(trials=8, hours=None))
        for seed in (0, 1)
    )
    assert first[0] == second[0] == OWN
    assert first != second


@pytest.mark.usefixtures("no_picture")
def test_no_trial_begins_after_the_hours(tmp_path: Path) -> None:
    def slowly(point: Point) -> BundleMeasurement:
        time.sleep(0.1)
        return measure(point)

    results = optimizer(tmp_path, slowly).run(trials=None, hours=0.25 / 3600)
    assert 1 <= len(results) <= 3


@pytest.mark.usefixtures("no_picture")
def test_what_is_refused_or_fails_is_kept_with_its_reason(tmp_path: Path) -> None:
    def refusing(point: Point) -> BundleMeasurement:
        if point.precision == "int8" and point.share:
            raise ExportRefusedError("tflite int8 lost 7.00 points, more than max_drop allows (1)")
        if point.size == 32:
            raise ConversionError("a layer cannot be int8")
        return measure(point)

    results = optimizer(tmp_path, refusing).run(trials=16, hours=None)
    by_state = {s: [r for r in results if r.state == s] for s in ("complete", "refused", "failed")}
    assert {s: len(found) for s, found in by_state.items()} == {
        "complete": 6,
        "refused": 4,
        "failed": 6,
    }
    rows = {row["trial"]: row for row in trials_of(tmp_path)}
    for refused in by_state["refused"]:
        assert rows[str(refused.trial)]["reason"].startswith("tflite int8 lost 7.00 points")
        assert rows[str(refused.trial)]["accuracy"] == ""
        assert refused.number is None
    assert all(r.reason == "a layer cannot be int8" for r in by_state["failed"])
    states = [t.state.name for t in optuna_study(tmp_path).trials]
    assert (states.count("PRUNED"), states.count("FAIL")) == (4, 6)
    calls: list[Point] = []
    optimizer(tmp_path, lambda p: calls.append(p) or measure(p)).run(trials=99, hours=None)
    assert not calls  # it is not tried again


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize("error", [OSError("No space left"), LeansightError("ended with code 1")])
def test_what_is_wrong_with_all_points_ends_the_search(tmp_path: Path, error: Exception) -> None:
    def breaking(_: Point) -> BundleMeasurement:
        raise error

    with pytest.raises(type(error), match=str(error)):
        optimizer(tmp_path, breaking).run(trials=3, hours=None)
    results = optimizer(tmp_path).run(trials=3, hours=None)
    assert [r.state for r in results] == ["complete"] * 3  # the first was not lost
