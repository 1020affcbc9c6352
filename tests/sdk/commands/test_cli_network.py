"""Nothing leaves the machine: no command reaches for a network, or writes below the home folder.

But for the name of a bundle that has run, in the cache.
"""

import os
from pathlib import Path

import cv2
import pytest
import tiny_models
from hostile.system_calls import internet_sockets, needs_strace, traced

from leansight.runtime.bundle import Bundle


@needs_strace
@pytest.mark.parametrize(
    "words",
    [
        ["classify", "BUNDLE", "photo.png", "--format", "onnx"],
        ["bench", "BUNDLE", "--format", "onnx", "--runs", "2", "--most-seconds", "0"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_sends_nothing(
    words: list[str], tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime's telemetry, asked for by the environment, writes at once and then connects."""
    home = tmp_path / "home"
    home.mkdir()
    cv2.imwrite(str(tmp_path / "photo.png"), tiny_models.stripes("level"))
    monkeypatch.chdir(tmp_path)
    digest = Bundle.load(tiny_bundle).digest
    environment = os.environ | {
        "CACHE_DIRECTORY": "",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "ORT_DISABLE_TELEMETRY": "0",
    }
    arguments = [str(tiny_bundle) if word == "BUNDLE" else word for word in words]
    ran, calls = traced(arguments, "network", tmp_path, environment=environment)
    assert ran.returncode == 0, ran.stderr
    assert not internet_sockets(calls)
    assert {path.name for path in home.rglob("*") if path.is_file()} <= {f"{digest}.onnx"}
