"""Videos are read by FFmpeg, through OpenCV: another program than the one that writes them."""

import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from doubles.stream_results import seen, unlabelled
from streams import Picture

from leansight.runtime.errors import DataError
from leansight.runtime.service.files.video_file import VideoFile

HELPERS = Path(__file__).parents[3] / "helpers"
WRITE_AND_DIE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from doubles.stream_results import seen
from leansight.runtime.service.files.video_file import VideoFile
video = VideoFile(Path(sys.argv[2]))
for number in range(25):
    video.write(seen(at_s=number / 10))
os.kill(os.getpid(), int(sys.argv[3]))
"""


def read(file: Path) -> list[tuple[float, Picture]]:
    """Return each picture of a video with its time, in seconds."""
    capture, pictures = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG), []
    while True:
        ok, picture = capture.read()
        if not ok:
            return pictures
        pictures.append((capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, picture))


def level(picture: Picture) -> float:
    """Return how bright a picture is below its caption."""
    return float(picture[12:].mean())


def test_each_picture_has_its_own_time(tmp_path: Path) -> None:
    times = [7.0, 7.1, 7.15, 9.5, 9.6]
    video = VideoFile(tmp_path / "a.mkv")
    for number, at_s in enumerate(times):
        video.write(seen(at_s=at_s, image=np.full((96, 128, 3), 40 * number, np.uint8)))
    video.close()
    pictures = read(tmp_path / "a.mkv")
    assert [at_s for at_s, _ in pictures] == pytest.approx([0, 0.1, 0.15, 2.5, 2.6], abs=0.001)
    assert [level(picture) for _, picture in pictures] == pytest.approx(
        [0, 40, 80, 120, 160], abs=2
    )


def test_of_a_file_each_picture_is_where_it_stood_there(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "a.mkv")
    for number in range(5):
        result = seen(at_s=number / 1000)
        assert result.frame is not None
        frame = replace(result.frame, position_s=2 + number / 25)
        video.write(replace(result, frame=frame))
    video.write(unlabelled("running", at_s=9))  # the last event ends: that is no picture
    video.close()
    assert [at_s for at_s, _ in read(tmp_path / "a.mkv")] == pytest.approx(
        [0, 0.04, 0.08, 0.12, 0.16], abs=0.001
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_video_plays_whatever_ends_the_program(tmp_path: Path, number: int) -> None:
    file = tmp_path / "a.mkv"
    command = [sys.executable, "-c", WRITE_AND_DIE, str(HELPERS), str(file), str(int(number))]
    assert subprocess.run(command, check=False, timeout=60).returncode == -number
    assert len(read(file)) == 25


def test_a_video_plays_up_to_where_a_power_cut_left_it(tmp_path: Path) -> None:
    file = tmp_path / "a.mkv"
    video = VideoFile(file)
    for number in range(10):
        video.write(seen(at_s=number / 10))
    video.close()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 3 // 4])
    assert 6 <= len(read(file)) <= 8


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    source.write_bytes(b"the source")
    for name in ("a-2.mkv", "a-3.mkv"):
        video = VideoFile(source)
        video.write(seen())
        video.close()
        assert video.file == tmp_path / name
        assert len(read(video.file)) == 1
    assert source.read_bytes() == b"the source"


def test_a_picture_of_another_size_is_scaled(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "a.mkv")
    video.write(seen(image=np.full((96, 128, 3), 50, np.uint8)))
    video.write(seen(at_s=1, image=np.full((200, 100, 3), 250, np.uint8)))
    video.close()
    _, (_, scaled) = read(tmp_path / "a.mkv")
    assert scaled.shape == (96, 128, 3)
    assert scaled[48, 64].mean() == pytest.approx(250, abs=4)
    assert scaled[48, 20].mean() == pytest.approx(0, abs=4)


def test_a_time_without_pictures_is_black_with_the_state(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "a.mkv")
    video.write(unlabelled("reconnecting"))
    video.write(seen(at_s=1))
    video.write(unlabelled("stale", "no frame for 2 s", at_s=4))
    video.close()
    (_, first), (at_s, second) = read(tmp_path / "a.mkv")
    assert level(first) == pytest.approx(100, abs=2)
    assert at_s == pytest.approx(3, abs=0.001)
    assert level(second) == pytest.approx(0, abs=2)
    assert second[:12].max() > 100  # the caption


def test_a_full_disk_is_trouble_and_pictures_go_on_when_there_is_room(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    video = VideoFile(tmp_path / "a.mkv")
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        for number in range(20):
            video.write(seen(at_s=number, image=noise))
        assert "pictures are lost" in video.trouble
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for number in range(20, 23):
        video.write(seen(at_s=number, image=noise))
    assert video.trouble == ""
    video.close()
    times = [round(at_s) for at_s, _ in read(tmp_path / "a.mkv")]
    assert 2 < len(times) < 20
    assert times == [*range(len(times) - 3), 20, 21, 22]


def test_a_stream_without_pictures_leaves_no_file(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "a.mkv")
    video.write(unlabelled("reconnecting"))
    video.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.mp4", r"must end in \.mkv"), ("no/a.mkv", "cannot be written: No such file")],
)
def test_what_cannot_begin_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        VideoFile(tmp_path / name)
