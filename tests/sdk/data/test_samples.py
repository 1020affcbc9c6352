from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Clahe, Preprocessing
from leansight.sdk.data.images import load_labelled
from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.data.leakage import find_unreadable
from leansight.sdk.data.lists import read_samples, write_samples
from leansight.sdk.data.samples import Sample, Split
from leansight.sdk.recipes.schema import DataRecipe

TINY = Preprocessing(size=8)


def sample(path: str, *labels: str) -> Sample:
    return Sample(path=Path(path), labels=labels or (path.partition("/")[0],))


# Samples


@pytest.mark.parametrize(("labels", "label"), [((), ""), (("sea",), "sea"), (("sea", "tree"), "")])
def test_only_an_image_with_one_label_has_the_one_label(
    labels: tuple[str, ...], label: str
) -> None:
    assert Sample(path=Path("a.png"), labels=labels).label == label


@pytest.mark.parametrize("box", [(3, 0, 3, 4), (0, 5, 4, 4), (-1, 0, 4, 4)])
def test_a_box_has_an_inside(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"a box is x1 y1 x2 y2 with x1 < x2 and y1 < y2, not"):
        Sample(path=Path("a.png"), labels=("stop",), box=box)


def test_a_split_is_compared_by_value() -> None:
    assert Split(train=(sample("a/b.png"),), validation=()) == Split(
        train=(sample("a/b.png"),), validation=()
    )


# Pixels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five noise pictures of different sizes in two classes."""
    rng = np.random.default_rng(0)
    for index, name in enumerate(("a/0.png", "a/1.png", "b/0.png", "b/1.png", "b/2.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
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


def test_only_the_inside_of_a_box_is_seen(tmp_path: Path) -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[4:12, 5:13] = 255
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    boxed = Sample(path=Path("a.png"), labels=("a",), box=(5, 4, 13, 12))
    loaded = load_labelled(tmp_path, [boxed], ("a", "b"), TINY, what="reading")
    assert loaded.pixels.min() == 255


def test_a_box_outside_its_image_is_named(photos: Path) -> None:
    boxed = Sample(path=Path("a/0.png"), labels=("a",), box=(5, 4, 31, 12))
    with pytest.raises(DataError, match=r"0\.png has 30×20 pixels: its box \(5, 4, 31, 12\) lies"):
        load_labelled(photos, [boxed], ("a", "b"), TINY, what="reading")


def test_many_labels_are_a_row_of_marks_each(photos: Path) -> None:
    samples = [sample("a/0.png", "tree", "sea"), sample("a/1.png", "sea")]
    samples.append(Sample(path=Path("b/0.png"), labels=()))
    loaded = load_labelled(
        photos, samples, ("car", "sea", "tree"), TINY, what="reading", task="multilabel"
    )
    assert loaded.classes.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert loaded.classes.dtype == np.int64


@pytest.mark.parametrize(("labels", "count"), [((), 0), (("a", "b"), 2)])
def test_classification_needs_one_label_each(
    photos: Path, labels: tuple[str, ...], count: int
) -> None:
    odd = Sample(path=Path("a/0.png"), labels=labels)
    with pytest.raises(DataError, match=rf"a/0\.png has {count} labels: .*task=multilabel"):
        load_labelled(photos, [odd], ("a", "b"), TINY, what="reading")


def test_a_label_that_the_run_does_not_know_is_named(photos: Path) -> None:
    with pytest.raises(DataError, match=r"a/0\.png has the label a, which is not of: b, c"):
        load_labelled(photos, [sample("a/0.png")], ("b", "c"), TINY, what="reading")


def test_unreadable_images_are_named_with_the_way_out(photos: Path) -> None:
    (photos / "b/1.png").write_bytes(b"no image")
    (photos / "a/empty.png").touch()
    with pytest.raises(DataError) as error:
        load_labelled(photos, find_samples(photos), ("a", "b"), TINY, what="reading")
    assert str(error.value) == (
        "2 of 6 images cannot be used: "
        f"{photos / 'a/empty.png'} is not an image that OpenCV can read; "
        f"{photos / 'b/1.png'} is not an image that OpenCV can read: "
        "put them right, or leave them out"
    )


def test_only_the_first_five_unreadable_images_are_named(photos: Path) -> None:
    for number in range(7):
        (photos / f"a/empty{number}.png").touch()
    with pytest.raises(DataError, match=r"^7 of 12 .*empty4\.png[^;]*\(and 2 more\)"):
        load_labelled(photos, find_samples(photos), ("a", "b"), TINY, what="reading")


def test_a_folder_with_the_name_of_an_image_cannot_be_opened(photos: Path) -> None:
    (photos / "a/2.png").mkdir()
    with pytest.raises(DataError, match=r"2\.png cannot be opened: Is a directory"):
        load_labelled(photos, [sample("a/2.png")], ("a", "b"), TINY, what="reading")


def test_unreadable_images_are_found(photos: Path) -> None:
    (photos / "b/1.png").write_bytes(b"no image")
    samples = find_samples(photos)
    assert [s.path.as_posix() for s in find_unreadable(photos, samples)] == ["b/1.png"]


def test_no_image_is_no_error(photos: Path) -> None:
    empty = load_labelled(photos, [], ("a", "b"), TINY, what="reading")
    assert empty.pixels.shape == (0, 8, 8, 3)
    assert empty.classes.shape == (0,)


def test_paths_in_a_csv_file_are_relative_to_its_folder(photos: Path) -> None:
    (photos / "list.csv").write_text("path,label\na/0.png,a\nb/0.png,b\n")
    root = photos / "list.csv"
    loaded = load_labelled(root, find_samples(root), ("a", "b"), TINY, what="reading")
    assert loaded.classes.tolist() == [0, 1]


# Lists of files

file_names = st.text(
    # "\udc80" to "\udcff" are the bytes of names that are no UTF-8
    st.one_of(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]),
        st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]),
        st.sampled_from("\n\r\"',;| \ufeff"),
    ),
    min_size=1,
    max_size=20,
).filter(lambda name: name not in {".", ".."})
label_names = st.text(
    st.characters(exclude_characters="|\0", exclude_categories=["Cs"]), min_size=1, max_size=9
)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
boxes = st.tuples(*[st.integers(0, 99)] * 2, *[st.integers(100, 200)] * 2)


@st.composite
def sample_lists(draw: st.DrawFn) -> list[Sample]:
    row = st.builds(
        Sample,
        path=st.lists(file_names, min_size=1, max_size=3).map(lambda parts: Path(*parts)),
        labels=st.lists(label_names, unique=True, max_size=3).map(tuple),
        country=texts,
        video=texts,
        box=st.none() | boxes,
    )
    return draw(st.lists(row, max_size=5))


@settings(deadline=None)  # a busy machine is no failure
@given(samples=sample_lists())
def test_lists_of_files_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]
) -> None:
    file = tmp_path_factory.mktemp("lists") / "train.csv"
    write_samples(file, samples)
    assert read_samples(file) == samples


def test_a_list_is_text_with_a_header(tmp_path: Path) -> None:
    samples = [
        Sample(path=Path("n/sea/1_2.png"), labels=("sea", "tree"), country="n", video="n/sea/1"),
        Sample(path=Path(b"caf\xe9/a,b.png".decode(errors="surrogateescape")), labels=("café",)),
        Sample(path=Path("c.png"), labels=(), box=(1, 2, 30, 40)),
    ]
    write_samples(tmp_path / "train.csv", samples)
    assert (tmp_path / "train.csv").read_bytes().splitlines() == [
        b"path,labels,country,video,box",
        b"n/sea/1_2.png,sea|tree,n,n/sea/1,",
        b'"caf\xe9/a,b.png",' + "café,,,".encode(),
        b"c.png,,,,1 2 30 40",
    ]


def test_a_list_is_a_data_set_of_its_own(photos: Path) -> None:
    labels = ("a;b", "c d")  # our own lists part labels at "|" only
    samples = [
        Sample(path=Path("a/0.png"), labels=labels, country="n", video="7", box=(1, 2, 3, 4)),
        Sample(path=Path("b/0.png"), labels=("c d",)),
    ]
    write_samples(photos / "labels.csv", samples)
    assert find_samples(photos, DataRecipe(layout="csv", regions=True)) == samples


@pytest.mark.parametrize("label", ["", "a|b"])
def test_a_label_that_would_not_come_back_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(DataError, match=r"x\.png: '.*' is no name for a label: .*without \"\|\""):
        write_samples(tmp_path / "train.csv", [Sample(path=Path("x.png"), labels=(label,))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not begin with path,labels,country,video,box"),
        ("a/b.png\n", "does not begin with path,labels,country,video,box"),
        ("path,labels,country,video,box\na.png,a\n", "a row has 2 values"),
        ('path,labels,country,video,box\n"a.png', "unexpected end of data"),
        ("path,labels,country,video,box\na.png,a,,,1 2 3\n", "four whole numbers .* not '1 2 3'"),
        ("path,labels,country,video,box\na.png,a,,,9 2 3 4\n", "x1 < x2"),
    ],
)
def test_a_damaged_list_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(DataError, match=rf"train\.csv is no list of images: .*{message}"):
        read_samples(tmp_path / "train.csv")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.csv does not exist"):
        read_samples(tmp_path / "train.csv")
