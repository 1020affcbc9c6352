from pathlib import Path

import cv2
import numpy as np
import pytest

from leansight.sdk.data.dataset import describe, show
from leansight.sdk.data.layouts.detect import find_data


def picture(path: Path, seed: int, channels: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, channels), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    names = ("train/cat/00001_00001", "train/cat/00001_00002", "train/dog/x", "test/cat/y")
    for seed, name in enumerate(names):
        picture(root / f"{name}.png", seed, channels=4 if name.endswith("y") else 3)
    (root / "train/cat/notes.txt").write_text("no image")
    (root / "train/.DS_Store").write_text("hidden")
    return root


def test_a_block_says_what_a_folder_was_taken_for(photos: Path) -> None:
    assert describe(find_data(photos)) == [
        "layout: folders, because images lie in folders (SPLIT/CLASS/IMAGE)",
        "images: 4 in 2 classes: cat 3; dog 1",
        "classes of one image: dog",
        "countries: none",
        "splits: train 3; test 1",
        "videos: 1 (guessed from names such as 00001_00001.png; if wrong: videos=none)",
        "images with transparent pixels, shown on white: 1 (test/cat/y.png)",
        "left out: files that are no images: 1 (train/cat/notes.txt)",
        "left out: hidden or system files (such as .DS_Store, __MACOSX, Thumbs.db): 1",
    ]


def test_a_block_of_countries_and_of_nothing_left_out(tmp_path: Path) -> None:
    for seed, name in enumerate(("north/a/1", "north/b/1", "south/a/1", "south/a/2")):
        picture(tmp_path / f"{name}.png", seed)
    assert describe(find_data(tmp_path)) == [
        "layout: folders, because images lie in folders (COUNTRY/CLASS/IMAGE)",
        "images: 4 in 2 classes: a 3; b 1",
        "classes of one image: b",
        "countries: north 2; south 2",
        "splits: none given, they are drawn",
        "videos: none recognised",
        "left out: nothing",
    ]


def test_a_block_goes_to_standard_error_line_by_line(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(find_data(photos))
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines()[0] == f"{photos}:"
    assert "  splits: train 3; test 1" in written.err.splitlines()


def test_what_cannot_be_printed_is_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("a/\x1b[31m.png", "b/\udce9.png", "b/x\ny.txt")):
        picture(tmp_path / "dir" / f"{seed}.png", seed)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / "dir" / f"{seed}.png").rename(tmp_path / name)
    (tmp_path / "b/x\ny.txt").write_text("no image")
    show(find_data(tmp_path))
    said = capsys.readouterr().err
    assert r"files that are no images: 1 (b/x\ny.txt)" in said
    assert "\x1b" not in said
