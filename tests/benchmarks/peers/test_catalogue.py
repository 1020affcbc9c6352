"""Environments of other runtimes: made once, whole or not at all."""

from pathlib import Path

import pytest

from leansight.benchmarks.peers.catalogue import PEERS, Peer, PeerError, peer_python


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))


def test_what_cannot_be_installed_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    peer = Peer(name="other", packages=(str(tmp_path / "nowhere"),), formats=("onnx",))
    with pytest.raises(PeerError, match=r"^other cannot be installed: .*nowhere") as raised:
        peer_python(peer)
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "caches" / "leansight" / "peers").iterdir()) == []


def test_an_environment_is_made_once() -> None:
    peer = Peer(name="other", packages=("pip",), formats=("onnx",))  # it is there already
    said: list[str] = []
    python = peer_python(peer, said.append)
    assert python.is_file()
    assert peer_python(peer, said.append) == python
    assert len(said) == 1
    (python.parents[1] / ".complete").unlink()  # as a killed command leaves it
    peer_python(peer, said.append)
    assert len(said) == 2


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("ncnn", "onnx", r"^ncnn reads .param and .bin files alone"),
        ("executorch", "tflite", r"^executorch reads .pte files alone"),
        ("mediapipe", "onnx", r"^mediapipe reads .tflite files alone$"),
    ],
)
def test_a_runtime_says_what_it_reads(name: str, wanted: str, message: str) -> None:
    with pytest.raises(PeerError, match=message):
        PEERS[name].require(wanted)  # type: ignore[arg-type]
