"""Int8 files that do not compute in integers are refused, with the layer's name."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import tiny_models
from ai_edge_litert import schema_py_generated as schema
from onnx import helper, numpy_helper
from torch import fx, nn

from leansight.exporters.conversion.convert import FloatGraphs
from leansight.exporters.errors import ConversionError
from leansight.exporters.int8 import calibrated_network
from leansight.exporters.int8.calibrated_network import CalibratedNetwork
from leansight.exporters.int8.ranges import INPUT_RANGE, Range
from leansight.exporters.options import Target
from leansight.exporters.packaging.metadata import describe
from leansight.exporters.tflite.file import pack, unpack
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.exporters.tflite.shared_grids import SharedGrids
from leansight.exporters.verification.float_layers import inspect_onnx, inspect_tflite
from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Preprocessing

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")

# Of the network in tiny_models: pixels, what the filters give, their means, the logits.
PIXELS, STEPS, MEANS, LOGITS = "pixels", "steps", "means", "logits"
FILTERS, FILTER_BIAS = "filters", "filter bias"
NAMES = (PIXELS, STEPS, MEANS, LOGITS, FILTERS, FILTER_BIAS, "axes", "weights", "bias")


def float_tflite() -> bytes:
    """Return the tiny network, its tensors named."""
    model = unpack(tiny_models.stripes_tflite())
    for name, tensor in zip(NAMES, model.subgraphs[0].tensors, strict=True):
        tensor.name = name.encode()
    return pack(model)


@pytest.fixture(scope="module")
def calibrated() -> CalibratedNetwork:
    """The tiny network: 4 filters of 3×3 with ReLU, their means, a dense layer."""
    nothing = fx.symbolic_trace(nn.Identity())
    floats = FloatGraphs(tflite=float_tflite(), onnx=tiny_models.stripes_onnx(), folded=nothing)
    graph = TfliteGraph(floats.tflite)
    positive, any_sign = Range(low=0.0, high=300.0), Range(low=-100.0, high=300.0)
    return CalibratedNetwork(
        exact=nothing,
        floats=floats,
        graph=graph,
        grids=SharedGrids.of(graph),
        nodes={},
        ranges={graph.input: INPUT_RANGE, STEPS: positive, MEANS: positive, LOGITS: any_sign},
        pixels=np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8),
        target="x86",
    )


@pytest.fixture(scope="module")
def files(calibrated: CalibratedNetwork) -> Mapping[Format, bytes]:
    return calibrated.write()


@pytest.fixture
def tflite(files: Mapping[Format, bytes]) -> Any:  # noqa: ANN401 -- flatbuffers has no types
    return unpack(files["tflite"])


@pytest.fixture
def qdq(files: Mapping[Format, bytes]) -> onnx.ModelProto:
    return onnx.load_from_string(files["onnx"])


# TFLite


def index(model: Any, name: str) -> int:  # noqa: ANN401 -- as above
    (found,) = [i for i, t in enumerate(model.subgraphs[0].tensors) if t.name == name.encode()]
    return int(found)


def tensor(model: Any, name: str) -> Any:  # noqa: ANN401 -- as above
    return model.subgraphs[0].tensors[index(model, name)]


def like(model: Any, name: str, new: str, *, kind: int | None = None) -> int:  # noqa: ANN401 -- as above
    """Add a tensor of the shape, type and grid of another; of another type it has no grid."""
    old = tensor(model, name)
    made = schema.TensorT(shape=list(old.shape), type=old.type, name=new.encode())
    made.quantization = old.quantization
    if kind is not None:
        made.type, made.quantization = kind, None
    model.subgraphs[0].tensors.append(made)
    return len(model.subgraphs[0].tensors) - 1


def operator(model: Any, kind: str, inputs: list[int], output: int) -> Any:  # noqa: ANN401 -- as above
    code = getattr(schema.BuiltinOperator, kind)
    entry = schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=1)
    model.operatorCodes.append(entry)
    number = len(model.operatorCodes) - 1
    return schema.OperatorT(opcodeIndex=number, inputs=inputs, outputs=[output])


def insert(model: Any, after: str, *kinds: tuple[str, str, int | None]) -> None:  # noqa: ANN401 -- as above
    """Put operators (kind, what they give, of which type) between a tensor and its readers."""
    graph, source = model.subgraphs[0], index(model, after)
    readers = [op for op in graph.operators if source in op.inputs]
    place = graph.operators.index(readers[0])
    last = source
    for offset, (kind, name, dtype) in enumerate(kinds):
        made = like(model, after, name, kind=dtype)
        graph.operators.insert(place + offset, operator(model, kind, [last], made))
        last = made
    for op in readers:
        op.inputs = [last if i == source else int(i) for i in op.inputs]


def one_scale(model: Any) -> None:  # noqa: ANN401 -- as above
    quantization = tensor(model, FILTERS).quantization
    quantization.scale, quantization.zeroPoint = quantization.scale[:1], [0]


def other_axis(model: Any) -> None:  # noqa: ANN401 -- as above
    tensor(model, FILTERS).quantization.quantizedDimension = 3


def not_symmetric(model: Any) -> None:  # noqa: ANN401 -- as above
    tensor(model, FILTERS).quantization.zeroPoint = [0, 0, 3, 0]


def short_bias(model: Any) -> None:  # noqa: ANN401 -- as above
    tensor(model, FILTER_BIAS).type = schema.TensorType.INT16


def dense_with_one_scale(model: Any) -> None:  # noqa: ANN401 -- as above
    quantization = tensor(model, "weights").quantization
    quantization.scale, quantization.zeroPoint = quantization.scale[:1], [0]


def float_between(model: Any) -> None:  # noqa: ANN401 -- as above
    float32 = schema.TensorType.FLOAT32
    insert(model, STEPS, ("DEQUANTIZE", "real", float32), ("ABS", "size", float32),
           ("QUANTIZE", "again", None))  # fmt: skip


def without_scale(model: Any) -> None:  # noqa: ANN401 -- as above
    tensor(model, STEPS).quantization = None


def two_scales(model: Any) -> None:  # noqa: ANN401 -- as above
    tensor(model, STEPS).quantization.scale = [0.5, 0.25]


def whole_numbers(model: Any) -> None:  # noqa: ANN401 -- as above
    insert(model, STEPS, ("CAST", "numbers", schema.TensorType.INT32))


TFLITE = {
    "per tensor": (one_scale, "CONV_2D steps has 1 scales for weights of 4 channels"),
    "another axis": (other_axis, "CONV_2D steps has 4 scales for weights of 4 channels, not one"),
    "not symmetric": (not_symmetric, "CONV_2D steps has weights that are not symmetric int8"),
    "bias": (short_bias, r"CONV_2D steps has a bias that is not int32 \(int16\)"),
    "dense": (dense_with_one_scale, "FULLY_CONNECTED logits has 1 scales for weights of 3"),
    "float between": (float_between, r"ABS size computes in float \(real\)"),
    "no scale": (without_scale, r"CONV_2D steps has no scales for steps \(int8\)"),
    "two scales": (two_scales, r"CONV_2D steps has 2 scales for steps \(int8\)"),
    "no grid": (whole_numbers, r"CAST numbers has no scales for numbers \(int32\)"),
}


@pytest.mark.parametrize("name", TFLITE)
def test_a_tampered_tflite_file_is_refused_with_the_layers_name(name: str, tflite: Any) -> None:  # noqa: ANN401 -- as above
    tamper, message = TFLITE[name]
    inspect_tflite(pack(tflite))
    tamper(tflite)
    with pytest.raises(ConversionError, match=rf"^TFLite's {message}.*in float32 only$"):
        inspect_tflite(pack(tflite))


def test_tflites_float_file_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"^TFLite's CONV_2D steps computes in float \(pix"):
        inspect_tflite(float_tflite())


def test_a_named_activation_may_be_float_in_tflite(tflite: Any) -> None:  # noqa: ANN401 -- as above
    float_between(tflite)
    inspect_tflite(pack(tflite), in_float=["size"])
    with pytest.raises(ConversionError, match="ABS size computes in float"):
        inspect_tflite(pack(tflite), in_float=["means"])


def test_tflite_may_put_axes_in_another_order(tflite: Any) -> None:  # noqa: ANN401 -- as above
    insert(tflite, STEPS, ("TRANSPOSE", "turned", None))
    inspect_tflite(pack(tflite))


# ONNX


def node(model: onnx.ModelProto, kind: str, source: str | None = None) -> onnx.NodeProto:
    nodes = [n for n in model.graph.node if n.op_type == kind and source in (None, n.input[0])]
    return nodes[0]


def set_constant(model: onnx.ModelProto, name: str, values: object) -> None:
    (found,) = [i for i in model.graph.initializer if i.name == name]
    dtype = numpy_helper.to_array(found).dtype
    found.CopyFrom(numpy_helper.from_array(np.asarray(values, dtype), name))


def weights_of(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    """Return the DequantizeLinear of a layer's weights."""
    name = node(model, kind).input[1]
    (found,) = [n for n in model.graph.node if name in n.output]
    return found


def per_tensor(kind: str) -> Callable[[onnx.ModelProto], None]:
    def tamper(model: onnx.ModelProto) -> None:
        cast = weights_of(model, kind)
        set_constant(model, cast.input[1], 0.01)
        set_constant(model, cast.input[2], 0)

    return tamper


def shifted_weights(model: onnx.ModelProto) -> None:
    set_constant(model, weights_of(model, "Conv").input[2], [0, 0, 1, 0])


def float_weights(model: onnx.ModelProto) -> None:
    cast = weights_of(model, "Conv")
    model.graph.node.remove(cast)
    values = np.ones((4, 1, 3, 3), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, cast.output[0]))


def float_bias(model: onnx.ModelProto) -> None:
    name = node(model, "Conv").input[2]
    (cast,) = [n for n in model.graph.node if name in n.output]
    model.graph.node.remove(cast)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), name))


def abs_between(model: onnx.ModelProto) -> None:
    """Let the means be taken of sizes that nobody rounds."""
    pool = node(model, "GlobalAveragePool")
    made = helper.make_node("Abs", [pool.input[0]], ["size"], name="the_size")
    pool.input[0] = "size"
    model.graph.node.insert(list(model.graph.node).index(pool), made)


def without_pair(model: onnx.ModelProto) -> None:
    """Hand on what the filters give as it is."""
    pool, filters = node(model, "GlobalAveragePool"), node(model, "Conv")
    pool.input[0] = filters.output[0]


def insert_transpose(model: onnx.ModelProto) -> None:
    """Turn the axes of what the pooling takes, on its own grid."""
    pool = node(model, "GlobalAveragePool")
    (cast,) = [n for n in model.graph.node if pool.input[0] in n.output]
    source = pool.input[0]
    turn = helper.make_node("Transpose", [source], ["turned"], name="turn", perm=[0, 1, 3, 2])
    down = helper.make_node("QuantizeLinear", ["turned", *cast.input[1:]], ["turned_integer"])
    up = helper.make_node("DequantizeLinear", ["turned_integer", *cast.input[1:]], ["turned_real"])
    place = list(model.graph.node).index(pool)
    for offset, made in enumerate((turn, down, up)):
        model.graph.node.insert(place + offset, made)
    node(model, "GlobalAveragePool").input[0] = "turned_real"


def scale_each(model: onnx.ModelProto) -> None:
    cast = node(model, "QuantizeLinear", node(model, "Conv").output[0])
    set_constant(model, cast.input[1], [0.5] * 4)


def no_scale(model: onnx.ModelProto) -> None:
    """Let the scale be computed instead of stored."""
    cast = node(model, "QuantizeLinear", node(model, "Conv").output[0])
    cast.input[1] = "computed"


def integers_without_scale(model: onnx.ModelProto) -> None:
    pool = node(model, "GlobalAveragePool")
    (cast,) = [n for n in model.graph.node if pool.input[0] in n.output]
    pool.input[0] = cast.input[0]


def float_constant(model: onnx.ModelProto) -> None:
    pool = node(model, "GlobalAveragePool")
    made = helper.make_node("Mul", [pool.input[0], "half"], ["size"], name="halved")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "half"))
    model.graph.node.insert(list(model.graph.node).index(pool), made)
    node(model, "GlobalAveragePool").input[0] = "size"


def float_logits(model: onnx.ModelProto) -> None:
    dense = node(model, "Gemm")
    model.graph.output[0].name = dense.output[0]


ONNX: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "per tensor": (per_tensor("Conv"), "Conv positive_exact has 1 scales for weights of 4 ch"),
    "not symmetric": (shifted_weights, "Conv positive_exact has weights that are not symmetric"),
    "float weights": (float_weights, r"Conv positive_exact has weights .* int8 \(float32\)"),
    "float bias": (float_bias, r"Conv positive_exact has a bias that is not int32 \(float32\)"),
    "dense": (per_tensor("Gemm"), "Gemm logits_exact has 1 scales for weights of 3 channels"),
    "float between": (abs_between, r"Abs the_size computes in float \(size\)"),
    "no rounding": (without_pair, r"Conv positive_exact computes in float \(positive_exact\)"),
    "scales": (scale_each, r"Conv positive_exact has 4 scales for positive_exact \(uint8\)"),
    "no scale": (no_scale, "Conv positive_exact has no scales for positive_exact"),
    "integers": (integers_without_scale, r"GlobalAveragePool \w+ has no scales for positive_int"),
    "float constant": (float_constant, r"Mul halved computes in float \(half\)"),
    "float logits": (float_logits, r"Gemm logits_exact computes in float \(logits_exact\)"),
}


@pytest.mark.parametrize("name", ONNX)
def test_a_tampered_onnx_file_is_refused_with_the_layers_name(
    name: str, qdq: onnx.ModelProto
) -> None:
    tamper, message = ONNX[name]
    inspect_onnx(qdq.SerializeToString())
    tamper(qdq)
    with pytest.raises(ConversionError, match=rf"^ONNX's {message}.*in float32 only$"):
        inspect_onnx(qdq.SerializeToString())


def test_onnxs_float_file_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"^ONNX's Conv steps computes in float \(pixels\)"):
        inspect_onnx(tiny_models.stripes_onnx())


def test_a_named_activation_may_be_float_in_onnx(qdq: onnx.ModelProto) -> None:
    abs_between(qdq)
    inspect_onnx(qdq.SerializeToString(), in_float=["size"])
    with pytest.raises(ConversionError, match="Abs the_size computes in float"):
        inspect_onnx(qdq.SerializeToString(), in_float=["positive"])


def test_onnx_may_put_axes_in_another_order(qdq: onnx.ModelProto) -> None:
    insert_transpose(qdq)
    inspect_onnx(qdq.SerializeToString())


def test_a_named_layer_may_be_float_between_integers_in_onnx(qdq: onnx.ModelProto) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(qdq)
    weights_of(model, "Gemm").output[0] = "unused"
    values = np.ones((3, 4), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, node(model, "Gemm").input[1]))
    with pytest.raises(ConversionError, match="Gemm logits_exact has weights"):
        inspect_onnx(model.SerializeToString())
    inspect_onnx(model.SerializeToString(), in_float=["logits"])


# Where files are made


def test_honest_files_pass_as_they_are_shipped(calibrated: CalibratedNetwork) -> None:
    bundle = Bundle(
        path=Path("stripes.bundle"),
        name="stripes",
        labels=tiny_models.LABELS,
        preprocessing=Preprocessing(size=8, colour="gray"),
        decision=DecisionPolicy(),
        precision="int8",
    )
    for target in get_args(Target):
        files = describe(replace(calibrated, target=target).write(), bundle)
        inspect_tflite(files["tflite"])
        inspect_onnx(files["onnx"])


def test_layers_that_were_asked_for_in_float_are_made(calibrated: CalibratedNetwork) -> None:
    files = calibrated.write(in_float={LOGITS})
    with pytest.raises(ConversionError, match="FULLY_CONNECTED logits computes in float"):
        inspect_tflite(files["tflite"])
    with pytest.raises(ConversionError, match=r"ONNX's Gemm logits computes in float"):
        inspect_onnx(files["onnx"])


def test_no_files_come_of_what_is_refused(
    calibrated: CalibratedNetwork, files: Mapping[Format, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load_from_string(files["onnx"])
    abs_between(model)
    bad = unpack(files["tflite"])
    one_scale(bad)
    with monkeypatch.context() as patch:
        patch.setattr(
            calibrated_network, "quantize_onnx", lambda *_, **__: model.SerializeToString()
        )
        with pytest.raises(ConversionError, match="ONNX's Abs the_size computes in float"):
            calibrated.write()
    monkeypatch.setattr(calibrated_network, "quantize_tflite", lambda *_: pack(bad))
    with pytest.raises(ConversionError, match="CONV_2D steps has 1 scales"):
        calibrated.write()
