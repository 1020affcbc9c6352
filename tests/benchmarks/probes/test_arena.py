import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from onnx import helper

from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.probes import arena

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells it on Linux")


@needs_linux
@pytest.mark.parametrize("factor", [50, 200])
def test_the_arena_of_litert_has_the_tensors_that_are_computed(factor: int) -> None:
    tensors = 64 * factor**2 * 4
    small = arena.arena_bytes(tiny_models.enlarging(1), "tflite", threads=1)
    large = arena.arena_bytes(tiny_models.enlarging(factor), "tflite", threads=1)
    assert small is not None
    assert large is not None
    assert 0 < small < 300_000
    assert large - small == pytest.approx(tensors, rel=0.02, abs=100_000)


@needs_linux
def test_the_file_itself_is_no_part_of_it(tiny_tflite: bytes) -> None:
    """A file with 20 MB that nothing reads."""
    longer = tiny_tflite + bytes(20_000_000)
    size = arena.arena_bytes(longer, "tflite", threads=1)
    assert size is not None
    assert size < 1_000_000


@needs_linux
def test_of_onnx_runtime_it_holds_the_weights_as_they_are_packed() -> None:
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    weights = {"weights": np.ones((2_500, 1_000), np.float32)}  # 10 MB
    model = tiny_models.onnx_model(nodes, weights, (1, 1, 50, 50), (1, 1_000))
    size = arena.arena_bytes(model, "onnx", threads=1)
    assert size is not None
    assert 9_900_000 < size < 31_000_000


def test_where_the_system_does_not_tell_it_is_not_known(
    tiny_tflite: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena, "anonymous_bytes", lambda: None)
    assert arena.arena_bytes(tiny_tflite, "tflite", threads=1) is None


@needs_linux
def test_a_benchmark_tells_it_of_each_of_our_models(tiny_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "enlarging.tflite"
    file.write_bytes(tiny_models.enlarging(100))
    settings = Settings(frames=1, precision=None)
    found = benchmark(find_models([tiny_bundle, file]), [synthetic_image()], settings)
    small, _, large = (result.arena_bytes for result in found.results)
    assert small is not None
    assert large is not None
    assert large - small == pytest.approx(64 * 100**2 * 4, rel=0.1)
