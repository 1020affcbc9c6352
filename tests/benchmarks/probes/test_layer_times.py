import json
from pathlib import Path

import tiny_models
from onnx import load_model_from_string

from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.probes.layer_times import onnx_layer_times


def test_every_convolution_of_the_graph_has_its_time(tiny_onnx: bytes) -> None:
    times = onnx_layer_times(tiny_onnx, threads=1, frames=5)
    graph = load_model_from_string(tiny_onnx).graph
    there = [node.op_type for node in graph.node if "Conv" in node.op_type]
    ran = [operation for _, operation, _ in times if "Conv" in operation]
    assert there
    assert len(ran) == len(there)
    assert all(0 <= ms < 10_000 for _, _, ms in times)
    assert len({name for name, _, _ in times}) == len(times)


def test_a_benchmark_asks_where_the_runtime_can_tell(tiny_bundle: Path) -> None:
    settings = Settings(frames=1, precision=None)
    found = benchmark(find_models([tiny_bundle]), [synthetic_image()], settings)
    told = {
        result.format: detail.layer_times
        for result, detail in zip(found.results, found.details, strict=True)
    }
    assert told["tflite"] == ()
    assert [len(row) for row in told["onnx"]] == [3] * len(told["onnx"])
    assert told["onnx"]
    assert json.loads(json.dumps(found.to_dict()))["details"][1]["layer_times"]
    assert found.results[0].macs == tiny_models.STRIPES_MACS
