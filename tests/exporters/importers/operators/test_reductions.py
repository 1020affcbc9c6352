"""Sums and means over axes give what ONNX Runtime gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_files import File, require_like_runtime

BUILDS: dict[str, Callable[[File], File]] = {
    "absolute numbers": lambda f: f.then("ReduceL1", axes=[2]),
    "logarithms": lambda f: f.then("ReduceLogSumExp", axes=[3]),
    "minima": lambda f: f.then("ReduceMin", axes=[2, 3]),
    "squares": lambda f: f.then("ReduceSumSquare", axes=[-1]),
    "a softmax's logarithm": lambda f: f.then("LogSoftmax", axis=1),
    "up to each place": lambda f: f.then("CumSum", f.constant(2, np.int64)),
    "from behind, without the place": lambda f: f.then(
        "CumSum", f.constant(-1, np.int64), exclusive=1, reverse=1
    ),
}


@pytest.mark.parametrize("name", BUILDS)
def test_a_sum_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    require_like_runtime(BUILDS[name](File()).then("Tanh").classes(3).save(tmp_path))
