import re
from collections import Counter
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Clahe, Preprocessing
from leansight.sdk.data import (
    Sample,
    Split,
    SplitBy,
    find_labels,
    find_samples,
    load_labelled,
    read_samples,
    split_samples,
    write_samples,
)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def sample(path: str) -> Sample:
    *country, label, _ = path.split("/")
    return Sample(path=Path(path), label=label, country="".join(country))


# Layouts


def test_classes_are_the_folders_of_the_images(tmp_path: Path) -> None:
    touch(tmp_path, "stop/b.png", "stop/a.JPG", "go/c.ppm", "go/notes.txt", "stop/Thumbs.db")
    assert find_samples(tmp_path) == [
        Sample(path=Path("go/c.ppm"), label="go"),
        Sample(path=Path("stop/a.JPG"), label="stop"),
        Sample(path=Path("stop/b.png"), label="stop"),
    ]


def test_countries_are_the_folders_of_the_classes(tmp_path: Path) -> None:
    touch(tmp_path, "south/stop/a.png", "north/stop/a.png", "north/go/b.png")
    found = find_samples(tmp_path)
    assert [(s.country, s.label, s.path.name) for s in found] == [
        ("north", "go", "b.png"),
        ("north", "stop", "a.png"),
        ("south", "stop", "a.png"),
    ]
    assert find_labels(found) == ("go", "stop")


def test_one_layout_at_a_time(tmp_path: Path) -> None:
    touch(tmp_path, "stop/a.png", "north/stop/b.png")
    with pytest.raises(DataError, match=r"mixes CLASS/IMAGE and COUNTRY/CLASS/IMAGE"):
        find_samples(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "2024/north/stop/a.png"])
def test_other_depths_are_named(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "stop/a.png", name)
    named = re.escape(f"{tmp_path / name} is neither {tmp_path}/CLASS/IMAGE nor")
    with pytest.raises(DataError, match=named):
        find_samples(tmp_path)


def test_a_folder_without_images_or_no_folder_at_all(tmp_path: Path) -> None:
    touch(tmp_path, "stop/notes.txt")
    with pytest.raises(DataError, match=r"holds no image \(.*\.png"):
        find_samples(tmp_path)
    with pytest.raises(DataError, match=r"nowhere is not a folder of labelled images"):
        find_samples(tmp_path / "nowhere")


def test_one_class_is_no_classifier() -> None:
    with pytest.raises(DataError, match=r"one class only \(stop\): put the images of each class"):
        find_labels([sample("stop/a.png"), sample("stop/b.png")])


# Videos


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("stop/01165_00001.png", "stop/01165_00002.png", True),
        ("stop/01165_00001.png", "stop/01165_00001.jpg", True),
        ("stop/01165_00001.png", "stop/01166_00001.png", False),
        ("stop/01165_00001.png", "go/01165_00002.png", False),
        ("north/stop/01165_00001.png", "south/stop/01165_00002.png", False),
        ("stop/IMG_0001.jpg", "stop/IMG_0002.jpg", False),
        ("stop/photo.jpg", "stop/photo.png", False),
        ("stop/01165.png", "stop/01165_00001.png", False),
        ("stop/2024_06_01.png", "stop/2024_06_02.png", False),
    ],
)
def test_frames_of_one_video(first: str, second: str, same: bool) -> None:  # noqa: FBT001 -- an expected value
    assert (sample(first).video == sample(second).video) == same


# Splits


@st.composite
def data_sets(draw: st.DrawFn) -> list[Sample]:
    """2 to 5 classes in 1 to 3 countries, 2 to 9 videos of 1 to 4 frames for each of them."""
    countries = draw(st.sampled_from([("",), ("north",), ("north", "south", "west")]))
    classes = draw(st.integers(2, 5))
    samples = []
    for country in countries:
        for label in range(classes):
            for video in range(draw(st.integers(2, 9))):
                for frame in range(draw(st.integers(1, 4))):
                    path = Path(country, f"class{label}", f"{video:05}_{frame:05}.png")
                    samples.append(Sample(path=path, label=f"class{label}", country=country))
    return samples


shares = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32 - 1)
ways = st.sampled_from(get_args(SplitBy))


def labels(samples: tuple[Sample, ...] | list[Sample]) -> set[str]:
    return {s.label for s in samples}


def videos(samples: tuple[Sample, ...]) -> set[str]:
    # Found without `Sample.video`: the names are those that data_sets gives.
    return {str(s.path).rpartition("_")[0] for s in samples}


@settings(deadline=None)  # a busy machine is no failure
@given(data=data_sets(), share=shares, seed=seeds)
def test_no_video_is_on_both_sides(data: list[Sample], share: float, seed: int) -> None:
    split = split_samples(data, by="video", validation=share, seed=seed)
    assert not videos(split.train) & videos(split.validation)


@settings(deadline=None)
@given(data=data_sets(), by=ways, share=shares, seed=seeds)
def test_every_class_is_on_both_sides_and_every_image_on_one(
    data: list[Sample], by: SplitBy, share: float, seed: int
) -> None:
    if by == "image":
        data = [*data, *(sample(f"{s.country}/{s.label}/more.png") for s in data[:1])]
        counts = Counter(s.label for s in data)
        data = [s for s in data if counts[s.label] > 1]
    split = split_samples(data, by=by, validation=share, seed=seed)
    assert labels(split.train) == labels(split.validation) == labels(data)
    used = Counter((*split.train, *split.validation, *split.test))
    assert used == Counter(data)
    assert not split.test


@settings(deadline=None)
@given(data=data_sets(), by=ways, share=shares, seed=seeds)
def test_a_seed_always_gives_the_same_split(
    data: list[Sample], by: SplitBy, share: float, seed: int
) -> None:
    first, again = (split_samples(data, by=by, validation=share, seed=seed) for _ in range(2))
    assert first == again


@settings(deadline=None)
@given(data=data_sets(), seed=seeds)
def test_the_test_country_is_nowhere_else(data: list[Sample], seed: int) -> None:
    data = [s for s in data if s.country != "north"] + [
        Sample(path=Path(f"{c}/{s.path.name}"), label=s.label, country=c)
        for s in data
        for c in ("north", "east")
    ]
    data = [
        Sample(path=Path(s.country, s.label, s.path.name), label=s.label, country=s.country)
        for s in dict.fromkeys(data)
    ]
    split = split_samples(data, by="image", validation=0.3, seed=seed, test_on="north")
    assert {s.country for s in split.test} == {"north"}
    assert "north" not in {s.country for s in (*split.train, *split.validation)}
    assert Counter((*split.train, *split.validation, *split.test)) == Counter(data)


def test_the_share_is_of_each_classs_videos() -> None:
    counts = {"few": 2, "ten": 10, "many": 40}
    data = [
        sample(f"{label}/{v:05}_{f:05}.png")
        for label, n in counts.items()
        for v in range(n)
        for f in range(3)
    ]
    split = split_samples(data, by="video", validation=0.2, seed=0)
    held_out = Counter(name.split("/")[0] for name in videos(split.validation))
    assert held_out == {"few": 1, "ten": 2, "many": 8}
    # whole videos: three frames of each
    assert len(split.validation) == 3 * 11


def test_seeds_differ() -> None:
    data = [sample(f"{label}/{v:05}_0.png") for label in ("a", "b") for v in range(30)]
    splits = {split_samples(data, by="video", validation=0.5, seed=seed) for seed in range(5)}
    assert len(splits) == 5


def test_a_class_with_one_video_cannot_be_split_by_video() -> None:
    data = [sample(f"stop/{v:05}_00000.png") for v in range(3)]
    data += [sample(f"go/00007_{f:05}.png") for f in range(3)]
    with pytest.raises(DataError, match=r"class go has one video.*--set split\.by=image"):
        split_samples(data, by="video", validation=0.2, seed=0)
    split = split_samples(data, by="image", validation=0.2, seed=0)
    assert labels(split.validation) == {"go", "stop"}


def test_a_class_with_one_image_cannot_be_split_at_all() -> None:
    data = [sample("stop/a.png"), sample("stop/b.png"), sample("go/a.png")]
    with pytest.raises(DataError, match=r"class go has one image: two or more are needed[^()]*$"):
        split_samples(data, by="image", validation=0.2, seed=0)


@pytest.mark.parametrize(
    ("paths", "what"),
    [(("north/stop/a.png", "south/stop/a.png"), "north, south"), (("stop/a.png",), "no countries")],
)
def test_an_unknown_test_country_names_the_known_ones(paths: tuple[str, ...], what: str) -> None:
    data = [sample(path) for path in paths]
    with pytest.raises(DataError, match=rf"--test-on west: the data has {what}$"):
        split_samples(data, by="video", validation=0.2, seed=0, test_on="west")


def test_a_class_that_only_the_test_country_has_cannot_be_learnt() -> None:
    data = [sample(f"{c}/stop/{v}.png") for c in ("north", "south") for v in range(3)]
    data += [sample(f"south/bend/{v}.png") for v in range(3)]
    with pytest.raises(DataError, match=r"only south has bend"):
        split_samples(data, by="video", validation=0.2, seed=0, test_on="south")


def test_the_only_country_cannot_be_the_test() -> None:
    data = [sample(f"north/{label}/{v}.png") for label in ("a", "b") for v in range(3)]
    with pytest.raises(DataError, match=r"only north has a, b: no image is left to learn from"):
        split_samples(data, by="video", validation=0.2, seed=0, test_on="north")


# Pixels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five noise pictures of different sizes in two classes."""
    rng = np.random.default_rng(0)
    for index, name in enumerate(("a/0.png", "a/1.png", "b/0.png", "b/1.png", "b/2.png")):
        touch(tmp_path, name)
        picture = rng.integers(0, 256, (20 + index, 30 - index, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / name), picture)
    return tmp_path


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(size=16), Preprocessing(size=16, colour="gray", clahe=Clahe(), fit="letterbox")],
)
def test_pixels_are_those_of_each_file_in_the_order_given(
    photos: Path, preprocessing: Preprocessing
) -> None:
    samples = find_samples(photos)[::-1]
    loaded = load_labelled(photos, samples, ("a", "b"), preprocessing, what="reading")
    expected = [preprocessing(cv2.imread(str(photos / s.path)))[0] for s in samples]
    np.testing.assert_array_equal(loaded.pixels, np.stack(expected))
    assert loaded.pixels.dtype == np.uint8
    assert loaded.classes.tolist() == [1, 1, 1, 0, 0]
    assert loaded.classes.dtype == np.int64


def test_unreadable_images_are_named(photos: Path) -> None:
    (photos / "b/1.png").write_bytes(b"no image")
    touch(photos, "a/empty.png")
    with pytest.raises(DataError) as error:
        load_labelled(
            photos, find_samples(photos), ("a", "b"), Preprocessing(size=8), what="reading"
        )
    assert str(error.value).split("; ") == [
        f"{photos / name} is not an image that OpenCV can read"
        for name in ("a/empty.png", "b/1.png")
    ]


def test_only_the_first_five_unreadable_images_are_named(photos: Path) -> None:
    touch(photos, *(f"a/empty{n}.png" for n in range(7)))
    with pytest.raises(DataError, match=r"empty4\.png[^;]*\(and 2 more\)$"):
        load_labelled(
            photos, find_samples(photos), ("a", "b"), Preprocessing(size=8), what="reading"
        )


def test_a_label_that_has_gone_missing_names_nothing_to_read(photos: Path) -> None:
    empty = load_labelled(photos, [], ("a", "b"), Preprocessing(size=8), what="reading")
    assert empty.pixels.shape == (0, 8, 8, 3)
    assert empty.classes.shape == (0,)


# Lists of files

names = st.text(
    st.characters(exclude_characters="/\n\0", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name not in {".", ".."})


@settings(deadline=None)
@given(parts=st.lists(st.tuples(names, names, names), max_size=5), countries=st.booleans())
def test_lists_of_files_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[tuple[str, str, str]],
    countries: bool,  # noqa: FBT001 -- hypothesis passes by name
) -> None:
    samples = [
        Sample(path=Path(c, label, name), label=label, country=c)
        for c, label, name in ((c if countries else "", *rest) for c, *rest in parts)
    ]
    file = tmp_path_factory.mktemp("lists") / "train.txt"
    write_samples(file, samples)
    assert read_samples(file) == samples


def test_lists_hold_names_that_are_no_unicode(tmp_path: Path) -> None:
    samples = [sample(b"caf\xe9/photo.png".decode(errors="surrogateescape"))]
    write_samples(tmp_path / "train.txt", samples)
    assert (tmp_path / "train.txt").read_bytes() == b"caf\xe9/photo.png\n"
    assert read_samples(tmp_path / "train.txt") == samples


def test_a_split_is_compared_by_value() -> None:
    assert Split(train=(sample("a/b.png"),), validation=()) == Split(
        train=(sample("a/b.png"),), validation=()
    )
