"""The same file in another runtime: OpenCV's, which the tests' own environment has as well."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from doubles.benchmarks import a_benchmark, a_result

from leansight.benchmarks import peer_launch
from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import Model, find_models
from leansight.benchmarks.peer_launch import PeerLaunch
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.results.machines import MachineBenchmarks
from leansight.benchmarks.results.result import Failure
from leansight.runtime.errors import BundleError

QUICK = Settings(frames=4, precision=None)


@pytest.fixture
def models(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> list[Model]:
    """The tiny bundle's ONNX file in our runtime and in OpenCV's."""
    monkeypatch.setattr(peer_launch, "peer_python", lambda _: Path(sys.executable))
    (own,) = find_models([tiny_bundle], "onnx")
    return [own, own.in_peer("opencv-dnn")]


def test_the_same_file_runs_in_another_runtime(models: list[Model]) -> None:
    pictures = [tiny_models.stripes(label, 64) for label in tiny_models.LABELS]
    found = benchmark(models, pictures, QUICK)
    assert found.failures == ()
    own, peer = found.results
    assert peer.name == "tiny.bundle in opencv-dnn"
    assert (peer.macs, peer.size_bytes) == (own.macs, own.size_bytes)
    assert peer.runs == own.runs == 4
    assert peer.interpreter == {"runtime": "opencv-dnn", "threads": 1}
    assert peer.undisturbed_ms.value > 0
    # Pictures are prepared before: a peer's preprocessing is none.
    assert peer.latency_ms.preprocess.max == 0
    assert own.latency_ms.preprocess.p50 > 0
    assert found.comparisons[0].pairs == 1
    assert peer.peak_rss_bytes is not None
    assert peer.peak_rss_bytes > 1e6


def test_a_runtime_that_fails_is_a_row_that_says_so(
    models: list[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_launch.peer_worker, "__file__", "/nowhere/peer_worker.py")
    found = benchmark(models, [synthetic_image()], QUICK)
    assert [r.name for r in found.results] == ["tiny.bundle"]
    assert found.failures[0].name == "tiny.bundle in opencv-dnn"
    assert "can't open file" in found.failures[0].reason


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([0.0, 5.0, 1.0], "another class is best"),
        ([5.0, 0.0], "it gives 2 numbers, not 3"),
    ],
)
def test_a_runtime_that_computes_something_else_is_refused(
    logits: list[float], message: str
) -> None:
    expected = np.array([9.0, 0.0, 1.0], np.float32)
    launch = PeerLaunch(name="x", program=[], arguments=[], expected=expected, hang_s=1)
    with pytest.raises(BundleError, match=message):
        launch.check({"logits": logits})


def test_a_rounding_that_turns_a_tie_is_none() -> None:
    expected = np.array([9.0, 8.9, 0.0], np.float32)
    launch = PeerLaunch(name="x", program=[], arguments=[], expected=expected, hang_s=1)
    launch.check({"logits": [8.9, 9.0, 0.0]})


def test_runtimes_that_could_not_run_are_failures_of_the_whole() -> None:
    whole = MachineBenchmarks(found=(a_benchmark(a_result("a", 1.0)),))
    failure = Failure(name="ncnn", format="onnx", reason="ncnn reads .param")
    assert whole.failing([failure]).found[0].failures == (failure,)
