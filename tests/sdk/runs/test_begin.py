"""A run's folder is begun once, and one training at a time works in it."""

import shutil
from pathlib import Path

import pytest
import shapes

from leansight.runtime.errors import DataError
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs import begin as beginning
from leansight.sdk.runs.begin import begin, begin_or_join
from leansight.sdk.runs.run import LOCK, RunConfig, TrainingOptions, read_split
from leansight.sdk.system.locks import exclusive
from leansight.sdk.training.train import train


@pytest.fixture
def data(tmp_path: Path) -> Path:
    shapes.write_data_set(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    file = tmp_path / "tiny.toml"
    file.write_text(shapes.RECIPE)
    return load_recipe(str(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK}


def test_a_run_that_another_process_begins_meanwhile_is_not_written_over(
    data: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, limit_classes = tmp_path / "run", beginning.limit_classes
    theirs: list[dict[str, bytes]] = []

    def begun_by_another(*arguments: object, **options: object) -> object:
        monkeypatch.undo()
        begin(data, recipe, out, TrainingOptions(everything=True))
        theirs.append(contents(out))
        return limit_classes(*arguments, **options)

    monkeypatch.setattr(beginning, "limit_classes", begun_by_another)
    with pytest.raises(DataError, match="run: another process has begun a run there"):
        begin_or_join(data, recipe, out, TrainingOptions())
    assert theirs == [contents(out)]
    assert {"start.json", "train.csv"} < contents(out).keys()


def test_the_other_processes_of_a_training_wait_for_what_the_first_begins(
    data: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    waits: list[float] = []

    def begin_at_the_second_look(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            monkeypatch.delenv("RANK")
            begin(data, recipe, out, TrainingOptions())

    monkeypatch.setattr(beginning.time, "sleep", begin_at_the_second_look)
    monkeypatch.setenv("RANK", "1")
    assert begin_or_join(data, recipe, out, TrainingOptions()) == RunConfig.load(out)
    assert len(waits) == 2


def test_a_second_training_in_a_folder_is_refused(
    data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    begin(data, recipe, out, TrainingOptions())
    before = contents(out)
    with exclusive(out / LOCK), pytest.raises(DataError, match="run is in use: another process"):
        train(data, recipe, out=out)
    assert contents(out) == before


def test_a_run_begins_with_what_the_folder_was_taken_for(
    data: Path, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(data, recipe, tmp_path / "run", TrainingOptions())
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"{data}:"
    assert said[1].startswith("  layout: folders, because")


def test_images_of_a_folder_test_are_never_learnt_from(
    data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(data, tmp_path / "given/train")
    for label in shapes.LABELS:
        (tmp_path / "given/test" / label).mkdir(parents=True)
        for file in sorted((tmp_path / "given/train" / label).iterdir())[:4]:
            file.rename(tmp_path / "given/test" / label / f"test-{file.name}")
    begin(tmp_path / "given", recipe, tmp_path / "run", TrainingOptions(everything=True))
    split = read_split(tmp_path / "run")
    assert {s.path.parts[0] for s in (*split.train, *split.validation)} == {"train"}
    assert len(split.test) == 12
    assert {s.path.parts[0] for s in split.test} == {"test"}
