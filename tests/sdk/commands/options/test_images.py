from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.commands.options.images import choose_samples, videos_override
from leansight.sdk.data.samples import Part, Split
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.runs.run import read_split, write_split


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def chosen(root: Path, part: Part | None = None) -> list[str]:
    samples = choose_samples(root, lists=None, part=part, country="", videos=None)
    return [s.path.as_posix() for s in samples]


@pytest.mark.parametrize(
    ("parts", "part", "expected"),
    [
        (("train", "valid", "test"), None, "test"),
        (("train", "valid"), None, "valid"),
        (("train",), None, "train"),
        (("train", "valid", "test"), "train", "train"),
        (("train", "valid", "test"), "validation", "valid"),
    ],
)
def test_a_model_is_judged_by_the_test_part_of_the_data_if_there_is_one(
    tmp_path: Path,
    parts: tuple[str, ...],
    part: Part | None,
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path, *(f"{name}/cat/1.jpg" for name in parts))
    assert chosen(tmp_path, part=part) == [f"{expected}/cat/1.jpg"]
    used = next(line for line in capsys.readouterr().err.splitlines() if "used: " in line)
    assert used.startswith("  used: the 1 ")


def test_data_without_splits_is_used_whole_and_has_no_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "cat/1.jpg", "dog/2.jpg")
    assert chosen(tmp_path) == ["cat/1.jpg", "dog/2.jpg"]
    assert "  used: all 2 images\n" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"has no test images of its own \(splits: none\)") as error:
        chosen(tmp_path, part="test")
    assert error.value.parameter == "part"


def test_a_list_of_a_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "data", "cat/7_1.jpg", "dog/2.jpg")
    samples = choose_samples(data, lists=None, part=None, country="", videos=None)
    (tmp_path / "run").mkdir()
    write_split(tmp_path / "run", Split(train=(), validation=tuple(samples)))
    assert read_split(tmp_path / "run").validation == tuple(samples)
    capsys.readouterr()
    again = choose_samples(data, lists=tmp_path / "run", part=None, country="", videos="none")
    assert [s.video for s in again] == ["", ""]
    said = capsys.readouterr().err.splitlines()
    assert said[1] == f"  layout: the list validation.csv of {tmp_path / 'run'}"
    assert said[2] == "  images: 2 in 2 classes: cat 1; dog 1"


@pytest.mark.parametrize("pattern", ["none", r"(.+)_\d+", 'it\'s "(x)"', "(7)"])
def test_a_pattern_reaches_the_recipe_as_it_was_typed(pattern: str) -> None:
    assert load_recipe("photos", videos_override(pattern)).data.videos == pattern
    assert load_recipe("photos", videos_override(None)).data.videos == "auto"
