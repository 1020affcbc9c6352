import math
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tiny_models
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from residual_network import PREPROCESSING, exact
from torch import nn
from trained_networks import ignore

from leansight.exporters.conversion.convert import convert
from leansight.exporters.int8.calibrated_network import CalibratedNetwork, calibrate_network
from leansight.exporters.int8.ranges import Range
from leansight.exporters.int8.rounding_ties import (
    MOST_FINER,
    MOST_MULTIPLE,
    MOST_WIDENED,
    _quotient_widening,
    avoid_ties,
    odd_multiples,
)
from leansight.exporters.tflite.file import pack
from leansight.exporters.tflite.graph import Operator, TfliteGraph
from leansight.exporters.tflite.shared_grids import SharedGrids
from leansight.runtime.preprocessing import Preprocessing

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.mark.slow
def test_what_is_measured_is_of_all_images(found: CalibratedNetwork) -> None:
    pixels, logits = found.evaluation_set
    assert len(pixels) == 32
    np.testing.assert_array_equal(pixels[[0, -1]], found.pixels[[0, -1]])
    torch.testing.assert_close(logits[-1], exact(found)[-1], rtol=1e-4, atol=1e-4)
    held_back, logits = found.held_out_set
    assert len(held_back) == len(logits) == 60 - 32
    assert not {p.tobytes() for p in pixels} & {p.tobytes() for p in held_back}
    few = replace(found, pixels=found.pixels[:32])
    np.testing.assert_array_equal(few.held_out_set[0], few.evaluation_set[0])


def test_what_an_activation_takes_is_not_on_its_grid() -> None:
    """Even where the images by which tensors are paired show no difference between the two."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 8, 3, 2, 1, bias=False)
    nn.init.dirac_(convolution.weight)  # the picture as it comes: from -1 to 1
    network = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 12**2, 3))
    pixels = np.full((8, 24, 24, 1), 255, np.uint8)
    pixels[4:] = 0
    found = calibrate_network(convert(network, PREPROCESSING), pixels, ignore)
    layer = next(op for op in found.graph.operators if "CONV_2D" in op.kind)
    assert found.ranges[layer.outputs[0]] == Range(low=0.0, high=127 / 128)


TIED = (0.00735046248883009, 0.0037945988588035107)  # steps of a Swin-T, whose formats parted


@pytest.fixture(scope="module")
def with_gelu() -> TfliteGraph:
    layers = (nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1))
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 2)).eval()
    torch.manual_seed(0)
    return TfliteGraph(convert(network, Preprocessing(size=16)).tflite)


def nearest_tie(taken: float, made: float) -> float:
    """Return how near GELU comes to the middle of two levels, in levels."""
    apart = []
    for step in range(-255, 256):
        x = step * taken
        level = x * (1 + math.erf(x / math.sqrt(2))) / 2 / made
        if abs(level) <= 255:
            apart.append(abs(level - math.floor(level) - 0.5))
    return min(apart)


step_sizes = st.floats(1e-4, 1.0)


@settings(max_examples=60, deadline=None)
@given(steps=st.just(TIED) | st.tuples(step_sizes, step_sizes))
def test_no_entry_of_a_gelu_is_near_a_tie(
    with_gelu: TfliteGraph, steps: tuple[float, float]
) -> None:
    (gelu,) = [op for op in with_gelu.operators if op.kind == "GELU"]
    (taken,), (made,) = gelu.inputs, gelu.outputs
    ranges = {name: Range(low=-1, high=1) for name in with_gelu.activations}
    ranges |= {taken: Range(low=-100 * steps[0], high=155 * steps[0])}
    ranges |= {made: Range(low=-45 * steps[1], high=210 * steps[1])}
    chosen = avoid_ties(with_gelu, SharedGrids.of(with_gelu), ranges)
    assert nearest_tie(chosen[taken].width / 255, chosen[made].width / 255) > 1e-4
    assert all(0.9999 < chosen[n].width / ranges[n].width < 1.05 for n in (taken, made))


@given(raw=st.floats(0.6, 300), of_result=st.booleans())
def test_a_quotient_of_few_steps_is_divided_by_a_part_of_an_odd_number(
    raw: float, *, of_result: bool
) -> None:
    factor = _quotient_widening(raw, of_result=of_result)
    if factor >= MOST_WIDENED:  # of so few steps nothing is near
        assert not of_result
        return
    divisor = raw * factor if of_result else raw / factor
    levels = np.arange(-4000, 4000) / divisor
    nearest = np.abs(levels - np.floor(levels) - 0.5).min()
    assert nearest > 1 / 700
    assert factor < MOST_WIDENED


widths = st.lists(st.floats(1e-6, 1e3), min_size=3, max_size=3)


@settings(max_examples=200, deadline=None)
@given(widths)
def test_what_sums_join_counts_in_odd_multiples_of_one_step(drawn: list[float]) -> None:
    names = ("sum", "one", "other")
    grids = SharedGrids(
        input="image",
        grid={name: name for name in names},
        sums=dict.fromkeys(names, "sum"),
        scale={name: name for name in names},
        constants={},
    )
    before = dict(zip(names, drawn, strict=True))
    ranges = {name: Range(low=-width / 4, high=width * 3 / 4) for name, width in before.items()}
    operators = [Operator(kind="ADD", inputs=names[1:], outputs=names[:1])]
    chosen = odd_multiples(operators, grids, ranges)
    largest = max(before["sum"], before["one"], before["other"])
    step = largest / MOST_MULTIPLE
    finest = max(before["one"], before["other"]) / MOST_FINER
    for name, width in before.items():
        multiple = chosen[name].width / step
        assert multiple == pytest.approx(round(multiple), rel=1e-9)
        assert round(multiple) % 2 == 1
        least = max(width, step, finest if name == "sum" else 0)
        assert least * (1 - 1e-6) <= chosen[name].width <= least + 2 * step
        assert chosen[name].zero == pytest.approx(0.25)
    assert max(chosen["one"].width, chosen["other"].width) < 256 * chosen["sum"].width


multiples = st.integers(0, MOST_MULTIPLE // 2).map(lambda n: 2 * n + 1)
int8 = st.integers(-128, 127)
EVERY_PAIR = tuple(g.astype(np.int8).reshape(1, 256, 256, 1) for g in np.mgrid[-128:128, -128:128])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.tuples(multiples, multiples, multiples), st.tuples(int8, int8, int8))
def test_sums_in_odd_multiples_are_equal_in_both_runtimes(
    steps: tuple[int, int, int], zeros: tuple[int, int, int]
) -> None:
    assume(max(steps[:2]) < 256 * steps[2])
    scales = [np.float32(0.0123 * step) for step in steps]
    np.testing.assert_array_equal(sums_of_tflite(scales, zeros), sums_of_onnx(scales, zeros))


def sums_of_tflite(scales: list[np.float32], zeros: tuple[int, ...]) -> NDArray[np.int8]:
    """Return what LiteRT makes of every pair of two int8 numbers."""
    graph = tiny_models.TfliteGraph()
    numbers = [graph.tensor((1, 256, 256, 1), schema.TensorType.INT8) for _ in range(3)]
    for tensor, scale, zero in zip(graph.tensors, scales, zeros, strict=True):
        tensor.quantization = schema.QuantizationParametersT(scale=[scale], zeroPoint=[zero])
        tensor.name = f"t{len(tensor.name)}-{zero}-{scale}".encode()
    graph.add("ADD", numbers[:2], numbers[2], schema.AddOptionsT())
    graph.operators[0].inputs = numbers[:2]
    file = graph.pack(numbers[0], numbers[2])
    model = schema.ModelT.InitFromPackedBuf(file, 0)
    model.subgraphs[0].inputs = numbers[:2]
    interpreter = Interpreter(model_content=pack(model))
    interpreter.allocate_tensors()
    for index, values in zip(numbers, EVERY_PAIR, strict=False):
        interpreter.set_tensor(index, values)
    interpreter.invoke()
    result: NDArray[np.int8] = interpreter.get_tensor(numbers[2])
    return result


def sums_of_onnx(scales: list[np.float32], zeros: tuple[int, ...]) -> NDArray[np.int8]:
    """Return the same of ONNX Runtime, which fuses this to QLinearAdd."""
    names = ("one", "other", "sum")
    constants = [
        onnx.numpy_helper.from_array(s, f"{n}_s") for n, s in zip(names, scales, strict=True)
    ]
    constants += [
        onnx.numpy_helper.from_array(np.int8(z), f"{n}_z")
        for n, z in zip(names, zeros, strict=True)
    ]
    make = onnx.helper.make_node
    nodes = [make("DequantizeLinear", [n, f"{n}_s", f"{n}_z"], [f"{n}_real"]) for n in names[:2]]
    nodes.append(make("Add", ["one_real", "other_real"], ["sum_real"]))
    nodes.append(make("QuantizeLinear", ["sum_real", "sum_s", "sum_z"], ["sum"]))
    kind = onnx.TensorProto.INT8
    ends = [onnx.helper.make_tensor_value_info(n, kind, (1, 256, 256, 1)) for n in names]
    graph = onnx.helper.make_graph(nodes, "sum", ends[:2], ends[2:], constants)
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, dict(zip(names, EVERY_PAIR, strict=False)))
    return np.asarray(result, np.int8)
