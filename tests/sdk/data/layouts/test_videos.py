from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.data.layouts.videos import VideoNames
from leansight.sdk.recipes.schema import DataRecipe


@pytest.mark.parametrize(
    "name",
    [
        "20240131_143022",  # Android
        "20240131_143022123",  # Pixel
        "20240131_0001",
        "31012024_143022",
        "240131_143022",
        "20240131143022_1",
        "1706711422_1",  # seconds since 1970
        "1706711422123_2",
        "IMG_0001",
        "photo",
    ],
)
def test_a_name_that_is_a_date_or_a_time_is_no_video(name: str) -> None:
    assert VideoNames().of(Path("cat", f"{name}.jpg")) == ""


@pytest.mark.parametrize(
    "name", ["01165_00001", "20241331_00001", "240131_00001", "120115_1", "7_3", "18990101_12"]
)
def test_other_pairs_of_numbers_are_frames(name: str) -> None:
    assert VideoNames().of(Path("cat", f"{name}.jpg")) == f"cat/{name.partition('_')[0]}"


@pytest.mark.parametrize(
    ("pattern", "name", "video"),
    [
        (r"(.+)_frame\d+", "dashcam-7_frame12", "dashcam-7"),
        (r"\d+_(?P<video>\w+)", "12_lake", "lake"),
        (r"(.+)_frame\d+", "something else", ""),
        ("none", "01165_00001", ""),
    ],
)
def test_a_pattern_says_what_the_video_is(pattern: str, name: str, video: str) -> None:
    names = VideoNames(pattern=pattern)
    assert {names.of(Path(folder, f"{name}.jpg")) for folder in ("cat", "dog")} == {video}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "'\\(' is no regular expression: missing"), (".+", "has no group in parentheses")],
)
def test_a_pattern_that_cannot_tell_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        VideoNames(pattern=pattern)
    assert caught.value.parameter == "videos"


def test_splits_do_not_hide_that_two_frames_are_of_one_video(tmp_path: Path) -> None:
    for name in ("train/cat/00001_00001.jpg", "test/cat/00001_00002.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    assert {s.video for s in find_samples(tmp_path)} == {"cat/00001"}
    assert {s.video for s in find_samples(tmp_path, DataRecipe(videos="none"))} == {""}


def test_a_pattern_holds_for_tables_too(tmp_path: Path) -> None:
    for name in ("a_1.jpg", "a_2.jpg"):
        (tmp_path / name).write_text(name)
    (tmp_path / "labels.csv").write_text("path,label,video\na_1.jpg,x,7\na_2.jpg,x,8\n")
    assert [s.video for s in find_samples(tmp_path)] == ["7", "8"]
    found = find_samples(tmp_path, DataRecipe(videos=r"(.)_\d"))
    assert [s.video for s in found] == ["a", "a"]
