import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leansight.runtime.errors import SourceError
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.sources.gstreamer import GStreamerSource
from leansight.runtime.stream.sources.secrets import without_secrets

# All that people paste into a URL, percent-encoded or not, except what ends its authority.
passwords = st.text(string.ascii_letters + string.digits + string.punctuation).map(
    lambda text: "geheim" + text.replace("/", "") + "geheim"
)


@given(passwords, st.sampled_from(["", ":8554"]), st.sampled_from(["", "/", "/live/1?a=b"]))
def test_a_password_is_never_shown(password: str, port: str, path: str) -> None:
    shown = without_secrets(f"gst:rtspsrc location=rtsp://admin:{password}@camera{port}{path} ! x")
    assert "geheim" not in shown
    assert f"rtsp://…@camera{port}" in shown
    assert shown.endswith(" ! x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://cam/video.cgi?user=admin&pwd=geheim", "http://cam/video.cgi?…"),
        ("rtsp://cam:554/live", "rtsp://cam:554/live"),
        ("drive@home.mp4", "drive@home.mp4"),
        ("http://cam/a@b.jpg", "http://cam/a@b.jpg"),
        ("rtspsrc user-id=pi user-pw='ge heim' ! x", "rtspsrc user-id=… user-pw=… ! x"),
    ],
)
def test_what_is_no_secret_is_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_a_stream_does_not_tell_its_password() -> None:
    url = "http://pi:geheim@127.0.0.1:1/stream?token=geheim"
    with (
        CameraStream(url, give_up_after_s=0) as frames,
        pytest.raises(SourceError, match=r"^http://…@127\.0\.0\.1:1/stream\?… was lost") as lost,
    ):
        list(frames)
    assert "geheim" not in f"{lost.value} {frames.health}"


def test_what_gstreamer_says_of_its_end_has_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "gst-launch-1.0"
    program.write_text("#!/bin/sh\necho 'ERROR: no rtsp://pi:geheim@camera/live'; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SourceError, match=r"GStreamer: no rtsp://…@camera/live"):
        GStreamerSource("rtspsrc")
