"""A run that is damaged is named."""

import json
from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.runs.run import Run, TrainingOptions


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Path:
    """A copy of the run's own files, to damage."""
    for name in ("run.json", "model.safetensors", "train.csv", "validation.csv", "test.csv"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"data": "x"',
        "[]",
        "{}",
        '{"data": 1, "recipe": {}, "labels": [], "metrics": {}}',
        '{"data": "x", "recipe": null, "labels": ["a", "b"], "metrics": {}}',
        '{"data": "x", "recipe": [], "labels": ["a", "b"], "metrics": {}}',
    ],
)
def test_a_damaged_run_file_is_named(copied: Path, content: str) -> None:
    (copied / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"run\.json is damaged: "):
        Run.load(copied)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_damaged_weights_are_named(copied: Path, keep: int) -> None:
    file = copied / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"model\.safetensors is damaged or of another network"):
        Run.load(copied).network()


@pytest.mark.slow
def test_weights_of_another_network_are_named(copied: Path) -> None:
    values = json.loads((copied / "run.json").read_text())
    values["labels"].append("square")
    (copied / "run.json").write_text(json.dumps(values))
    with pytest.raises(
        DataError, match=r"model\.safetensors .* of another network: it has 3 classes, not 4"
    ) as error:
        Run.load(copied).network()
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a run \(it has no run\.json\)"):
        Run.load(tmp_path)


def test_options_of_a_training_survive_json() -> None:
    options = TrainingOptions(
        test_on="belgium",
        weights=(Path("a"), Path("b")),
        teachers=(Path("large"), Path("larger")),
        bank=Path("bank"),
        bank_views=3,
    )
    assert TrainingOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_an_unfinished_run_of_an_older_version_has_one_teacher() -> None:
    values = TrainingOptions().to_dict()
    for name in ("teachers", "bank", "bank_views"):
        del values[name]
    old = {"teacher": "large"}, {"teacher": None}
    assert [TrainingOptions.from_dict(values | o).teachers for o in old] == [(Path("large"),), ()]
