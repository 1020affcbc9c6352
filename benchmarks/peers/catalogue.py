"""Which other runtimes are known, what they read, and where they are installed."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leansight.runtime.errors import LeansightError
from leansight.runtime.interpreter import Format

_INSTALL_S: Final = 1800.0
_COMPLETE: Final = ".complete"


class PeerError(LeansightError):
    """Another runtime cannot be installed, or cannot run a file."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A runtime: what pip installs for it, which files it reads, or why none of ours."""

    name: str
    packages: tuple[str, ...]
    formats: tuple[Format, ...]
    reads: str = ""

    def require(self, model_format: Format) -> None:
        """Raise PeerError unless it reads files of this format."""
        if model_format not in self.formats:
            reads = self.reads or f".{self.formats[0]} files alone"
            raise PeerError(f"{self.name} reads {reads}")


PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer(name="mediapipe", packages=("mediapipe",), formats=("tflite",)),
        # It breaks with numpy 2 without saying so.
        Peer(
            name="tflite-runtime",
            packages=("tflite-runtime>=2.14", "numpy<2"),
            formats=("tflite",),
        ),
        Peer(
            name="opencv-dnn",
            packages=("opencv-python-headless>=4.8",),
            formats=("tflite", "onnx"),
        ),
        Peer(name="openvino", packages=("openvino",), formats=("tflite", "onnx")),
        Peer(
            name="ncnn",
            packages=("ncnn",),
            formats=(),
            reads=".param and .bin files alone, which pnnx makes of a float ONNX file",
        ),
        Peer(
            name="executorch",
            packages=("executorch",),
            formats=(),
            reads=".pte files alone, which are exported from torch",
        ),
    )
}


def peer_python(peer: Peer, tell: Callable[[str], None] = lambda _: None) -> Path:
    """Return the Python of the peer's environment, which is made where it is missing.

    Raises:
        PeerError: it cannot be installed; the message is pip's own.

    """
    folder = _environments() / f"{peer.name}-{_key(peer)}"
    python = folder / "bin" / "python"
    if (folder / _COMPLETE).exists():
        return python
    tell(f"{peer.name}: an environment is made for it, once, in {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _run(peer, [sys.executable, "-m", "venv", str(folder)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        _run(peer, [*pip, *peer.packages])
    except PeerError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / _COMPLETE).touch()
    return python


def _run(peer: Peer, command: list[str]) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_INSTALL_S,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise PeerError(
            f"{peer.name} cannot be installed: pip took more than {_INSTALL_S / 60:.0f} minutes"
        ) from None
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")]
        reason = (errors or said or ["nothing was said"])[0].removeprefix("ERROR: ")
        raise PeerError(f"{peer.name} cannot be installed: {reason}")


def _environments() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches, "leansight", "peers")


def _key(peer: Peer) -> str:
    """Return a digest of what is installed, and for which Python."""
    text = " ".join([sys.executable, sys.version, *peer.packages])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
