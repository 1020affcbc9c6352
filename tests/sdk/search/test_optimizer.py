"""A search tries every point once, goes on after a kill, is shared, and draws what it found."""

import csv
import itertools
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import optuna
import pytest
import shapes
import torch
from click.testing import CliRunner, Result
from fake_search import OWN, SPACE, measure, optimizer
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from leansight.exporters.errors import ConversionError
from leansight.exporters.options import ExportRefusedError
from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import DataError, LeansightError
from leansight.sdk.commands import cli
from leansight.sdk.models.build import build_network
from leansight.sdk.recipes.load import load_recipe, override
from leansight.sdk.runs.begin import begin
from leansight.sdk.runs.run import Run, RunConfig, TrainingOptions
from leansight.sdk.search import pareto_plot as pareto_picture
from leansight.sdk.search import results as optimizing_results
from leansight.sdk.search.bundles import Workshop, copy_start, death, make_in_own_process, make_run
from leansight.sdk.search.objectives import OBJECTIVES, pareto_front
from leansight.sdk.search.optimizer import FAILURES
from leansight.sdk.search.space import BundleMeasurement, Point, Space, space_of
from leansight.sdk.search.storage import JOURNAL
from leansight.sdk.training.train import train
from leansight.sdk.training.trainer import Hardware

# The front

costs = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(-3, 3), min_size=width, max_size=width), min_size=1, max_size=25
    )
)


@given(costs)
def test_the_front_is_what_nothing_else_beats(rows: list[list[int]]) -> None:
    def beats(a: list[int], b: list[int]) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    expected = [i for i, row in enumerate(rows) if not any(beats(other, row) for other in rows)]
    assert pareto_front(rows) == expected


def test_values_are_written_as_people_read_them() -> None:
    say = {name: objective.say for name, objective in OBJECTIVES.items()}
    assert say["accuracy"](0.98765) == "98.8 %"
    assert say["coverage"](1.0) == "100.0 %"
    assert say["latency"](0.39249) == "0.392 ms"
    assert say["latency"](12.3456) == "12.3 ms"
    assert say["size"](1_234_567) == "1235 KB"


# A search with a stand-in for training


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest where a test is of something else."""
    monkeypatch.setattr(optimizing_results, "write_picture", lambda *_, **__: None)


def trials_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def points_of(results: list[optimizing_results.Result]) -> list[Point]:
    return [result.point for result in results]


def optuna_study(folder: Path) -> optuna.Study:
    """Open the study as any other program would."""
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    )
    return optuna.load_study(study_name=None, storage=storage)


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


# Several processes

WORKER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import fake_search
from leansight.sdk.search import results as optimizing_results

optimizing_results.write_picture = lambda *_, **__: None
folder, log, seconds, storage = sys.argv[2:]

def evaluate(point):
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {point.bundle_name}\\n")
    time.sleep(float(seconds))
    return fake_search.measure(point)

fake_search.optimizer(Path(folder), evaluate, storage=storage or None).run(trials=12, hours=None)
"""


@contextmanager
def searching(
    folder: Path, log: Path, seconds: float, storage: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Search in a process of its own, which is there until the end of the `with`."""
    arguments = [
        str(Path(__file__).parents[2] / "helpers"),
        str(folder),
        str(log),
        str(seconds),
        storage,
    ]
    process = subprocess.Popen([sys.executable, "-c", WORKER, *arguments])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_two_processes_share_a_search(tmp_path: Path, kind: str) -> None:
    folder, log = tmp_path / "search", tmp_path / "log"
    storage = "" if kind == "journal" else f"sqlite:///{tmp_path}/trials.db"
    with (
        searching(folder, log, 0.5, storage) as first,
        searching(folder, log, 0.5, storage) as second,
    ):
        assert [process.wait(240) for process in (first, second)] == [0, 0]
    tried = [line.split() for line in log.read_text().splitlines()]
    assert len(tried) == len({name for _, name in tried}) == 12
    assert {int(pid) for pid, _ in tried} == {first.pid, second.pid}
    rows = trials_of(folder)
    assert sorted(int(row["trial"]) for row in rows) == list(range(12))
    assert {row["bundle"] for row in rows} == {name for _, name in tried}


@pytest.mark.usefixtures("no_picture")
def test_the_trial_of_a_killed_process_goes_on_in_another(tmp_path: Path) -> None:
    folder, log = tmp_path / "search", tmp_path / "log"
    with searching(folder, log, 600):
        end = time.monotonic() + 240
        while not log.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        others = optimizer(folder).run(trials=3, hours=None)  # while it is at work
        assert [r.trial for r in others] == [1, 2]
    told: list[str] = []
    results = optimizer(folder, report_line=told.append).run(trials=3, hours=None)
    assert told[0].startswith("trial 0 (of 3) goes on")
    assert [r.trial for r in results] == [0, 1, 2]
    assert results[0].point == OWN


# Where it is kept


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    with pytest.raises(DataError, match="neither empty nor a search: choose another --out"):
        optimizer(tmp_path).run(trials=1, hours=None)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.usefixtures("no_picture")
def test_a_search_that_another_process_is_about_to_begin_is_no_foreign_folder(
    tmp_path: Path,
) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "optimize.json.part").write_text("{")  # or was killed while it did
    assert len(optimizer(tmp_path).run(trials=1, hours=None)) == 1
    assert not (tmp_path / "optimize.json.part").exists()


@pytest.mark.usefixtures("no_picture")
def test_another_search_is_refused_and_what_differs_is_said(tmp_path: Path) -> None:
    optimizer(tmp_path).run(trials=1, hours=None)
    changed = replace(SPACE, sizes=(64,))
    with pytest.raises(DataError, match=r"another search: sizes was 32,48, not 64. Choose"):
        optimizer(tmp_path, space=changed).run(trials=1, hours=None)
    with pytest.raises(DataError, match=r"storage was nothing, not sqlite:///x\.db"):
        optimizer(tmp_path, storage="sqlite:///x.db").run(trials=1, hours=None)


@pytest.mark.usefixtures("no_picture")
def test_a_database_that_cannot_be_opened_is_said_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://me:secret@nowhere.invalid/trials"
    with pytest.raises(DataError, match=r"--storage postgresql.* cannot be opened") as caught:
        optimizer(tmp_path, storage=url).run(trials=1, hours=None)
    assert "secret" not in str(caught.value)
    assert "secret" not in (tmp_path / "optimize.json").read_text()
    with pytest.raises(DataError, match="--storage"):
        optimizer(tmp_path / "b", storage="://").run(trials=1, hours=None)


# The picture and the tables


def test_the_tables_say_how_to_make_each_point_again(tmp_path: Path) -> None:
    optimizer(tmp_path).run(trials=3, hours=None)
    with (tmp_path / "pareto.csv").open(newline="") as file:
        front = list(csv.DictReader(file))
    assert [row["front"] for row in front] == [str(n + 1) for n in range(len(front))]
    for row in front:
        point = Point(
            width=int(row["width"]),
            size=int(row["size"]),
            share=float(row["share"]),
            precision="int8" if row["precision"] == "int8" else "float32",
            threads=int(row["threads"]),
        )
        assert row["command"] == f"again {point.bundle_name} {row['trial']}"
        assert float(row["accuracy"]) == measure(point).accuracy
    assert len(trials_of(tmp_path)) == 3
    picture = cv2.imread(str(tmp_path / "pareto.png"))
    assert picture is not None
    assert min(picture.shape[:2]) > 600


def shown(seed: int, count: int) -> list[pareto_picture.PlotPoint]:
    """Return made-up bundles, some of them in the same place, with their front numbered."""
    rng = np.random.default_rng(seed)
    values = [
        {
            "accuracy": round(float(1 - 0.1 / (1 + cost)), 3),
            "coverage": round(float(0.9 - 0.2 / (1 + cost)), 2),
            "latency_ms": float(0.1 + cost),
            "size_bytes": float(round(1e4 * (1 + cost), -4)),
        }
        for cost in rng.lognormal(0, 1.2, count)
    ]
    front = pareto_front([[o.cost(v[o.field]) for o in OBJECTIVES.values()] for v in values])
    return [
        pareto_picture.PlotPoint(
            values=v,
            group=("int8", "float32")[i % 2],
            text="width 16, 48 px, 25% pruned, float32, 2 threads",
            number=front.index(i) + 1 if i in front else None,
        )
        for i, v in enumerate(values)
    ]


def labels_out_of_view(figure: Figure) -> Iterator[Text]:
    """Yield the labels of ticks that matplotlib has made but does not draw."""
    for axes in figure.findobj(Axes):
        assert isinstance(axes, Axes)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not axes.axison or not low <= tick.get_loc() <= high:
                    yield from (tick.label1, tick.label2)


ALL = tuple(OBJECTIVES)


@pytest.mark.parametrize(
    ("seed", "names"),
    [
        (0, ALL),
        (1, ALL),
        (0, ("accuracy", "latency", "size")),
        (1, ("accuracy", "latency")),
        (2, ("accuracy", "coverage")),
    ],
)
def test_no_label_of_the_picture_hides_another(seed: int, names: tuple[str, ...]) -> None:
    points, objectives = shown(seed, 24), [OBJECTIVES[name] for name in names]
    figure = pareto_picture.draw(points, objectives, title="A title", note="Small print. " * 40)
    figure.draw_without_rendering()
    not_drawn = set(labels_out_of_view(figure))
    everything = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    texts = [t for t in everything if isinstance(t, Text) and t.get_text() and t not in not_drawn]
    boxes = {t: Text.get_window_extent(t) for t in texts}
    for a, b in itertools.combinations(texts, 2):
        assert not boxes[a].overlaps(boxes[b]), (a.get_text(), b.get_text())
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0, text.get_text()
        assert box.x1 <= figure.bbox.x1, text.get_text()
        assert figure.bbox.y0 <= box.y0, text.get_text()
        assert box.y1 <= figure.bbox.y1, text.get_text()
    written = " ".join(t.get_text() for t in texts)
    for objective in objectives:
        assert f"{objective.what} ({objective.unit})" in written
    # Every number of the front is written in every panel.
    numbers = [s.number for s in points if s.number]
    gained = [o for o in objectives if o.direction == "maximize"]
    panels = len(gained) * (len(objectives) - len(gained)) or 1
    for number in numbers:
        assert len([t for t in texts if str(number) in t.get_text().split(", ")]) >= panels


@pytest.mark.parametrize("name", ALL)
def test_one_objective_has_a_picture_too(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    pareto_picture.write_picture(shown(0, 3), [OBJECTIVES[name]], picture, title="A", note="B")
    assert cv2.imread(str(picture)) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]


# What is searched


def space(recipe: str = "traffic-signs-small", **given: Any) -> Space:  # noqa: ANN401 -- values of any option
    names = ("widths", "sizes", "shares", "precisions", "threads")
    options: dict[str, Any] = dict.fromkeys(names) | {"timed": True} | given
    return space_of(load_recipe(recipe), **options)


def test_without_options_the_run_and_smaller_ones_are_searched() -> None:
    found = space()
    recipe = load_recipe("traffic-signs-small")
    assert found.widths == (recipe.model.width, recipe.model.width // 2)
    assert found.sizes == (64, 48)
    assert found.shares == (0, 0.25, 0.5, 0.75)
    assert set(found.precisions) >= {"int8", "float32"}
    assert found.threads[0] == 1
    assert space(timed=False).threads == (1,)
    nearest = found.nearest(recipe)
    assert (nearest.width, nearest.size, nearest.share) == (recipe.model.width, 64, 0)


def test_a_network_without_a_width_has_none_to_choose() -> None:
    found = space("traffic-signs-resnet50")
    assert found.widths == ()
    assert all(point.width is None for point in found.points())
    assert "width" not in found.points()[0].run_name
    with pytest.raises(DataError, match="resnet50 has no width: leave --widths out"):
        space("traffic-signs-resnet50", widths=(8,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shares": (0.5, 1.0)}, "shares must be from 0 to below 1"),
        ({"sizes": (0,)}, "sizes must be 1 or more"),
        ({"threads": (2, 2)}, "threads must be different values"),
        ({"precisions": ("int4",)}, "precisions must be of .*, not int4"),
    ],
)
def test_a_value_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        space(**given)


def test_precision_and_threads_are_no_other_training() -> None:
    other = replace(OWN, threads=4)
    assert (other.run_name, other.bundle_name) == (OWN.run_name, OWN.bundle_name)
    other = replace(OWN, precision="float32")
    assert other.run_name == OWN.run_name
    assert other.bundle_name != OWN.bundle_name
    assert len({p.bundle_name for p in SPACE.points()}) == len(SPACE.points())


# The command


def leansight(*arguments: object) -> Result:
    return CliRunner().invoke(cli.leansight, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes.write_data_set(tmp_path_factory.mktemp("optimize") / "shapes")


@pytest.fixture
def untrained(data: Path, tmp_path: Path) -> Run:
    """A run as on disk after a training, which has not taken place."""
    recipe = override(load_recipe("traffic-signs-small"), ["model.width=4", "split.test=0.17"])
    path = tmp_path / "untrained"
    begin(data, recipe, path, TrainingOptions())
    run = Run(path=path, data=data, recipe=recipe, labels=shapes.LABELS, metrics={"test a": 1})
    run.save(build_network(recipe.model, classes=3, channels=recipe.preprocessing.channels))
    return run


def test_what_a_search_begins_with_has_no_test_images(untrained: Run, tmp_path: Path) -> None:
    assert untrained.split().test
    copy_start(untrained, untrained.data, tmp_path)
    copy = Run.load(tmp_path / "start")
    assert copy.split() == replace(untrained.split(), test=())
    assert copy.metrics == {}
    theirs, ours = copy.network().state_dict(), untrained.network().state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    copy_start(untrained, untrained.data, tmp_path)  # again: what is there is kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--objectives", "speed"], "--objectives: no speed; there are accuracy, coverage"),
        (["--objectives", "size,size"], "name one or more of accuracy, .*, each once"),
        (["--objectives", "size", "--threads", "1,2"], "--threads change the latency alone"),
        (["--set", "model.width=8"], "--set model: a search is of one model"),
        (["--set", "training.epochs=none"], "training.epochs must be a whole number"),
        (["--shares", "0,1"], "shares must be from 0 to below 1"),
        (["--data", "/nowhere"], "--data /nowhere does not exist: name the folder of labelled"),
    ],
)
def test_what_cannot_work_is_said_before_it_begins(
    untrained: Run, options: list[str], message: str, tmp_path: Path
) -> None:
    done = leansight("optimize", untrained.path, "--out", tmp_path / "out", *options)
    assert isinstance(done.exception, DataError), done.output
    assert re.search(message, str(done.exception)), done.exception
    assert not (tmp_path / "out").exists()


def test_images_that_have_moved_are_asked_for(untrained: Run, tmp_path: Path) -> None:
    moved = replace(untrained, data=tmp_path / "gone")
    moved.save(moved.network())
    done = leansight("optimize", untrained.path, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert f"no longer at {tmp_path / 'gone'}: name them by --data" in str(done.exception)


def test_ctrl_c_ends_a_search_in_one_line(
    untrained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*_: object) -> BundleMeasurement:
        raise KeyboardInterrupt

    monkeypatch.setattr("leansight.sdk.search.bundles.evaluate", evaluate)
    done = leansight("optimize", untrained.path, "--out", tmp_path / "out")
    assert done.exit_code == 130
    last = done.output.splitlines()[-1]
    assert last == "stopped: give the same command again to go on where it was"


@pytest.mark.parametrize(("objectives", "kept"), [("accuracy,coverage", True), ("size", False)])
def test_the_small_print_says_what_was_measured_and_no_more(
    objectives: str,
    kept: bool,  # noqa: FBT001 -- a parameter of the test
    untrained: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes = []
    monkeypatch.setattr("leansight.sdk.search.bundles.evaluate", lambda _, point: measure(point))
    monkeypatch.setattr(
        optimizing_results, "write_picture", lambda *_, note, **__: notes.append(note)
    )
    out = tmp_path / "out"
    options = ("--objectives", objectives, "--trials", 1, "--threshold", 0.4)
    done = leansight("optimize", untrained.path, "--out", out, *options)
    assert done.exit_code == 0, (done.output, done.exception)
    (note,) = notes
    count = len(untrained.split().validation)
    assert f"Held out: {count} validation images" in note
    assert ("kept from a probability of 0.4 on" in note) == kept
    assert "Latency" not in note
    assert note.startswith("With a number: no other bundle is as good in everything, and better")


def test_coverage_needs_a_threshold(untrained: Run, tmp_path: Path) -> None:
    unsure = replace(untrained, recipe=override(untrained.recipe, ["decision.threshold=0"]))
    unsure.save(unsure.network())
    done = leansight("optimize", untrained.path, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert "everything is kept without a threshold" in str(done.exception)


def test_a_run_that_has_learnt_everything_is_refused(untrained: Run, tmp_path: Path) -> None:
    start = RunConfig.load(untrained.path)
    replace(start, options=TrainingOptions(everything=True)).save(untrained.path)
    done = leansight("optimize", untrained.path, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert "has learnt its validation images (--everything)" in str(done.exception)


@pytest.mark.parametrize("text", ["8,", "a", "8;9"])
def test_what_is_no_list_is_refused(text: str, tmp_path: Path) -> None:
    done = leansight("optimize", tmp_path, "--out", tmp_path / "out", "--widths", text)
    assert done.exit_code == 2
    assert "is not a list such as 8,16" in done.output


# What is made


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-signal.SIGKILL, r"its process was killed by SIGKILL \(not enough memory\?\)"),
        (-signal.SIGSEGV, r"its process was killed by SIGSEGV$"),
    ],
)
def test_a_process_that_is_killed_is_a_failure_of_its_point(code: int, said: str) -> None:
    error = death(OWN, code)
    assert isinstance(error, FAILURES)
    assert re.search(said, str(error))
    assert not isinstance(death(OWN, 1), FAILURES)  # a defect: the next point would have it too


@pytest.mark.slow
def test_the_error_of_a_process_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"start is not a run \(it has no run.json\)"):
        make_in_own_process(Workshop(folder=tmp_path, data=tmp_path), OWN)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "tiny.toml"
    recipe.write_text(
        shapes.RECIPE.replace("width = 4", "width = 16").replace("0.34", "0.34\ntest = 0.17")
    )
    return train(data, load_recipe(str(recipe)), out=folder / "run", hardware=Hardware(workers=0))


@pytest.mark.slow
def test_a_point_begins_with_the_run_or_learns_from_it(run: Run, tmp_path: Path) -> None:
    workshop = Workshop(folder=tmp_path, data=run.data, overrides=("training.epochs=1",), workers=0)
    copy_start(run, run.data, tmp_path)
    own = Point(width=16, size=32, share=0.0, precision="int8", threads=1)
    assert make_run(workshop, own) == tmp_path / "start"
    half = make_run(workshop, replace(own, share=0.5))
    start = RunConfig.load(half)
    assert start.options.network == half / "pruned.safetensors"
    assert start.options.teacher == tmp_path / "start"
    assert start.recipe.training.epochs == 1
    assert Run.load(half).split().test == ()
    other = make_run(workshop, replace(own, width=8, size=24, share=0.5))
    base = RunConfig.load(tmp_path / "runs" / "width-8-size-24-share-0")
    assert base.options.network is None
    assert base.options.teacher == tmp_path / "start"
    assert (base.recipe.model.width, base.recipe.preprocessing.size) == (8, 24)
    assert RunConfig.load(other).options.teacher == tmp_path / "runs" / "width-8-size-24-share-0"
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    assert make_run(workshop, replace(own, width=8, size=24, share=0.5, threads=2)) == other
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.safetensors")} == made


@pytest.mark.slow
def test_every_point_of_the_front_is_a_bundle_that_its_command_makes_again(
    run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "search"
    options = [
        *("--widths", 16, "--sizes", 32, "--shares", "0,0.5", "--precisions", "int8"),
        *("--threads", "1,2", "--epochs", 2, "--max-drop", 30, "--max-class-drop", 100),
    ]
    done = leansight("optimize", run.path, "--out", out, *options, "--workers", 0, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    front = json.loads(done.stdout)
    rows = trials_of(out)
    assert len(rows) == 4
    assert {row["state"] for row in rows} == {"complete"}
    # Threads are no other bundle, and nothing is trained for them.
    assert len(list((out / "bundles").iterdir())) == len({row["digest"] for row in rows}) == 2
    assert [path.name for path in (out / "runs").iterdir()] == ["width-16-size-32-share-0.5"]
    for row in front:
        bundle = out / "bundles" / row["bundle"]
        assert leansight("check", bundle).exit_code == 0
        metrics = Bundle.load(bundle).metrics
        assert set(metrics) == {"validation"}  # the test was not looked at
        int8 = next(f for f in metrics["validation"]["formats"] if f["name"] == "tflite int8")
        assert (row["accuracy"], row["coverage"]) == (int8["accuracy"], int8["coverage"])
        assert row["size_bytes"] == (bundle / "model.tflite").stat().st_size
        assert 0 < row["latency_ms"] <= row["latency_p90_ms"]
    assert cv2.imread(str(out / "pareto.png")) is not None
    pruned = next(row for row in rows if float(row["share"]))
    name, *words = shlex.split(pruned["command"])
    assert name == "leansight"
    again = leansight(*words, "--workers", 0)
    assert again.exit_code == 0, (again.output, again.exception)
    (bundle,) = Path(words[words.index("--out") + 1], "bundles").iterdir()
    original = out / "bundles" / pruned["bundle"]
    assert bundle.name == original.name
    for file in ("model.tflite", "model.onnx"):
        assert (bundle / file).read_bytes() == (original / file).read_bytes()
    table = leansight("optimize", run.path, "--out", out, *options)  # nothing is left to do
    assert table.exit_code == 0
    assert f"picture: {out / 'pareto.png'}" in table.stdout


@pytest.mark.slow
def test_a_refused_export_is_no_crash_and_is_not_made_twice(run: Run, tmp_path: Path) -> None:
    """A network that calls everything by one name as int8: its calibration saw gray alone."""
    poor, photos = tmp_path / "poor", tmp_path / "photos"
    shutil.copytree(run.path, poor)
    shutil.copytree(run.data, photos)
    assert cv2.imwrite(str(photos / "disc" / "gray.png"), np.full((40, 40, 3), 128, np.uint8))
    header = (run.path / "train.csv").read_text().splitlines()[0]
    (poor / "train.csv").write_text(f"{header}\ndisc/gray.png,disc,,,\n")
    done = leansight(
        *("optimize", poor, "--data", photos, "--out", tmp_path / "out", "--max-drop", 0),
        *("--widths", 16, "--sizes", 32, "--shares", 0, "--precisions", "int8,float32"),
        *("--threads", "1,2", "--workers", 0),
    )
    assert done.exit_code == 0, (done.output, done.exception)
    rows = trials_of(tmp_path / "out")
    refused = [row for row in rows if row["state"] == "refused"]
    assert {row["precision"] for row in refused} == {"int8"}
    assert len(refused) == 2
    for row in refused:
        assert re.search(r"int8 lost .* points of .*more than max_", row["reason"])
        assert f"refused: trial {row['trial']}" in done.stderr
    assert {row["precision"] for row in rows if row["state"] == "complete"} == {"float32"}
    (kept,) = (tmp_path / "out" / "bundles").glob("*.refused.txt")
    assert kept.read_text().strip() == refused[0]["reason"]
