from pathlib import Path

import onnx

from leansight.benchmarks.measure import measure_models
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image


def test_a_model_with_its_weights_beside_it_is_measured_as_one_file(
    tmp_path: Path, tiny_onnx: bytes
) -> None:
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    one.write_bytes(tiny_onnx)
    parsed = onnx.load_model_from_string(tiny_onnx)
    onnx.save(parsed, two, save_as_external_data=True, location="two.data", size_threshold=0)
    models = find_models([one, two])
    first, second = measure_models(models, synthetic_image(), runs=1)
    assert second.name == "two.onnx"
    assert (second.parameters, second.macs) == (first.parameters, first.macs)
    assert abs(second.size_bytes - first.size_bytes) < 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.onnx", "two.data", "two.onnx"]
