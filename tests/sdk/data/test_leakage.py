import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Image
from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.data.leakage import check_leaks, check_twins, check_videos, find_twins
from leansight.sdk.data.samples import Sample, Split
from leansight.sdk.data.splits import split_samples
from leansight.sdk.recipes.schema import SplitRecipe


def scene(seed: int, height: int = 96, width: int = 128) -> Image:
    """A smooth coloured picture with some detail, as a photo is; another one for each seed."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for cells, weight in ((3, 90), (7, 50), (15, 25), (60, 8)):
        waves = rng.normal(size=(cells, cells, 3))
        picture += weight * cv2.resize(waves, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture + 128, 0, 255).astype(np.uint8)


def photo(path: Path, image: Image) -> Sample:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return Sample(path=Path(path.parent.name, path.name), labels=(path.parent.name,))


def jpeg(image: Image, quality: int) -> Image:
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(packed, cv2.IMREAD_COLOR)


def resized(image: Image, factor: float) -> Image:
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def brighter(image: Image, levels: int) -> Image:
    return np.clip(image.astype(int) + levels, 0, 255).astype(np.uint8)


# Twins


def test_files_of_the_same_bytes_are_twins(tmp_path: Path) -> None:
    samples = [photo(tmp_path / f"a/{n}.png", scene(n)) for n in range(3)]
    for name in ("b/9.png", "c/8.png"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(tmp_path / "a/1.png", tmp_path / name)
        samples.append(Sample(path=Path(name), labels=(name[0],)))
    assert find_twins(tmp_path, samples) == [(1, 3, 4)]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: jpeg(image, 75),
        lambda image: jpeg(image, 50),
        lambda image: resized(image, 0.5),
        lambda image: jpeg(resized(image, 0.5), 75),
        lambda image: cv2.resize(image, (128, 128)),
        lambda image: brighter(image, 3),
        lambda image: brighter(image, -3),
        lambda image: brighter(image, 3) // 2 * 2,
    ],
    ids=["jpeg", "bad jpeg", "half", "half jpeg", "stretched", "brighter", "darker", "coarser"],
)
def test_a_copy_that_looks_the_same_is_a_twin(
    tmp_path: Path, change: Callable[[Image], Image]
) -> None:
    samples = [photo(tmp_path / f"a/{n}.png", scene(n)) for n in range(20)]
    samples += [photo(tmp_path / f"b/{n}.png", change(scene(n))) for n in range(20)]
    assert find_twins(tmp_path, samples) == [(n, 20 + n) for n in range(20)]


def test_other_pictures_are_no_twins(tmp_path: Path) -> None:
    others = [scene(0)[:, ::-1], scene(0)[20:, 20:], 255 - scene(0), np.rot90(scene(0))]
    pictures = [scene(n) for n in range(40)] + [np.ascontiguousarray(o) for o in others]
    samples = [photo(tmp_path / f"a/{n:02}.png", p) for n, p in enumerate(pictures)]
    assert find_twins(tmp_path, samples) == []


def test_flat_pictures_are_twins_only_byte_by_byte(tmp_path: Path) -> None:
    levels = (0, 0, 1, 128, 255)
    pictures = [np.full((20, 20, 3), level, np.uint8) for level in levels]
    pictures += [scene(seed) for seed in range(len(levels))]
    samples = [photo(tmp_path / f"a/{n}.png", p) for n, p in enumerate(pictures)]
    assert find_twins(tmp_path, samples) == [(0, 1)]


def test_a_folder_of_mostly_flat_pictures_is_refused(tmp_path: Path) -> None:
    pictures = [*(np.full((20, 20, 3), 90 * n, np.uint8) for n in range(3)), scene(0), scene(1)]
    samples = [photo(tmp_path / f"a/{n}.png", p) for n, p in enumerate(pictures)]
    with pytest.raises(DataError, match=r"3 of 5 images are one flat colour each: a/0\.png; a/1"):
        find_twins(tmp_path, samples)
    assert find_twins(tmp_path, samples[1:]) == []


def test_twins_of_twins_are_twins(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 12, (96, 128, 3))
    steps = [np.clip(scene(0) + n * resized(noise, 1), 0, 255).astype(np.uint8) for n in range(3)]
    far = [scene(1), scene(2)]
    samples = [photo(tmp_path / f"a/{n}.png", p) for n, p in enumerate([*steps, *far])]
    assert find_twins(tmp_path, samples) == [(0, 1, 2)]


def test_regions_of_one_picture_are_twins(tmp_path: Path) -> None:
    """Two signs on one photo: its light and its camera are on both."""
    whole = photo(tmp_path / "a/0.png", scene(0))
    boxes = [(0, 0, 40, 40), (60, 50, 100, 90)]
    samples = [Sample(path=whole.path, labels=("a",), box=box) for box in boxes]
    assert find_twins(tmp_path, samples) == [(0, 1)]


def test_a_thousand_frames_of_one_scene_are_one_group(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    still = scene(0, 24, 24)
    frames = [brighter(still, int(rng.integers(-3, 4))) for _ in range(1000)]
    samples = [photo(tmp_path / f"a/{n:04}.bmp", frame) for n, frame in enumerate(frames)]
    assert find_twins(tmp_path, samples) == [tuple(range(1000))]


def test_one_image_or_none_has_no_twin(tmp_path: Path) -> None:
    assert find_twins(tmp_path, []) == []
    assert find_twins(tmp_path, [photo(tmp_path / "a/0.png", scene(0))]) == []


def test_unreadable_images_cannot_be_compared(tmp_path: Path) -> None:
    samples = [photo(tmp_path / f"a/{n}.png", scene(n)) for n in range(2)]
    (tmp_path / "a/1.png").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"^1 of 2 images .*a/1\.png is not an image.*leave them out$"
    ):
        find_twins(tmp_path, samples)


# Leaks


def test_a_clean_split_has_no_leak(tmp_path: Path) -> None:
    samples = [
        photo(tmp_path / f"{label}/{n}.png", scene(n + 9 * (label == "b")))
        for label in "ab"
        for n in range(9)
    ]
    check_leaks(tmp_path, split_samples(samples, SplitRecipe(test=0.2)))


def test_twins_on_two_sides_are_named(tmp_path: Path) -> None:
    train = [photo(tmp_path / f"a/{n}.png", scene(n)) for n in range(6)]
    validation = [photo(tmp_path / f"b/{n}.jpg", scene(n)) for n in range(3)]
    test = [photo(tmp_path / f"c/{n}.png", resized(scene(n), 0.5)) for n in (4, 5)]
    split = Split(train=tuple(train), validation=tuple(validation), test=tuple(test))
    with pytest.raises(DataError) as error:
        check_leaks(tmp_path, split)
    assert str(error.value) == (
        "the same or nearly the same image is on two sides of the split: "
        "a/0.png (training) and b/0.jpg (validation); a/1.png (training) and b/1.jpg (validation); "
        "a/2.png (training) and b/2.jpg (validation) (and 2 more): "
        "keep them on one side, or leave one of them out"
    )


def test_twins_on_one_side_are_no_leak_whatever_their_labels(tmp_path: Path) -> None:
    train = [photo(tmp_path / f"{label}/0.png", scene(0)) for label in "ab"]
    held_out = [photo(tmp_path / f"{label}/1.png", scene(1)) for label in "ab"]
    check_leaks(tmp_path, Split(train=tuple(train), validation=tuple(held_out)))


def test_twins_are_kept_on_one_side_by_the_split(tmp_path: Path) -> None:
    samples = [
        photo(tmp_path / f"{label}/{n}{kind}", scene(n + 9 * (label == "b")))
        for label in "ab"
        for n in range(9)
        for kind in (".png", ".jpg")
    ]
    with pytest.raises(DataError, match="nearly the same image"):
        check_leaks(tmp_path, split_samples(samples, SplitRecipe()))
    split = split_samples(samples, SplitRecipe(), twins=find_twins(tmp_path, samples))
    check_leaks(tmp_path, split)


def test_the_nearest_names_of_a_group_are_named() -> None:
    burst = [Sample(path=Path(f"{n}.png"), labels=("a",)) for n in range(9)]
    split = Split(train=tuple(burst[:7]), validation=tuple(burst[7:]))
    with pytest.raises(DataError, match=r"6\.png \(training\) and 7\.png \(validation\): keep"):
        check_twins(split, [burst])


def video(number: int, frame: int) -> Sample:
    return Sample(path=Path(f"a/{number}_{frame}.png"), labels=("a",), video=f"a/{number}")


def test_a_video_on_two_sides_is_named() -> None:
    split = Split(train=(video(1, 0), video(2, 0)), validation=(video(3, 0),), test=(video(1, 1),))
    named = r"^the same video is on two sides of the split: a/1_0\.png \(training\) and a/1_1\.png"
    with pytest.raises(DataError, match=rf"{named} \(test\): keep all frames"):
        check_videos(split)
    check_videos(split, by="image")


def test_a_file_on_two_sides_is_a_leak_however_it_is_split() -> None:
    one = Sample(path=Path("a/b.png"), labels=("a",))
    with pytest.raises(DataError, match=r"a/b\.png \(training\) and a/b\.png \(validation\)"):
        check_videos(Split(train=(one,), validation=(one,)), by="image")


# Real images


@pytest.fixture(scope="module")
def real() -> Path:
    if "LEANSIGHT_DATA" not in os.environ:
        pytest.skip("set LEANSIGHT_DATA to a folder with signs/, flowers/ and weather/")
    return Path(os.environ["LEANSIGHT_DATA"])


@pytest.mark.slow
def test_signs_of_different_videos_and_countries_are_no_twins(real: Path) -> None:
    samples = find_samples(real / "signs")
    start = time.process_time()
    twins = find_twins(real / "signs", samples)
    assert time.process_time() - start < 60
    assert len(twins) > 50
    assert not [g for g in twins if len({samples[i].video for i in g}) > 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pair", "least", "most"),
    [
        (
            "flowers",
            ("tulip/7166550328_de0d73cfa9.jpg", "tulip/7166550328_de0d73cfa9_n.jpg"),
            5,
            20,
        ),
        ("weather", ("sunrise/sunrise14.jpg", "sunrise/sunrise60.jpg"), 30, 60),
    ],
)
def test_photos_that_were_collected_twice_are_found(
    real: Path, name: str, pair: tuple[str, str], least: int, most: int
) -> None:
    samples = find_samples(real / name)
    twins = [{str(samples[i].path) for i in group} for group in find_twins(real / name, samples)]
    assert set(pair) in twins
    assert least <= len(twins) <= most
