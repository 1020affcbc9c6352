"""Constants of the ONNX file are TFLite's integers, in ONNX's order of axes."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from leansight.exporters.errors import ConversionError
from leansight.exporters.int8.qdq_writer import UNSIGNED, QdqWriter
from leansight.exporters.tflite.graph import Quantization, TensorInfo

SHAPE = (1, 2, 2, 2)
EXACT = np.linspace(-1, 1, 8, dtype=np.float32).reshape(SHAPE)
GRID = Quantization(
    scale=np.array([1 / 127], np.float32), zero_point=np.array([0], np.int64), axis=0
)


def written(channels_last: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the constant that the file adds, where TFLite has this one, rounded."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy")
    add = helper.make_node("Add", ["x", "places"], ["y"], "the sum")
    graph = helper.make_graph([add], "sum", [x], [y], [numpy_helper.from_array(EXACT, "places")])
    writer = QdqWriter(graph, UNSIGNED)
    theirs = TensorInfo(
        name="theirs",
        dtype="int8",
        shape=channels_last.shape,
        quantization=GRID,
        values=np.rint(channels_last * 127).astype(np.int8),
    )
    writer.operand(add, [theirs])
    writer.node(add)
    model = onnx.load_from_string(
        writer.finish(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    )
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    (cast,) = (n for n in model.graph.node if add.input[1] in n.output)
    integers, scale, zero = (constants[name] for name in cast.input)
    return np.asarray((integers.astype(np.float32) - zero) * scale)


def test_a_constant_of_places_has_its_channels_first_though_all_its_axes_are_as_long() -> None:
    np.testing.assert_allclose(written(EXACT.transpose(0, 2, 3, 1)), EXACT, atol=0.5 / 127 + 1e-6)


def test_a_constant_without_a_picture_is_as_it_came() -> None:
    np.testing.assert_allclose(written(EXACT.reshape(8)), EXACT, atol=0.5 / 127 + 1e-6)


@pytest.mark.parametrize("other", [EXACT[:, :1], EXACT[..., ::-1], EXACT + np.float32(0.01)])
def test_another_constant_is_an_error(other: NDArray[np.float32]) -> None:
    with pytest.raises(ConversionError, match="Add the sum has other numbers in TFLite"):
        written(other)
