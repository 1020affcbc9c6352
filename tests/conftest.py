"""What every test file may use: a tiny network that tells stripes apart, in both formats."""

import gc
import os
import signal
from pathlib import Path

import cv2
import pytest
import tiny_models
from hypothesis import settings
from streams import numbered

from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.preprocessing import Preprocessing

pytest_plugins = ["cpu_budget"]

# Tests are shared out among the cores already. Torch reads this when it is imported, later, and
# so do the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Started in the background, a shell's programs ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
gc.disable()  # while test files import what they test: see runtime/system/collector.py
settings.register_profile("leansight", deadline=None)  # a busy machine is no failure
settings.load_profile("leansight")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests, so that none is alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Collect garbage again, and never look through the test files and all that they import."""
    gc.enable()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Remember nothing of the tests below the home folder."""
    os.environ["CACHE_DIRECTORY"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_tflite() -> bytes:
    """Float32 (1, 8, 8, 1) in, 3 logits out; see tiny_models."""
    return tiny_models.stripes_tflite()


@pytest.fixture(scope="session")
def tiny_onnx() -> bytes:
    """The same network, float32 (1, 1, 8, 8) in."""
    return tiny_models.stripes_onnx()


@pytest.fixture
def tiny_bundle(tmp_path: Path, tiny_tflite: bytes, tiny_onnx: bytes) -> Path:
    """A new bundle folder of both, with the labels plain, upright and level."""
    bundle = Bundle(
        path=tmp_path / "tiny.bundle",
        name="tiny",
        labels=tiny_models.LABELS,
        preprocessing=Preprocessing(size=8, colour="gray"),
        decision=DecisionPolicy(threshold=0.5),
        precision="float32",
    )
    write_bundle(bundle, {"model.tflite": tiny_tflite, "model.onnx": tiny_onnx})
    return bundle.path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """An mp4v file of 12 numbered pictures."""
    path = tmp_path / "drive.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12, (128, 32))
    for number in range(12):
        writer.write(numbered(number))
    writer.release()
    return path
