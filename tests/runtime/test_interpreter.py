import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from leansight.runtime.errors import BundleError, MissingExtraError
from leansight.runtime.interpreter import Format, load_interpreter, model_format

FORMATS: list[Format] = ["tflite", "onnx"]
WEIGHTS = np.array([[3, -2, 5, 1], [-1, 4, 2, -3], [7, 0, -5, 2]], np.int8)
WEIGHT_SCALE = 0.5
# Every value of a pixel, in four batches of (1, 8, 8, 1).
ALL_PIXELS = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8, 1)


def stripes_by_numpy(batch: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The network of tiny_models from its definition: 3 × 3 windows, ReLU, mean, dense layer."""
    pixels = (batch[0, ..., 0].astype(np.float64) - 128) / 128
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3))
    steps = np.einsum("yxij,oij->yxo", windows, tiny_models.FILTERS[..., 0])
    means = np.maximum(steps + tiny_models.FILTER_BIAS, 0).mean((0, 1))
    return tiny_models.WEIGHTS @ means + tiny_models.BIAS


def int8_tflite(output: int = schema.TensorType.INT8) -> bytes:
    """(1, 2, 2, 1) int8 pixels -> a dense layer -> 3 logits as int8 with scale and zero point."""
    graph = tiny_models.TfliteGraph()
    pixels, logits = (
        graph.tensor((1, 2, 2, 1), schema.TensorType.INT8),
        graph.tensor((1, 3), output),
    )
    weights = graph.constant(WEIGHTS)
    bias = graph.constant(np.array([10, -20, 30], np.int32))
    for tensor, scale, zero in (
        (pixels, 1 / 128, 0),
        (weights, WEIGHT_SCALE, 0),
        (bias, WEIGHT_SCALE / 128, 0),
        (logits, 0.25, -7),
    ):
        graph.tensors[tensor].quantization = schema.QuantizationParametersT(
            scale=np.array([scale], np.float32), zeroPoint=np.array([zero], np.int64)
        )
    options = schema.FullyConnectedOptionsT()
    graph.add("FULLY_CONNECTED", (pixels, weights, bias), logits, options)
    return graph.pack(pixels, logits)


def passing_onnx(kind: int, shape: tuple[int | str, ...] = (1, 2, 2, 1)) -> bytes:
    """A graph that returns its input, cast to float32."""
    return onnx_file(
        [
            helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["values"], ["logits"]),
        ],
        [helper.make_tensor_value_info("pixels", kind, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
    )


def onnx_file(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any] | None = None
) -> bytes:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Let these modules be missing, whether they are installed or not."""
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


# What a model computes


@pytest.fixture(scope="module")
def models(tiny_tflite: bytes, tiny_onnx: bytes) -> dict[Format, bytes]:
    return {"tflite": tiny_tflite, "onnx": tiny_onnx}


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("label", tiny_models.LABELS)
def test_float_logits_are_those_of_numpy(
    models: dict[Format, bytes], wanted: Format, threads: int, label: str
) -> None:
    interpreter = load_interpreter(models[wanted], wanted, threads=threads)
    batch = tiny_models.stripes(label).reshape(1, 8, 8, 1)
    logits = interpreter(batch)
    assert (logits.shape, logits.dtype) == ((3,), np.float32)
    assert logits == pytest.approx(stripes_by_numpy(batch), rel=1e-4, abs=1e-4)
    assert tiny_models.LABELS[int(logits.argmax())] == label


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_both_formats_agree_on_noise(models: dict[Format, bytes], seed: int) -> None:
    batch = np.random.default_rng(seed).integers(0, 256, (1, 8, 8, 1), np.uint8)
    for wanted in FORMATS:
        logits = load_interpreter(models[wanted], wanted)(batch)
        assert logits == pytest.approx(stripes_by_numpy(batch), rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("wanted", FORMATS)
def test_a_later_call_leaves_earlier_logits_alone(
    models: dict[Format, bytes], wanted: Format
) -> None:
    interpreter = load_interpreter(models[wanted], wanted)
    first = interpreter(tiny_models.stripes("level").reshape(1, 8, 8, 1))
    kept = first.copy()
    interpreter(tiny_models.stripes("upright").reshape(1, 8, 8, 1))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TensorProto.UINT8, lambda pixels: pixels),
        (TensorProto.INT8, lambda pixels: pixels - 128),
        (TensorProto.FLOAT, lambda pixels: (pixels - 128) / 128),
    ],
)
def test_an_onnx_model_gets_pixels_as_its_input_type_says(kind: int, expected: Any) -> None:  # noqa: ANN401 -- a function of an array
    interpreter = load_interpreter(passing_onnx(kind, (1, 8, 8, 1)), "onnx")
    for batch in ALL_PIXELS:
        pixels = batch.reshape(-1).astype(np.float64)
        assert np.array_equal(interpreter(batch), expected(pixels))


def test_an_int8_tflite_model_gets_pixels_minus_128_and_gives_logits() -> None:
    interpreter = load_interpreter(int8_tflite(), "tflite")
    batch = np.array([0, 127, 128, 255], np.uint8).reshape(1, 2, 2, 1)
    inputs = np.array([-128, -1, 0, 127]) / 128
    exact = WEIGHT_SCALE * WEIGHTS @ inputs + WEIGHT_SCALE / 128 * np.array([10, -20, 30])
    logits = interpreter(batch)
    assert logits.dtype == np.float32
    assert np.abs(logits - exact).max() <= 0.25 / 2 + 1e-6  # half a step of the output
    assert np.array_equal(logits / 0.25, np.round(logits / 0.25))


def test_a_qdq_onnx_model_with_uint8_pixels_computes_as_numpy() -> None:
    scalars = {"in_scale": np.float32(1 / 128), "in_zero": np.uint8(128)}
    weights = {
        "quantized": WEIGHTS,
        "weight_scale": np.float32(WEIGHT_SCALE),
        "weight_zero": np.int8(0),
    }
    model = onnx_file(
        [
            helper.make_node("DequantizeLinear", ["pixels", "in_scale", "in_zero"], ["values"]),
            helper.make_node("Flatten", ["values"], ["flat"]),
            helper.make_node(
                "DequantizeLinear", ["quantized", "weight_scale", "weight_zero"], ["weights"]
            ),
            helper.make_node("Gemm", ["flat", "weights"], ["logits"], transB=1),
        ],
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, (1, 2, 2, 1))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 3))],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in {**scalars, **weights}.items()],
    )
    interpreter = load_interpreter(model, "onnx")
    batch = np.array([3, 130, 128, 255], np.uint8).reshape(1, 2, 2, 1)
    exact = WEIGHT_SCALE * WEIGHTS @ ((batch.reshape(-1).astype(float) - 128) / 128)
    assert interpreter(batch) == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 1, 4, 6), (1, 4, 6, 1)),
        ((1, 3, 4, 6), (1, 4, 6, 3)),
        ((1, 4, 6, 3), (1, 4, 6, 3)),
        (("batch", 3, 4, 6), (1, 4, 6, 3)),
    ],
)
def test_onnx_takes_channels_first_or_last(
    shape: tuple[int | str, ...], expected: tuple[int, ...]
) -> None:
    interpreter = load_interpreter(passing_onnx(TensorProto.UINT8, shape), "onnx")
    assert interpreter.input_shape == expected
    batch = np.arange(np.prod(expected), dtype=np.uint8).reshape(expected)
    channels_first = shape[1] in {1, 3}
    inside = batch.transpose(0, 3, 1, 2) if channels_first else batch
    assert np.array_equal(interpreter(batch), inside.reshape(-1))


# What is refused


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_than_one_thread_is_refused(
    models: dict[Format, bytes], wanted: Format, threads: int
) -> None:
    with pytest.raises(ValueError, match=f"threads must be 1 or more, not {threads}"):
        load_interpreter(models[wanted], wanted, threads=threads)


@pytest.mark.parametrize("wanted", FORMATS)
def test_an_empty_file_is_refused(wanted: Format) -> None:
    with pytest.raises(BundleError, match=r"^model.x of y is empty: copy the file again$"):
        load_interpreter(b"", wanted, name="model.x of y")


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_model_is_refused(
    models: dict[Format, bytes], wanted: Format, share: float
) -> None:
    model = models[wanted][: max(1, int(share * len(models[wanted])))]
    with pytest.raises(BundleError, match=r"^model.x of y is not an? (TFLite|ONNX) model that can"):
        load_interpreter(model, wanted, name="model.x of y")


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("text", [b"hello, this is no model" * 9, b"<!DOCTYPE html>", bytes(99)])
def test_something_else_is_refused(wanted: Format, text: bytes) -> None:
    with pytest.raises(BundleError, match=r"is not an? (TFLite|ONNX) model|inputs|shape"):
        load_interpreter(text, wanted)


def test_a_model_of_the_other_format_is_refused(models: dict[Format, bytes]) -> None:
    with pytest.raises(BundleError, match="is not a TFLite model that can run"):
        load_interpreter(models["onnx"], "tflite")
    with pytest.raises(BundleError, match="is not an ONNX model that can run"):
        load_interpreter(models["tflite"], "onnx")


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 8, 9, 1), np.uint8),
        np.zeros((2, 8, 8, 1), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((1, 1, 8, 8), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((1, 8, 8, 1), np.float32),
        np.zeros((1, 8, 8, 1), np.int8),
    ],
)
def test_another_batch_is_refused(
    models: dict[Format, bytes], wanted: Format, batch: NDArray[Any]
) -> None:
    interpreter = load_interpreter(models[wanted], wanted)
    with pytest.raises(ValueError, match=r"expected a batch of \(1, 8, 8, 1\) uint8, not \("):
        interpreter(batch)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 64), r"takes an input of shape \(1, 64\), not one image"),
        ((1, 3, "height", "width"), "not one image of a fixed size"),
    ],
)
def test_a_model_that_takes_no_image_is_refused(shape: tuple[int | str, ...], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        load_interpreter(passing_onnx(TensorProto.FLOAT, shape), "onnx")


def test_an_onnx_model_of_a_larger_batch_takes_that_batch() -> None:
    model = passing_onnx(TensorProto.UINT8, (2, 4, 6, 3))
    assert load_interpreter(model, "onnx").input_shape == (2, 4, 6, 3)


def test_other_pixel_types_are_refused() -> None:
    with pytest.raises(BundleError, match=r"takes double pixels; expected uint8, int8 or float32"):
        load_interpreter(passing_onnx(TensorProto.DOUBLE), "onnx")
    graph = tiny_models.TfliteGraph()
    pixels = graph.tensor((1, 2, 2, 1), schema.TensorType.INT32)
    doubled = graph.tensor((1, 2, 2, 1), schema.TensorType.INT32)
    graph.add("ADD", (pixels, pixels), doubled, schema.AddOptionsT())
    with pytest.raises(BundleError, match=r"takes int32 pixels; expected uint8, int8 or float32"):
        load_interpreter(graph.pack(pixels, doubled), "tflite")


def test_an_onnx_model_with_two_inputs_or_outputs_is_refused() -> None:
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 2, 2, 1)) for n in "abcd"]
    two_inputs = onnx_file([helper.make_node("Add", ["a", "b"], ["c"])], info[:2], info[2:3])
    with pytest.raises(BundleError, match="has 2 inputs; expected one image in, logits out"):
        load_interpreter(two_inputs, "onnx")
    nodes = [helper.make_node("Relu", ["a"], ["c"]), helper.make_node("Neg", ["a"], ["d"])]
    with pytest.raises(BundleError, match="has 2 outputs; expected one image in, logits out"):
        load_interpreter(onnx_file(nodes, info[:1], info[2:]), "onnx")


def test_a_tflite_model_with_two_inputs_is_refused() -> None:
    graph = tiny_models.TfliteGraph()
    first, second, total = (graph.tensor((1, 2, 2, 1)) for _ in range(3))
    graph.add("ADD", (first, second), total, schema.AddOptionsT())
    graph.pack(first, total)
    graph.model.subgraphs[0].inputs = [first, second]
    builder = tiny_models.flatbuffers.Builder(1 << 12)
    builder.Finish(graph.model.Pack(builder), b"TFL3")
    with pytest.raises(BundleError, match="has 2 inputs; expected one image in, logits out"):
        load_interpreter(bytes(builder.Output()), "tflite")


# What is not installed


def test_without_a_tflite_interpreter_the_line_to_type_is_named(
    tiny_tflite: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = ("ai_edge_litert", "tflite_runtime", "tensorflow.lite.python")
    without(monkeypatch, *(f"{module}.interpreter" for module in modules))
    line = r"^LiteRT is not installed. Type: pip install 'leansight\[litert\]'$"
    with pytest.raises(MissingExtraError, match=line):
        load_interpreter(tiny_tflite, "tflite")


def test_without_onnxruntime_the_line_to_type_is_named(
    tiny_onnx: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "onnxruntime")
    # Debian has it from trixie on, whose Python is 3.13.
    apt = (
        r", or: sudo apt install python3-onnxruntime \(.*\)" if sys.version_info >= (3, 13) else ""
    )
    line = rf"^ONNX Runtime is not installed. Type: pip install 'leansight\[onnx\]'{apt}$"
    with pytest.raises(MissingExtraError, match=line):
        load_interpreter(tiny_onnx, "onnx")


@pytest.mark.parametrize("present", ["tflite_runtime.interpreter"])
def test_an_older_tflite_interpreter_serves_where_litert_is_missing(
    tiny_tflite: bytes, monkeypatch: pytest.MonkeyPatch, present: str
) -> None:
    import ai_edge_litert.interpreter as litert

    without(monkeypatch, "ai_edge_litert.interpreter")
    monkeypatch.setitem(sys.modules, present, litert)
    batch = tiny_models.stripes("level").reshape(1, 8, 8, 1)
    logits = load_interpreter(tiny_tflite, "tflite")(batch)
    assert tiny_models.LABELS[int(logits.argmax())] == "level"


# Names


def test_a_suffix_names_the_format() -> None:
    assert model_format(Path("a/b.tflite")) == "tflite"
    assert model_format(Path("model.v2.onnx")) == "onnx"


@pytest.mark.parametrize("name", ["model.pt", "model", "model.onnx.zip", "onnx"])
def test_another_suffix_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match=r"is neither a bundle nor a .tflite or .onnx file"):
        model_format(Path(name))
