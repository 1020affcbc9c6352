from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.probes.interpreter_settings import (
    onnx_settings,
    settings_of,
    tflite_settings,
)
from leansight.runtime.interpreter import load_interpreter


@pytest.mark.parametrize(("default", "kernels"), [(True, "XNNPACK"), (False, "its own")])
def test_of_litert_it_is_said_which_kernels_run_how_many_operations(
    tiny_tflite: bytes, *, default: bool, kernels: str
) -> None:
    resolver = OpResolverType.AUTO if default else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = Interpreter(model_content=tiny_tflite, experimental_op_resolver_type=resolver)
    made.allocate_tensors()
    told = tflite_settings(made, threads=3)
    there = sum(operation["op_name"] != "DELEGATE" for operation in made._get_ops_details())  # noqa: SLF001 -- no public name tells
    assert there
    assert told == {
        "runtime": "LiteRT",
        "threads": 3,
        "xnnpack": f"{there if kernels == 'XNNPACK' else 0} of {there} operations",
    }


@dataclass
class PartlyDelegated:
    """An interpreter of five operations in a row, of which the second and third are delegated."""

    rows: list[dict[str, Any]] = field(
        default_factory=lambda: [
            *({"op_name": "ADD", "inputs": [n, 90 + n], "outputs": [n + 1]} for n in range(5)),
            {"op_name": "DELEGATE", "inputs": [1, 91, 92], "outputs": [3]},
        ]
    )

    def _get_ops_details(self) -> list[dict[str, Any]]:
        return self.rows


def test_of_a_graph_that_is_delegated_in_part_that_part_is_counted() -> None:
    assert tflite_settings(PartlyDelegated(), threads=1)["xnnpack"] == "2 of 5 operations"


def test_an_interpreter_that_does_not_list_its_operations_says_so() -> None:
    assert tflite_settings(object(), threads=1)["xnnpack"] == "not told"


def test_of_onnx_runtime_it_is_what_the_session_has(tiny_onnx: bytes) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.enable_mem_pattern = False
    session = onnxruntime.InferenceSession(tiny_onnx, options, providers=["CPUExecutionProvider"])
    assert onnx_settings(session) == {
        "runtime": "ONNX Runtime",
        "threads": 2,
        "graph_optimization": "ORT_ENABLE_BASIC",
        "execution_mode": "ORT_PARALLEL",
        "memory_arena": True,
        "memory_pattern": False,
        "providers": "CPUExecutionProvider",
    }


def test_an_interpreter_of_somebody_else_has_none(tiny_onnx: bytes) -> None:
    assert settings_of(lambda batch: batch) == {}  # type: ignore[arg-type]
    assert settings_of(load_interpreter(tiny_onnx, "onnx", threads=2))["threads"] == 2


def test_a_result_says_what_ran_the_model(tiny_bundle: Path) -> None:
    settings = Settings(frames=1, precision=None, threads=2, profile=False)
    tflite, onnx = benchmark(find_models([tiny_bundle]), [synthetic_image()], settings).results
    assert (tflite.interpreter["runtime"], onnx.interpreter["runtime"]) == (
        "LiteRT",
        "ONNX Runtime",
    )
    assert (tflite.interpreter["threads"], onnx.interpreter["threads"]) == (2, 2)
    assert onnx.interpreter["graph_optimization"] == "ORT_ENABLE_ALL"
    assert str(tflite.interpreter["xnnpack"]).endswith(" operations")
