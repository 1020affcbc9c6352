import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leansight.runtime.errors import DataError
from leansight.sdk.commands.cli import leansight
from leansight.sdk.data.samples import Sample
from leansight.sdk.data.statistics import (
    ClassCount,
    Statistics,
    count_classes,
    describe,
    draw,
    measure,
)

SIZES = ((20, 30), (64, 10), (20, 40), (8, 8), (50, 30), (9, 30))


def write(path: Path, height: int, width: int, *, shade: int = 120) -> NDArray[np.uint8]:
    """Write a noisy PNG in another colour each time; return it as RGB."""
    noise = np.random.default_rng(height * width + shade).integers(-40, 40, (height, width, 3))
    rgb = np.clip(noise + np.array([shade, shade // 2, 255 - shade]), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1])
    return rgb


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images of two classes; of the first class four are frames of two videos."""
    root = tmp_path / "photos"
    names = ("a/00001_00000", "a/00001_00001", "a/00002_00000", "a/00002_00001", "b/x", "b/y")
    for number, (name, size) in enumerate(zip(names, SIZES, strict=True)):
        write(root / f"{name}.png", *size, shade=10 + 45 * number)
    return root


def stats(*arguments: object) -> Result:
    result = CliRunner().invoke(leansight, ["data", "stats", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def read_rgb(path: Path) -> NDArray[np.float64]:
    return cv2.imread(str(path))[..., ::-1].astype(float)


# Numbers


def test_pixels_are_numpys_with_every_image_weighing_the_same(photos: Path) -> None:
    found = json.loads(stats(photos, "--json").stdout)
    images = [read_rgb(path) for path in sorted(photos.rglob("*.png"))]
    means = np.mean([image.mean((0, 1)) for image in images], 0)
    squares = np.mean([(image**2).mean((0, 1)) for image in images], 0)
    assert found["mean"] == pytest.approx(means)
    assert found["deviation"] == pytest.approx(np.sqrt(squares - means**2))
    assert found["mean_of_1"] == pytest.approx(means / 255)
    assert found["deviation_of_1"] == pytest.approx(np.sqrt(squares - means**2) / 255)
    grays = np.array([(image @ [0.299, 0.587, 0.114]).mean() for image in images])
    assert found["exposure"]["mean"] == pytest.approx(grays.mean(), abs=0.2)
    assert found["exposure"]["deviation"] == pytest.approx(grays.std(), abs=0.2)
    assert sum(found["exposure"]["histogram"]) == 6
    assert len(found["exposure"]["histogram"]) == 32


def test_sizes_are_width_and_height(photos: Path) -> None:
    found = json.loads(stats(photos, "--json").stdout)
    assert found["width"] == {"min": 8, "max": 40, "mean": pytest.approx(148 / 6), "mode": 30}
    assert found["height"] == {"min": 8, "max": 64, "mean": pytest.approx(171 / 6), "mode": 20}


def test_frames_of_a_video_count_as_one_video(photos: Path) -> None:
    found = json.loads(stats(photos, "--json").stdout)
    assert (found["images"], found["videos"]) == (6, 4)
    assert found["classes"] == [
        {"label": "a", "images": 4, "videos": 2, "share": pytest.approx(4 / 6)},
        {"label": "b", "images": 2, "videos": 2, "share": pytest.approx(2 / 6)},
    ]


@pytest.mark.parametrize(("shade", "dark", "bright"), [(20, 1, 0), (128, 0, 0), (235, 0, 1)])
def test_badly_exposed_images_are_counted(
    tmp_path: Path, shade: int, dark: int, bright: int
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        checks = np.full((10, 10, 3), shade, np.uint8)
        checks[::2, ord(name) % 2 :: 2] -= 4
        checks[1::2, ord(name) % 2 :: 2] += 4
        assert cv2.imwrite(str(tmp_path / name / "0.png"), checks)
    exposure = json.loads(stats(tmp_path, "--json").stdout)["exposure"]
    assert (exposure["dark_share"], exposure["bright_share"]) == (dark, bright)
    assert exposure["histogram"][shade // 8] == 2


labels = st.sampled_from("abcd")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sets(labels, max_size=4), st.sampled_from(["", "v", "w"])),
        min_size=1,
        max_size=20,
    )
)
def test_counts_of_many_labels(drawn: list[tuple[set[str], str]]) -> None:
    samples = [
        Sample(path=Path(f"{n}.png"), labels=tuple(sorted(names)), video=video)
        for n, (names, video) in enumerate(drawn)
    ]
    counts = {count.label: count for count in count_classes(samples)}
    assert set(counts) == {label for names, _ in drawn for label in names}
    assert list(counts) == sorted(counts)
    for label, count in counts.items():
        videos = [video for names, video in drawn if label in names]
        assert count.images == len(videos)
        assert count.share == pytest.approx(len(videos) / len(drawn))
        assert count.videos == videos.count("") + ("v" in videos) + ("w" in videos)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1))
def test_the_description_of_sizes(values: list[int]) -> None:
    found = describe(np.array(values))
    assert (found["min"], found["max"]) == (min(values), max(values))
    assert found["mean"] == pytest.approx(sum(values) / len(values))
    assert found["mode"] == max(sorted(set(values)), key=values.count)


def test_regions_are_measured_instead_of_whole_images(photos: Path) -> None:
    whole = Sample(path=Path("b/x.png"), labels=("b",))
    part = Sample(path=Path("b/x.png"), labels=("b",), box=(3, 5, 13, 25))
    found = measure(photos, [whole, part])
    assert found.widths.tolist() == [30, 10]
    assert found.heights.tolist() == [50, 20]
    image = read_rgb(photos / "b/x.png")
    expected = (image.mean((0, 1)) + image[5:25, 3:13].mean((0, 1))) / 2
    assert found.mean == pytest.approx(expected)


# The command


def test_the_table_for_people(photos: Path) -> None:
    lines = stats(photos).stdout.splitlines()
    assert lines[0].split() == ["class", "images", "videos", "share"]
    assert lines[1].split() == ["a", "4", "2", "66.7%"]
    assert lines[3].split() == ["all", "6", "4"]
    assert ["width", "8", "40", "24.7", "30"] in [line.split() for line in lines]
    assert lines[-1].startswith("exposure: mean gray level ")


def test_countries_are_counted(photos: Path) -> None:
    root = photos.parent / "countries"
    for country in ("north", "south"):
        for label in ("a", "b"):
            write(root / country / label / "1.png", 9, 9, shade=ord(country[0]) + ord(label))
    assert json.loads(stats(root, "--json").stdout)["countries"] == {"north": 2, "south": 2}
    assert "north: 2 images" in stats(root).stdout


def test_images_of_any_number_of_labels(photos: Path) -> None:
    listing = "path,labels\na/00001_00000.png,sea|tree\nb/x.png,tree\nb/y.png,\n"
    (photos / "labels.csv").write_text(listing)
    found = json.loads(stats(photos, "--layout", "csv", "--json").stdout)
    assert [(c["label"], c["images"]) for c in found["classes"]] == [("sea", 1), ("tree", 2)]
    assert found["unlabelled"] == 1
    assert "images without a label: 1" in stats(photos, "--layout", "csv").stdout


def test_unreadable_images_are_listed_and_left_out(photos: Path) -> None:
    (photos / "b" / "broken.png").write_bytes(b"no image")
    result = stats(photos, "--json")
    found = json.loads(result.stdout)
    assert found["images"] == 6
    assert len(found["unreadable"]) == 1
    assert "broken.png is not an image that OpenCV can read" in result.stderr


def test_a_data_set_without_a_readable_image(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of 2 images can be read: .*a.0\.png is not an"):
        stats(tmp_path)


def test_a_picture_is_named_by_its_kind(photos: Path) -> None:
    with pytest.raises(DataError, match=r"--out stats\.jpg: name a \.png, \.svg, \.pdf file"):
        stats(photos, "--out", "stats.jpg")


# The picture


def made_up(classes: int, *, videos: bool, largest: int = 600) -> Statistics:
    rng = np.random.default_rng(classes)
    counts = [int(n) for n in rng.integers(30, 900, classes)]
    return Statistics(
        classes=tuple(
            ClassCount(label=f"$label_{n}^", images=c, videos=c // 30 if videos else c, share=0.1)
            for n, c in enumerate(counts)
        ),
        images=sum(counts),
        videos=sum(counts) // 30 if videos else sum(counts),
        unlabelled=classes % 2,
        countries={},
        widths=rng.integers(30, largest, sum(counts)),
        heights=rng.integers(30, largest, sum(counts)),
        exposures=rng.uniform(0, 255, sum(counts)),
        mean=np.full(3, 100.0),
        deviation=np.full(3, 50.0),
        unreadable=(),
    )


@pytest.mark.parametrize("classes", [2, 5, 43, 150])
@pytest.mark.parametrize("videos", [False, True])
def test_the_picture_grows_with_the_classes(tmp_path: Path, classes: int, *, videos: bool) -> None:
    out = tmp_path / "stats.png"
    draw(made_up(classes, videos=videos, largest=31 + classes * 5), out, title="a $ and _ name")
    height, width, _ = cv2.imread(str(out)).shape
    assert width == 1430
    assert 700 <= height <= 1400
    assert (height > 1000) == (classes >= 43)


def test_the_picture_shows_names_and_counts(tmp_path: Path) -> None:
    found = made_up(3, videos=True)
    draw(found, tmp_path / "stats.svg", title="mine")
    text = (tmp_path / "stats.svg").read_text()
    # matplotlib writes texts as outlines, each after a comment that says it.
    for each in found.classes:
        assert f"<!-- {each.images} -->" in text
        assert f"<!-- {each.videos} -->" in text
    assert "<!-- Videos of each class -->" in text
    assert "100.0 ± 50.0" in text


def test_the_command_draws_the_picture(photos: Path, tmp_path: Path) -> None:
    stats(photos, "--out", tmp_path / "stats.png")
    assert cv2.imread(str(tmp_path / "stats.png")) is not None


@pytest.mark.skipif("LEANSIGHT_DATA" not in os.environ, reason="LEANSIGHT_DATA names no folder")
def test_german_signs() -> None:
    root = Path(os.environ["LEANSIGHT_DATA"]) / "signs" / "germany" / "stop"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    found = json.loads(stats(root.parent, "--json").stdout)
    assert len(found["classes"]) == 21
    assert found["images"] == sum(c["images"] for c in found["classes"])
    assert all(c["images"] == 30 * c["videos"] for c in found["classes"] if c["label"] == "stop")
