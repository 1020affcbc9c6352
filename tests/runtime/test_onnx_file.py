from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from leansight.runtime.errors import BundleError
from leansight.runtime.onnx_file import read_onnx_file, weight_files


@pytest.fixture
def two_files(tmp_path: Path, tiny_onnx: bytes) -> Path:
    """A model that keeps its weights in another file, as torch writes it."""
    file = tmp_path / "two" / "model.onnx"
    file.parent.mkdir()
    onnx.save(
        onnx.load_model_from_string(tiny_onnx),
        file,
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
    )
    return file


def test_the_weights_beside_a_file_are_read_with_it(two_files: Path, tiny_onnx: bytes) -> None:
    assert [f.name for f in weight_files(two_files)] == ["model.onnx.data"]
    whole = read_onnx_file(two_files)
    for mine, theirs in zip(
        whole.graph.initializer,
        onnx.load_model_from_string(tiny_onnx).graph.initializer,
        strict=True,
    ):
        assert (
            onnx.numpy_helper.to_array(mine).tolist() == onnx.numpy_helper.to_array(theirs).tolist()
        )


def test_a_file_that_holds_all_its_weights_needs_no_other(tmp_path: Path, tiny_onnx: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(tiny_onnx)
    assert weight_files(tmp_path / "model.onnx") == []


def lost(weights: Path) -> None:
    weights.unlink()


def cut_off(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:50])


def empty(weights: Path) -> None:
    weights.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lost, "model.onnx keeps its weights in model.onnx.data, which is not beside it: copy all"),
        (cut_off, "model.onnx.data does not hold the weights of"),
        (empty, "model.onnx.data does not hold the weights of"),
    ],
)
def test_weights_that_are_not_there_are_named(
    damage: Callable[[Path], None], message: str, two_files: Path
) -> None:
    damage(two_files.with_name("model.onnx.data"))
    with pytest.raises(BundleError, match=message):
        read_onnx_file(two_files)


@pytest.mark.parametrize("data", [b"not a model", b"\xff" * 99, b"PK\x03\x04" * 9])
def test_what_is_no_onnx_file_is_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.onnx is not an ONNX file"):
        read_onnx_file(tmp_path / "model.onnx")


def test_weights_of_a_constant_node_are_found_beside_the_file(tmp_path: Path) -> None:
    numbers = np.arange(600, dtype=np.float32)
    tensor = onnx.numpy_helper.from_array(numbers)
    onnx.external_data_helper.set_external_data(tensor, "far.bin")
    tensor.ClearField("raw_data")
    nodes = [
        onnx.helper.make_node("Constant", [], ["c"], value=tensor),
        onnx.helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [600]) for n in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:])
    file = tmp_path / "m.onnx"
    opsets = [onnx.helper.make_opsetid("", 17)]
    file.write_bytes(onnx.helper.make_model(graph, opset_imports=opsets).SerializeToString())
    with pytest.raises(BundleError, match=r"m.onnx keeps its weights in far.bin, which is not"):
        read_onnx_file(file)
    (tmp_path / "far.bin").write_bytes(numbers.tobytes())
    assert weight_files(file) == [tmp_path / "far.bin"]
    (constant, _) = read_onnx_file(file).graph.node
    assert np.array_equal(onnx.numpy_helper.to_array(constant.attribute[0].t), numbers)
