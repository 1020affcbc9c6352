import io
import os
from pathlib import Path

import pytest
from PIL import Image

from leansight.runtime.errors import DataError
from leansight.runtime.image_files import (
    EMPTY,
    HIDDEN,
    LOOP,
    NO_FILE,
    NO_IMAGE,
    RAW,
    UNREAD,
    find_image_files,
    list_images,
)


def image_bytes(form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, form)
    return file.getvalue()


def put(root: Path, *names: str, data: bytes | None = None) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(image_bytes() if data is None else data)


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_image_files(root).images]


def left_out(root: Path) -> dict[str, list[str]]:
    reasons = find_image_files(root).left_out
    return {why: [p.relative_to(root).as_posix() for p in paths] for why, paths in reasons.items()}


def test_images_are_known_by_content_and_damaged_ones_by_suffix(tmp_path: Path) -> None:
    put(tmp_path, "a/photo", "a/photo.JFIF", "a/photo.dat", "a/b.HEIC")
    put(tmp_path, "a/cut.JPG", data=b"")
    put(tmp_path, "a/notes.txt", data=b"no image")
    assert names(tmp_path) == ["a/b.HEIC", "a/cut.JPG", "a/photo", "a/photo.JFIF", "a/photo.dat"]
    assert left_out(tmp_path) == {NO_IMAGE: ["a/notes.txt"]}


@pytest.mark.parametrize(
    "name",
    [
        ".hidden/a.png",
        ".ipynb_checkpoints/a.png",
        "__MACOSX/a/b.png",
        "a/._photo.png",
        "a/.DS_Store",
        "a/Thumbs.db",
        "a/desktop.ini",
        "@eaDir/a.png",
    ],
)
def test_hidden_and_system_names_are_left_out(tmp_path: Path, name: str) -> None:
    put(tmp_path, "a/photo.png", name)
    assert names(tmp_path) == ["a/photo.png"]
    assert list(left_out(tmp_path)) == [HIDDEN]


def test_a_hidden_folder_that_is_named_itself_is_looked_into(tmp_path: Path) -> None:
    put(tmp_path, ".photos/a/photo.png")
    assert names(tmp_path / ".photos") == ["a/photo.png"]


def test_links_are_followed_and_a_loop_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.png", "file.png", "photos/a/2.png")
    photos = tmp_path / "photos"
    (photos / "b").symlink_to(tmp_path / "elsewhere")
    (photos / "a/3.png").symlink_to(tmp_path / "file.png")
    (photos / "a/up").symlink_to(photos)
    (photos / "a/gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(photos / "a/pipe")
    assert names(photos) == ["a/2.png", "a/3.png", "b/1.png"]
    assert left_out(photos) == {LOOP: ["a/up"], NO_FILE: ["a/gone.png", "a/pipe"]}


def test_two_links_to_one_folder_are_no_loop(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.png")
    for name in ("a", "b"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "photos") == ["a/1.png", "b/1.png"]


def test_what_is_not_read_is_left_out_by_reason(tmp_path: Path) -> None:
    put(tmp_path, "a/photo.png")
    put(tmp_path, "a/raw.DNG", data=image_bytes("TIFF"))
    put(tmp_path, "a/drawing.svg", data=b"<svg/>")
    (tmp_path / "empty").mkdir()
    assert names(tmp_path) == ["a/photo.png"]
    expected = {EMPTY: ["empty"], RAW: ["a/raw.DNG"], UNREAD: ["a/drawing.svg"]}
    assert left_out(tmp_path) == expected


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    put(tmp_path, "a/x.txt", "a/y.txt", data=b"text")
    with pytest.raises(DataError, match=r"holds no image \(left out: .*no images: 2 \(a/x\.txt\)"):
        list_images([tmp_path])
    with pytest.raises(DataError, match="nowhere does not exist"):
        list_images([tmp_path / "nowhere"])
