import json
import re
from pathlib import Path
from typing import Any

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.data.layouts.detect import find_labels, find_samples
from leansight.sdk.data.samples import Sample
from leansight.sdk.recipes.schema import DataRecipe, Layout

GT_HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
REGIONS = DataRecipe(regions=True)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def sample(path: str, *labels: str, country: str = "", video: str = "") -> Sample:
    return Sample(path=Path(path), labels=labels, country=country, video=video)


# Class folders


def test_classes_are_the_folders_of_the_images(tmp_path: Path) -> None:
    touch(tmp_path, "stop/b.png", "stop/a.JPG", "go/c.ppm", "go/notes.txt", "stop/Thumbs.db")
    assert find_samples(tmp_path) == [
        sample("go/c.ppm", "go"),
        sample("stop/a.JPG", "stop"),
        sample("stop/b.png", "stop"),
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
    named = re.escape(
        f"{tmp_path / name} is neither {tmp_path}/CLASS/IMAGE nor {tmp_path}/COUNTRY/CLASS/IMAGE: "
        "put each image into a folder named after its class"
    )
    with pytest.raises(DataError, match=named):
        find_samples(tmp_path)


def test_a_folder_without_images_or_no_folder_at_all(tmp_path: Path) -> None:
    touch(tmp_path, "stop/notes.txt")
    with pytest.raises(DataError, match=r"holds no image \(left out: files that are no im"):
        find_samples(tmp_path)
    with pytest.raises(DataError, match=r"nowhere is not a folder of labelled images"):
        find_samples(tmp_path / "nowhere")


@pytest.mark.parametrize("layout", ["folders", "gtsrb", "bdd100k"])
def test_a_file_is_no_folder(tmp_path: Path, layout: Layout) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(DataError, match=rf'a\.png is not a folder, which .* = "{layout}" needs'):
        find_samples(tmp_path / "a.png", DataRecipe(layout=layout))


def test_folders_have_no_regions(tmp_path: Path) -> None:
    touch(tmp_path, "stop/a.png")
    with pytest.raises(DataError, match=r"give no regions: set data\.regions=false"):
        find_samples(tmp_path, REGIONS)


def test_one_class_is_no_classifier() -> None:
    with pytest.raises(DataError, match=r"one class only \(stop\): put the images of each class"):
        find_labels([sample("stop/a.png", "stop"), sample("stop/b.png", "stop")])
    with pytest.raises(DataError, match=r"found no class: put the images of each class"):
        find_labels([sample("a.png")])


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
def test_frames_of_one_video(tmp_path: Path, first: str, second: str, same: bool) -> None:  # noqa: FBT001 -- an expected value
    videos = [s.video for s in find_samples(touch(tmp_path, first, second))]
    assert (videos[0] == videos[1] != "") == same


# GTSRB and BelgiumTS


def numbered(root: Path, folder: str, names: dict[str, str]) -> None:
    """Write a class folder with its annotations: file name to region, separated by semicolons."""
    touch(root, *(f"{folder}/{name}" for name in names))
    number = int(Path(folder).name)
    rows = "".join(f"{name};29;30;{region};{number}\n" for name, region in names.items())
    (root / folder / f"GT-{Path(folder).name}.csv").write_text(GT_HEADER + rows)


@pytest.mark.parametrize("layout", ["auto", "gtsrb"])
def test_gtsrb_is_numbered_folders_with_regions(tmp_path: Path, layout: Layout) -> None:
    numbered(tmp_path, "00000", {"00000_00000.ppm": "5;6;24;25", "00001_00000.ppm": "5;5;25;25"})
    numbered(tmp_path, "00014", {"00000_00001.ppm": "5;6;24;25"})
    found = find_samples(tmp_path, DataRecipe(layout=layout, regions=True))
    assert [(s.path.as_posix(), s.label, s.video, s.box) for s in found] == [
        ("00000/00000_00000.ppm", "00000", "00000/00000", (5, 6, 24, 25)),
        ("00000/00001_00000.ppm", "00000", "00000/00001", (5, 5, 25, 25)),
        ("00014/00000_00001.ppm", "00014", "00014/00000", (5, 6, 24, 25)),
    ]
    assert not any(s.box for s in find_samples(tmp_path))


def test_a_test_set_of_gtsrb_has_its_classes_in_its_list(tmp_path: Path) -> None:
    touch(tmp_path, "00000.ppm", "00001.ppm")
    rows = "00000.ppm;53;54;6;5;48;49;16\n00001.ppm;42;45;5;5;36;40;1\n"
    (tmp_path / "GT-final_test.csv").write_text(GT_HEADER + rows)
    assert find_samples(tmp_path) == [sample("00000.ppm", "00016"), sample("00001.ppm", "00001")]


def test_a_sign_that_two_cameras_see_is_one_sign(tmp_path: Path) -> None:
    names = ["00.01153_00000.ppm", "01.01153_00002.ppm", "01153_00001.ppm", "00.01154_00000.ppm"]
    numbered(tmp_path, "00003", dict.fromkeys(names, "1;1;9;9"))
    found = find_samples(tmp_path, DataRecipe(layout="belgiumts"))
    assert [s.video for s in found] == ["00003/01153"] * 3 + ["00003/01154"]


@pytest.mark.parametrize("layout", ["auto", "belgiumts"])
def test_training_and_testing_are_two_data_sets(tmp_path: Path, layout: Layout) -> None:
    for part in ("Training", "Testing"):
        numbered(tmp_path, f"{part}/00003", {"01153_00000.ppm": "1;1;9;9"})
    named = re.escape(f"give {tmp_path / 'Testing'} or {tmp_path / 'Training'}")
    with pytest.raises(DataError, match=named):
        find_samples(tmp_path, DataRecipe(layout=layout))
    (found,) = find_samples(tmp_path / "Training", DataRecipe(layout=layout))
    assert found == sample("00003/01153_00000.ppm", "00003", video="00003/01153")


def test_numbered_folders_need_their_lists(tmp_path: Path) -> None:
    touch(tmp_path, "00000/00000_00000.ppm")
    with pytest.raises(DataError, match=r"holds no NUMBER/GT-NUMBER\.csv$"):
        find_samples(tmp_path, DataRecipe(layout="gtsrb"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Filename;ClassId\n", r"GT-00000\.csv has no column Roi\.X1, Roi\.X2, Roi\.Y1, Roi\.Y2"),
        (GT_HEADER + "a.ppm;9;9;1;1;8;8\n", r"line 2 has 7 values for 8 columns"),
        (GT_HEADER + "a.ppm;9;9;1;1;x;8;0\n", r"line 2: a box is four whole numbers"),
        (GT_HEADER + "a.ppm;9;9;8;1;8;8;0\n", r"line 2: a box is x1 y1 x2 y2 with x1 < x2"),
    ],
)
def test_a_list_of_regions_that_does_not_fit_is_named(
    tmp_path: Path, text: str, message: str
) -> None:
    touch(tmp_path, "00000/a.ppm")
    (tmp_path / "00000/GT-00000.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        find_samples(tmp_path)


# BDD100K


def driving(root: Path, part: str, entries: object) -> None:
    (root / "labels").mkdir(exist_ok=True)
    (root / f"labels/bdd100k_labels_images_{part}.json").write_text(json.dumps(entries))


def entry(name: str, weather: str) -> dict[str, Any]:
    """One image as BDD100K's label files describe it."""
    return {
        "name": name,
        "attributes": {"weather": weather, "scene": "city street", "timeofday": "daytime"},
        "timestamp": 10000,
        "labels": [
            {
                "category": "traffic light",
                "attributes": {"occluded": False, "trafficLightColor": "green"},
                "box2d": {"x1": 1125.9, "y1": 133.1, "x2": 1156.9, "y2": 210.8},
                "id": 0,
            },
            {"category": "lane", "poly2d": [{"vertices": [[1, 2], [3, 4]], "types": "LL"}]},
        ],
    }


@pytest.mark.parametrize("layout", ["auto", "bdd100k"])
def test_the_weather_of_a_drive_is_in_its_label_files(tmp_path: Path, layout: Layout) -> None:
    touch(tmp_path, *(f"images/100k/{n}.jpg" for n in ("train/a", "train/b", "val/c", "test/d")))
    driving(tmp_path, "train", [entry("b.jpg", "partly cloudy"), entry("a.jpg", "foggy")])
    driving(tmp_path, "val", [entry("c.jpg", "foggy")])
    assert find_samples(tmp_path, DataRecipe(layout=layout)) == [
        sample("images/100k/train/b.jpg", "partly cloudy", country="train"),
        sample("images/100k/train/a.jpg", "foggy", country="train"),
        sample("images/100k/val/c.jpg", "foggy", country="val"),
    ]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry("a.jpg", "foggy"), {"name": "b.jpg"}], r"train\.json: entry 2 has no name with"),
        ([{"attributes": {"weather": "foggy"}}], r"entry 1 has no name with an attributes\.weath"),
        ({"images": []}, r"entry 1 has no name"),
        ([], r"holds no image in \*_train\.json or \*_val\.json"),
    ],
)
def test_label_files_without_weather_are_named(
    tmp_path: Path, entries: object, message: str
) -> None:
    touch(tmp_path, "images/100k/train/a.jpg")
    driving(tmp_path, "train", entries)
    with pytest.raises(DataError, match=message):
        find_samples(tmp_path)


def test_a_label_file_that_is_no_json_or_is_there_twice(tmp_path: Path) -> None:
    touch(tmp_path, "images/100k/train/a.jpg", "labels/one_train.json")
    with pytest.raises(DataError, match=r"one_train\.json is not JSON: Expecting value"):
        find_samples(tmp_path)
    touch(tmp_path, "labels/two_train.json")
    with pytest.raises(DataError, match=r"one_train\.json and .*two_train\.json both label"):
        find_samples(tmp_path)


# CSV


def listed(root: Path, text: str, *names: str, file: str = "labels.csv") -> Path:
    touch(root, *names)
    (root / file).write_bytes(text.encode())
    return root


ROWS = [sample("a.png", "stop"), sample("b.png", "go")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,label\na.png,stop\nb.png,go\n", ROWS),
        ("\ufefffilename;label\r\na.png;stop\r\nb.png;go\r\n", ROWS),
        ("Label,Image,camera\nstop,a.png,7\n\n go ,b.png,\n", ROWS),
        (
            "file,labels\na.png,sea|tree\nb.png,\n",
            [sample("a.png", "sea", "tree"), sample("b.png")],
        ),
        (
            'path;labels\na.png;"sea; tree;sea"\nb.png;car\n',
            [sample("a.png", "sea", "tree"), sample("b.png", "car")],
        ),
        (
            "path,sea,Old tree\na.png,1,1\nb.png,0, 0\n",
            [sample("a.png", "sea", "Old tree"), sample("b.png")],
        ),
        (
            "path,label,country,video\na.png,stop,north,7\nb.png,go,,\n",
            [sample("a.png", "stop", country="north", video="7"), ROWS[1]],
        ),
    ],
    ids=["label", "spreadsheet", "other columns", "labels", "semicolons", "marks", "country"],
)
def test_a_csv_file_has_one_row_an_image(tmp_path: Path, text: str, expected: list[Sample]) -> None:
    listed(tmp_path, text, "a.png", "b.png", "unlisted.png")
    assert find_samples(tmp_path) == expected
    assert find_samples(tmp_path / "labels.csv") == expected
    assert find_samples(tmp_path, DataRecipe(layout="csv")) == expected


@pytest.mark.parametrize(
    "text", ["path,label,box\na.png,stop,1 2 3 4\n", "path,label,x1,y1,x2,y2\na.png,stop,1,2,3,4\n"]
)
def test_a_row_may_give_a_region(tmp_path: Path, text: str) -> None:
    listed(tmp_path, text, "a.png")
    (found,) = find_samples(tmp_path, REGIONS)
    assert found.box == (1, 2, 3, 4)
    assert find_samples(tmp_path)[0].box is None


def test_the_only_list_in_the_folder_is_the_data_set(tmp_path: Path) -> None:
    listed(tmp_path, "path,label\na.png,stop\n", "a.png", file="all.csv")
    assert find_samples(tmp_path) == ROWS[:1]
    listed(tmp_path, "path,label\n", file="more.csv")
    with pytest.raises(DataError, match=r"holds 2 CSV files: name one of them labels\.csv"):
        find_samples(tmp_path, DataRecipe(layout="csv"))


def test_a_table_of_something_else_beside_class_folders_is_no_list(tmp_path: Path) -> None:
    listed(tmp_path, "class,colour\nstop,red\n", "stop/a.png", file="classes.csv")
    assert find_samples(tmp_path) == [sample("stop/a.png", "stop")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name,label\na.png,stop\n",
            r"has no column path \(or file, filename, image, .*: its columns are name, label",
        ),
        ("path,country\na.png,north\n", r"has no column label, labels, or one of 0 and 1"),
        ("path,label,labels\na.png,stop,go\n", r"has the columns label and labels: keep one"),
        ("path,label,label\na.png,stop,go\n", r"two columns of one name"),
        ("path,label\n", r"names no image"),
        ("path,label\n,stop\n", r"line 2: it names no image"),
        ("path,label\na.png,stop\nb.png,\n", r"line 3: it has no label \(.*a column labels\)"),
        ("path,label\na.png\n", r"line 2 has 1 values for 2 columns"),
        ('path,label\na.png,"stop\n', r"labels\.csv line 2: unexpected end of data"),
        ("path,sea,width\na.png,1,640\n", r"line 2: width must be 0 or 1, not '640'"),
        ("path,label,box\na.png,stop,1 2\n", r"line 2: a box is four whole numbers"),
    ],
)
def test_a_csv_file_that_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    listed(tmp_path, text, "a.png", "b.png")
    with pytest.raises(DataError, match=message):
        find_samples(tmp_path)


@pytest.mark.parametrize("layout", ["gtsrb", "bdd100k", "csv"])
def test_labels_of_absent_images_are_listed(tmp_path: Path, layout: Layout) -> None:
    names = [f"{n}.jpg" for n in range(9)]
    match layout:
        case "gtsrb":
            numbered(tmp_path, "00000", dict.fromkeys(names, "1;1;9;9"))
        case "bdd100k":
            touch(tmp_path, *(f"images/100k/val/{name}" for name in names))
            driving(tmp_path, "val", [entry(name, "foggy") for name in names])
        case _:
            rows = "".join(f"{name},sea\n" for name in names)
            listed(tmp_path, f"path,label\n{rows}", *names)
    assert len(find_samples(tmp_path)) == 9
    for path in tmp_path.rglob("[1-8].jpg"):
        path.unlink()
    found = r"name 8 images \(of 9\) that do not exist: .*1\.jpg; .*5\.jpg \(and 3 more\)$"
    with pytest.raises(DataError, match=found):
        find_samples(tmp_path)
