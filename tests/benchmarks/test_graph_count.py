import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import NodeProto, helper
from tiny_models import TfliteGraph, onnx_model

from leansight.benchmarks.graph_count import GraphCount, count_graph
from leansight.runtime.errors import BundleError, MissingExtraError
from leansight.runtime.interpreter import Format

Shape = tuple[int | str, ...]


def ones(*shape: int, dtype: type = np.float32) -> NDArray[Any]:
    return np.ones(shape, dtype)


def count_tflite(
    name: str,
    output: Shape,
    *inputs: Shape | NDArray[Any],
    options: object | None = None,
) -> GraphCount:
    """Count a graph of one operator: a shape is its computed input, an array a constant."""
    graph = TfliteGraph()
    numbers = [graph.tensor(i) if isinstance(i, tuple) else graph.constant(i) for i in inputs]
    result = graph.tensor(output)
    graph.add(name, numbers, result, options)
    return count_graph(graph.pack(numbers[0], result), "tflite")


def count_onnx(
    nodes: list[NodeProto], shapes: tuple[Shape, Shape], **constants: NDArray[Any]
) -> GraphCount:
    return count_graph(onnx_model(nodes, constants, *shapes), "onnx")


def node(
    name: str, *inputs: str, output: str = "logits", **attributes: int | list[int]
) -> NodeProto:
    return helper.make_node(name, ["pixels", *inputs], [output], **attributes)


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_a_network_is_counted_as_by_hand(
    model_format: Format, tiny_tflite: bytes, tiny_onnx: bytes
) -> None:
    model = {"tflite": tiny_tflite, "onnx": tiny_onnx}[model_format]
    assert count_graph(model, model_format) == GraphCount(
        parameters=tiny_models.STRIPES_PARAMETERS,
        macs=tiny_models.STRIPES_MACS,
        precision="float32",
    )


# One layer at a time: 8 channels of 10 x 10 in, 12 out, 3 x 3 filters with padding.


def test_tflite_grouped_convolution() -> None:
    count = count_tflite("CONV_2D", (1, 10, 10, 12), (1, 10, 10, 8), ones(12, 3, 3, 4), ones(12))
    assert (count.macs, count.parameters) == (100 * 12 * 9 * 4, 12 * 9 * 4 + 12)


def test_onnx_grouped_convolution() -> None:
    count = count_onnx(
        [node("Conv", "w", "b", group=2, pads=[1, 1, 1, 1])],
        ((1, 8, 10, 10), (1, 12, 10, 10)),
        w=ones(12, 4, 3, 3),
        b=ones(12),
    )
    assert (count.macs, count.parameters) == (100 * 12 * 9 * 4, 12 * 9 * 4 + 12)


def test_tflite_depthwise_convolution() -> None:
    count = count_tflite(
        "DEPTHWISE_CONV_2D", (1, 10, 10, 8), (1, 10, 10, 8), ones(1, 3, 3, 8), ones(8)
    )
    assert (count.macs, count.parameters) == (100 * 8 * 9, 8 * 9 + 8)


def test_onnx_depthwise_convolution() -> None:
    count = count_onnx(
        [node("Conv", "w", group=8, pads=[1, 1, 1, 1])],
        ((1, 8, 10, 10), (1, 8, 10, 10)),
        w=ones(8, 1, 3, 3),
    )
    assert (count.macs, count.parameters) == (100 * 8 * 9, 8 * 9)


def test_tflite_transposed_convolution_multiplies_once_per_input_pixel() -> None:
    count = count_tflite(
        "TRANSPOSE_CONV",
        (1, 20, 20, 12),
        np.array([1, 20, 20, 12], np.int32),
        ones(12, 2, 2, 8),
        (1, 10, 10, 8),
    )
    assert (count.macs, count.parameters) == (100 * 8 * 4 * 12, 12 * 4 * 8)


def test_onnx_transposed_convolution_multiplies_once_per_input_pixel() -> None:
    count = count_onnx(
        [node("ConvTranspose", "w", strides=[2, 2])],
        ((1, 8, 10, 10), (1, 12, 20, 20)),
        w=ones(8, 12, 2, 2),
    )
    assert (count.macs, count.parameters) == (100 * 8 * 4 * 12, 12 * 4 * 8)


@pytest.mark.parametrize(("first", "transposed"), [((2, 5, 7), False), ((2, 7, 5), True)])
def test_tflite_matrix_product_of_computed_tensors(
    first: tuple[int, ...],
    *,
    transposed: bool,
) -> None:
    options = schema.BatchMatMulOptionsT(adjX=transposed)
    count = count_tflite("BATCH_MATMUL", (2, 5, 3), first, (2, 7, 3), options=options)
    assert (count.macs, count.parameters) == (2 * 5 * 3 * 7, 0)


def test_onnx_matrix_product_and_its_bias() -> None:
    nodes = [
        node("MatMul", "w", output="product"),
        helper.make_node("Add", ["product", "b"], ["logits"]),
    ]
    count = count_onnx(nodes, ((5, 7), (5, 3)), w=ones(7, 3), b=ones(3))
    assert (count.macs, count.parameters) == (5 * 3 * 7, 7 * 3 + 3)


def test_onnx_gemm_with_both_operands_transposed() -> None:
    count = count_onnx([node("Gemm", "w", transA=1, transB=1)], ((7, 5), (5, 3)), w=ones(3, 7))
    assert (count.macs, count.parameters) == (5 * 3 * 7, 3 * 7)


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_layers_are_the_operations_that_multiply_in_their_order(
    model_format: Format, tiny_tflite: bytes, tiny_onnx: bytes
) -> None:
    model = {"tflite": tiny_tflite, "onnx": tiny_onnx}[model_format]
    layers = count_graph(model, model_format).layers
    assert sum(layer.macs for layer in layers) == tiny_models.STRIPES_MACS
    assert "conv" in layers[0].operation.lower()
    assert all(layer.name and not layer.is_int8 for layer in layers)


# What is a parameter


def test_a_constant_is_counted_once_and_a_constant_node_like_an_initializer() -> None:
    weight = helper.make_tensor("w", 1, (4, 4), ones(16))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        node("MatMul", "w", output="half"),
        helper.make_node("MatMul", ["half", "w"], ["logits"]),
    ]
    count = count_onnx(nodes, ((1, 4), (1, 4)))
    assert (count.macs, count.parameters) == (2 * 16, 16)


def test_scalars_and_biases_of_zeros_are_no_parameters() -> None:
    nodes = [
        node("Sub", "mean", output="centred"),
        helper.make_node("Conv", ["centred", "w", "zeros"], ["logits"]),
    ]
    count = count_onnx(
        nodes, ((1, 2, 4, 4), (1, 3, 4, 4)), mean=ones(1), w=ones(3, 2, 1, 1), zeros=0 * ones(3)
    )
    assert count.parameters == 6
    tflite = count_tflite("CONV_2D", (1, 4, 4, 3), (1, 4, 4, 2), ones(3, 1, 1, 2), 0 * ones(3))
    assert tflite.parameters == 6


def test_batch_normalization_counts_as_folded_and_prelu_by_its_slopes() -> None:
    nodes = [
        node("BatchNormalization", "scale", "shift", "mean", "variance", output="normal"),
        helper.make_node("PRelu", ["normal", "slope"], ["logits"]),
    ]
    statistics = {name: ones(6) for name in ("scale", "shift", "mean", "variance")}
    shape = (1, 6, 4, 4)
    assert count_onnx(nodes, (shape, shape), slope=ones(6, 1, 1), **statistics).parameters == 18


def test_weights_behind_the_flatbuffer_are_found() -> None:
    graph = TfliteGraph()
    pixels, logits = graph.tensor((1, 4)), graph.tensor((1, 3))
    weights, bias = graph.constant(ones(3, 4)), graph.constant(ones(3))
    graph.add("FULLY_CONNECTED", (pixels, weights, bias), logits)
    for number in (weights, bias):
        buffer = graph.model.buffers[graph.tensors[number].buffer]
        buffer.size, buffer.offset, buffer.data = len(buffer.data), 1, None
    length = len(graph.pack(pixels, logits))
    for number, offset in ((weights, length), (bias, length + 48)):
        graph.model.buffers[graph.tensors[number].buffer].offset = offset
    model = graph.pack(pixels, logits)
    assert len(model) == length
    assert count_graph(model + ones(15).tobytes(), "tflite").parameters == 15
    # The bias is all zero: so it was read from where it lies.
    model += ones(12).tobytes() + bytes(12)
    assert count_graph(model, "tflite").parameters == 12


def test_onnx_with_an_open_batch_size_is_counted_for_one_image() -> None:
    count = count_onnx([node("Conv", "w")], (("n", 1, 4, 4), ("n", 2, 4, 4)), w=ones(2, 1, 1, 1))
    assert count.macs == 16 * 2


# Precision


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_eight_bit_convolutions_make_a_graph_int8(dtype: type) -> None:
    count = count_tflite("CONV_2D", (1, 4, 4, 3), (1, 4, 4, 2), ones(3, 1, 1, 2, dtype=dtype))
    assert count.precision == "int8"


@pytest.mark.parametrize(
    ("int8_layers", "text"),
    [
        ((True, True, True), "int8"),
        ((True, False, True), "int8, 1 layer float32"),
        ((True, False, False), "int8, 2 layers float32"),
        ((False, False, False), "float32"),
    ],
)
def test_layers_that_are_float_beside_int8_ones_are_counted(
    int8_layers: tuple[bool, ...], text: str
) -> None:
    kinds = [np.int8 if is_int8 else np.float32 for is_int8 in int8_layers]
    graph = TfliteGraph()
    tensors = [graph.tensor((1, 4, 4, 1)) for _ in (*kinds, "logits")]
    nodes, constants = [], {"scale": np.array(1, np.float32)}
    for i, kind in enumerate(kinds):
        weights = [tensors[i], graph.constant(ones(1, 1, 1, 1, dtype=kind))]
        graph.add("CONV_2D", weights, tensors[i + 1], None)
        constants[f"w{i}"] = ones(1, 1, 1, 1, dtype=kind)
        weight = f"w{i}"
        if kind is np.int8:
            nodes.append(helper.make_node("DequantizeLinear", [weight, "scale"], [f"d{i}"]))
            weight = f"d{i}"
        before = "pixels" if i == 0 else f"t{i}"
        after = "logits" if i == len(kinds) - 1 else f"t{i + 1}"
        nodes.append(helper.make_node("Conv", [before, weight], [after]))
    counts = (
        count_graph(graph.pack(tensors[0], tensors[-1]), "tflite"),
        count_onnx(nodes, ((1, 1, 4, 4), (1, 1, 4, 4)), **constants),
    )
    assert [count.precision_text for count in counts] == [text, text]


def test_a_quantized_onnx_graph_counts_like_the_float_one(tmp_path: Path, tiny_onnx: bytes) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    (tmp_path / "float.onnx").write_bytes(tiny_onnx)
    pictures = iter([{"pixels": ones(1, 1, 8, 8)}, None])

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(pictures)

    quantization.quantize_static(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", Reader(), per_channel=True
    )
    count = count_graph((tmp_path / "int8.onnx").read_bytes(), "onnx")
    assert count == GraphCount(
        parameters=tiny_models.STRIPES_PARAMETERS,
        macs=tiny_models.STRIPES_MACS,
        precision="int8",
    )


# Errors


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
@pytest.mark.parametrize("model", [b"not a model at all", bytes(64)])
def test_what_is_no_graph_is_refused(model: bytes, model_format: Format) -> None:
    with pytest.raises(BundleError, match=rf"sign has no {model_format} graph to count"):
        count_graph(model, model_format, name="sign")


def test_an_open_picture_size_is_refused() -> None:
    with pytest.raises(BundleError, match="does not fix the shape of its tensor"):
        count_onnx([node("Conv", "w")], ((1, 1, "h", 4), (1, 2, "h", 4)), w=ones(2, 1, 1, 1))


def test_a_missing_onnx_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, tiny_onnx: bytes
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'leansight\[bench\]'"):
        count_graph(tiny_onnx, "onnx")


# A real network


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the converters' own
def test_both_exports_of_a_real_network_count_what_torch_counts(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    litert_torch = pytest.importorskip("litert_torch")
    from torch.utils.flop_counter import FlopCounterMode

    class Block(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.depthwise = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
            self.norm = torch.nn.BatchNorm2d(8)
            self.pointwise = torch.nn.Conv2d(8, 8, 1)

        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            y = torch.nn.functional.hardswish(self.norm(self.depthwise(x)))
            return x + self.pointwise(y)

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        Block(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 5),
    ).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    picture = torch.randn(1, 3, 32, 32)
    with FlopCounterMode(display=False) as flops:
        network(picture)
    torch.onnx.export(network, (picture,), tmp_path / "model.onnx", dynamo=False)
    litert_torch.convert(network, (picture,)).export(str(tmp_path / "model.tflite"))

    # Folded into the convolution, a batch normalisation leaves one bias a channel.
    parameters = sum(p.numel() for p in network.parameters()) - 8
    expected = GraphCount(
        parameters=parameters, macs=flops.get_total_flops() // 2, precision="float32"
    )
    for suffix in ("onnx", "tflite"):
        model = (tmp_path / f"model.{suffix}").read_bytes()
        assert count_graph(model, suffix) == expected, suffix  # type: ignore[arg-type]
