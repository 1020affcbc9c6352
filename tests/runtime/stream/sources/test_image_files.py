import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from streams import number_of, numbered

from leansight.runtime.errors import SourceError
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.sources.options import SourceOptions


def write(path: Path, number: int) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), numbered(number))


def numbers_of(source: Path) -> list[int]:
    with CameraStream(str(source)) as frames:
        return [number_of(frame.image) for frame in frames]


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    names = ["2.jpg", "10.png", "a 3.jpg", "a 20.jpg", "b/1.jpg"]
    for number, name in enumerate(names):
        write(tmp_path / name, number)
    (tmp_path / "notes.txt").write_text("no image")
    assert numbers_of(tmp_path) == [0, 1, 2, 3, 4]


def test_numbered_files_are_read_by_their_numbers(tmp_path: Path) -> None:
    for number, name in enumerate(["f0002.jpg", "f0010.jpg", "f12345.jpg"]):
        write(tmp_path / name, number)
    for name in ("f7.jpg", "f0003.jpg.png", "g0004.jpg", "f0005.jpeg"):
        write(tmp_path / name, 9)
    assert numbers_of(tmp_path / "f%04d.jpg") == [0, 1, 2]


def test_a_pattern_without_width_takes_every_number(tmp_path: Path) -> None:
    for name, number in [("7 (a).jpg", 0), ("0012 (a).jpg", 1), ("x (a).jpg", 9)]:
        write(tmp_path / name, number)
    assert numbers_of(tmp_path / "%d (a).jpg") == [0, 1]


def test_where_no_image_is_there_is_no_stream(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no images$"):
        CameraStream(str(tmp_path))
    with pytest.raises(SourceError, match=r"f%d.jpg has no images$"):
        CameraStream(str(tmp_path / "f%d.jpg"))


def test_files_that_cannot_be_read_are_damaged_frames(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"{number}.jpg", number)
    whole = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole[: (whole.index(b"\xff\xda") + len(whole)) // 2])
    (tmp_path / "2.jpg").write_text("no picture")
    (tmp_path / "5.png").symlink_to(tmp_path / "nowhere")
    write(tmp_path / "6.png", 6)
    with CameraStream(str(tmp_path)) as frames:
        seen = [(frame.number, number_of(frame.image)) for frame in frames]
        assert frames.damaged == 2
    assert seen == [(0, 0), (1, 3), (2, 6)]


def test_pictures_of_any_size_are_given_one_after_the_other(tmp_path: Path) -> None:
    for number, side in enumerate((8, 200, 16)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((side, 5, 3), side, np.uint8))
    with CameraStream(str(tmp_path)) as frames:
        shapes = [frame.image.shape for frame in frames]
    assert shapes == [(8, 5, 3), (200, 5, 3), (16, 5, 3)]


def test_with_a_rate_frames_have_positions_and_come_at_that_pace(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.jpg", number)
    (tmp_path / "1.jpg").write_text("no picture")
    begin_s = time.monotonic()
    with CameraStream(str(tmp_path), options=SourceOptions(fps=20)) as frames:
        seen = [(number_of(frame.image), frame.position_s, frame.monotonic_s) for frame in frames]
    assert [number for number, _, _ in seen] == [0, 2, 3, 4]
    assert [position_s for _, position_s, _ in seen] == pytest.approx([0, 0.1, 0.15, 0.2])
    assert all(read_s - begin_s >= position_s for _, position_s, read_s in seen if position_s)


def test_without_a_rate_a_picture_has_no_position(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg", 1)
    with CameraStream(str(tmp_path)) as frames:
        assert [frame.position_s for frame in frames] == [None]
