import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import shapes
import torch
from command_line import invoke
from fake_search import measure
from search_folder import trials_of

from leansight.runtime.errors import DataError
from leansight.sdk.models.build import build_network
from leansight.sdk.recipes.load import load_recipe, override
from leansight.sdk.runs.begin import begin
from leansight.sdk.runs.run import Run, RunConfig, TrainingOptions
from leansight.sdk.search import results as optimizing_results
from leansight.sdk.search.bundles import Workshop, copy_start
from leansight.sdk.search.space import BundleMeasurement, Point


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
        (["--objectives", "speed"], "there is no objective speed: there are accuracy, coverage"),
        (["--objectives", "size,size"], "name one or more of accuracy, .*, each once"),
        (["--objectives", "size", "--threads", "1,2"], "--threads change the latency alone"),
        (["--set", "model.width=8"], "--set model: all trials have the same model"),
        (["--set", "training.epochs=none"], "training.epochs must be a whole number"),
        (["--shares", "0,1"], "shares must be from 0 to below 1"),
        (["--data", "/nowhere"], "--data /nowhere does not exist: name the folder of labelled"),
    ],
)
def test_what_cannot_work_is_said_before_it_begins(
    untrained: Run, options: list[str], message: str, tmp_path: Path
) -> None:
    done = invoke("optimize", untrained.path, "--out", tmp_path / "out", *options)
    assert isinstance(done.exception, DataError), done.output
    assert re.search(message, str(done.exception)), done.exception
    assert not (tmp_path / "out").exists()


def test_a_search_goes_on_with_its_bank_alone(
    untrained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    def evaluate(workshop: Workshop, point: Point) -> BundleMeasurement:
        used.append((workshop.bank, workshop.bank_views))
        return measure(point)

    monkeypatch.setattr("leansight.sdk.search.bundles.evaluate", evaluate)
    monkeypatch.setattr(optimizing_results, "write_pareto_picture", lambda *_, **__: None)
    words = ("optimize", untrained.path, "--out", tmp_path / "out", "--trials", 1, "--bank")
    done = invoke(*words, tmp_path / "bank", "--bank-views", 20)
    assert done.exit_code == 0, (done.output, done.exception)
    assert used == [(tmp_path / "bank", 20)]
    (row,) = trials_of(tmp_path / "out")
    again = shlex.split(row["command"])
    assert again[again.index("--bank") : again.index("--bank") + 4] == [
        *("--bank", str(tmp_path / "bank"), "--bank-views", "20"),
    ]
    done = invoke(*words, tmp_path / "other", "--bank-views", 20)
    assert isinstance(done.exception, DataError)
    assert f"bank was {tmp_path / 'bank'}, not {tmp_path / 'other'}" in str(done.exception)


def test_images_that_have_moved_are_asked_for(untrained: Run, tmp_path: Path) -> None:
    moved = replace(untrained, data=tmp_path / "gone")
    moved.save(moved.network())
    done = invoke("optimize", untrained.path, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert f"no longer at {tmp_path / 'gone'}: say where they are now" in str(done.exception)


def test_ctrl_c_ends_a_search_in_one_line(
    untrained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*_: object) -> BundleMeasurement:
        raise KeyboardInterrupt

    monkeypatch.setattr("leansight.sdk.search.bundles.evaluate", evaluate)
    done = invoke("optimize", untrained.path, "--out", tmp_path / "out")
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
        optimizing_results, "write_pareto_picture", lambda *_, note, **__: notes.append(note)
    )
    out = tmp_path / "out"
    options = ("--objectives", objectives, "--trials", 1, "--threshold", 0.4)
    done = invoke("optimize", untrained.path, "--out", out, *options)
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
    done = invoke("optimize", untrained.path, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert "everything is kept without a threshold" in str(done.exception)


def test_a_run_that_has_learnt_everything_is_refused(untrained: Run, tmp_path: Path) -> None:
    start = RunConfig.load(untrained.path)
    replace(start, options=TrainingOptions(everything=True)).save(untrained.path)
    done = invoke("optimize", untrained.path, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert "has learnt its validation images (--everything)" in str(done.exception)


@pytest.mark.parametrize("text", ["8,", "a", "8;9"])
def test_what_is_no_list_is_refused(text: str, tmp_path: Path) -> None:
    done = invoke("optimize", tmp_path, "--out", tmp_path / "out", "--widths", text)
    assert done.exit_code == 2
    assert "is not a list such as 8,16" in done.output
