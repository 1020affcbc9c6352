from collections.abc import Callable
from pathlib import Path

import pytest
from streams import number_of

from leansight.runtime.errors import BrokenPackageError, MissingExtraError, SourceError
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.sources.picamera import PiCamera2Source

FAKE_PICAMERA2 = """
import time
from pathlib import Path
from streams import numbered

class Picamera2:
    def __init__(self):
        {fail}
        self.note = Path(__file__).with_name("done.txt").open("a", buffering=1)
    def create_video_configuration(self, main):
        return main
    def configure(self, configuration):
        print(configuration, file=self.note)
    def start(self):
        print("start", file=self.note)
    def capture_array(self):
        time.sleep(0.001)
        return numbered(7)
    def close(self):
        print("close", file=self.note)
"""


@pytest.fixture
def fake_picamera2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what puts a picamera2 in place that does something first, and notes what is done."""

    def write(first: str) -> None:
        (tmp_path / "picamera2.py").write_text(FAKE_PICAMERA2.format(fail=first))

    monkeypatch.syspath_prepend(tmp_path)
    return write


def test_the_pis_camera_is_configured_read_and_closed(
    fake_picamera2: Callable[[str], None], tmp_path: Path
) -> None:
    fake_picamera2("pass")
    with CameraStream(PiCamera2Source) as frames:
        assert frames.live
        frame = next(iter(frames))
    assert number_of(frame.image) == 7
    configuration = str({"size": (640, 480), "format": "RGB888"})
    assert (tmp_path / "done.txt").read_text().splitlines() == [configuration, "start", "close"]


def test_without_picamera2_the_way_to_get_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "picamera2.py").write_text("raise ModuleNotFoundError(name='picamera2')")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        CameraStream(PiCamera2Source) as frames,
        pytest.raises(MissingExtraError, match=r"Type: sudo apt install python3-picamera2 \("),
    ):
        list(frames)


def test_a_picamera2_that_cannot_be_imported_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "picamera2.py").write_text("raise ImportError('no libcamera.so.0.5')")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        CameraStream(PiCamera2Source) as frames,
        pytest.raises(BrokenPackageError, match=r"cannot be imported: no libcamera.so.0.5. Type:"),
    ):
        list(frames)


@pytest.mark.parametrize("error", ["IndexError('list index out of range')", "RuntimeError('busy')"])
def test_a_pi_without_a_camera_says_so(fake_picamera2: Callable[[str], None], error: str) -> None:
    fake_picamera2(f"raise {error}")
    message = f"Pi's camera cannot be opened: {error.split(chr(39))[1]}. Check its"
    with (
        CameraStream(PiCamera2Source, give_up_after_s=0) as frames,
        pytest.raises(SourceError, match=message),
    ):
        list(frames)
