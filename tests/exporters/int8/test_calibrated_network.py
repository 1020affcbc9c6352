"""One int8 network in two formats; the files are opened with `int8_files`, not leansight."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from int8_files import TYPES, Onnx, Tflite, key, optimised
from shapes import LABELS
from torch import Tensor, nn
from trained_networks import Converted, convert_and_quantize, ignore, prepared, to_tensor

from leansight.exporters.verification.compare import run_all
from leansight.runtime.interpreter import load_interpreter
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.models.networks import ResNetCustom

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.mark.slow
def test_every_integer_and_scale_of_every_layer_is_the_same(converted: Converted) -> None:
    tflite = {key(layer): layer for layer in Tflite(converted.int8["tflite"]).layers()}
    onnx_layers = Onnx(converted.int8["onnx"]).layers()
    expected = [m for m in converted.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(tflite) == len(onnx_layers) == len(expected)
    same = 0
    for ours in onnx_layers:
        theirs = tflite[key(ours)]
        assert ours.weights.dtype == np.int8
        assert ours.bias.dtype == np.int32
        assert ours.scale.shape == (len(ours.weights),)
        assert ours.output == theirs.output
        for name in ("weights", "scale", "bias", "bias_scale"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        same += ours.weights.size
    assert same == sum(module.weight.numel() for module in expected)


@pytest.mark.slow
def test_weights_are_the_folded_ones_rounded_per_channel(plain: Converted) -> None:
    network = plain.network
    assert isinstance(network, ResNetCustom)
    convolution, norm = network.stem[0], network.stem[1]
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    folded = (convolution.weight * factor[:, None, None, None]).detach().numpy()
    shift = (norm.bias - norm.running_mean * factor).detach().numpy()
    (stem,) = [x for x in Onnx(plain.int8["onnx"]).layers() if x.weights.shape == (8, 1, 3, 3)]
    np.testing.assert_allclose(stem.scale, np.abs(folded).max((1, 2, 3)) / 127, rtol=1e-5)
    np.testing.assert_array_equal(stem.weights, np.rint(folded / stem.scale[:, None, None, None]))
    np.testing.assert_allclose(stem.bias_scale, stem.scale / 128, rtol=1e-6)
    np.testing.assert_allclose(stem.bias, shift / stem.bias_scale, atol=0.51)


@pytest.mark.slow
def test_activations_lie_on_the_same_grids(converted: Converted) -> None:
    tflite, onnx_file = Tflite(converted.int8["tflite"]), Onnx(converted.int8["onnx"])
    theirs = {tflite.grid(output) for kind, _, output in tflite.operators if kind != "PAD"}
    quantizers = [n for n in onnx_file.nodes if n.op_type == "QuantizeLinear"]
    ours = {(scale, zero - 128) for scale, zero in map(onnx_file.grid, quantizers)}
    assert ours == theirs
    for node in quantizers:
        (after,) = (n for n in onnx_file.nodes if node.output[0] in n.input)
        if after.op_type == "Clip":  # an activation on integers, on the same grid
            (after,) = (n for n in onnx_file.nodes if after.output[0] in n.input)
        assert after.op_type == "DequantizeLinear"
        assert onnx_file.grid(after) == onnx_file.grid(node)


@pytest.mark.slow
def test_the_tflite_file_is_integers_from_end_to_end(converted: Converted) -> None:
    tflite = Tflite(converted.int8["tflite"])
    assert "FLOAT32" not in {TYPES[t.type] for t in tflite.tensors}
    kinds = {kind for kind, _, _ in tflite.operators}
    assert not kinds & {"QUANTIZE", "DEQUANTIZE", "TRANSPOSE"}
    (start,), (end,) = tflite.graph.inputs, tflite.graph.outputs
    assert {TYPES[tflite.tensors[i].type] for i in (start, end)} == {"INT8"}
    assert list(tflite.tensors[start].shape) == list(converted.preprocessing.shape)
    assert tflite.grid(start) == (1 / 128, 0)


@pytest.mark.slow
def test_the_onnx_file_takes_pixels_as_they_are(converted: Converted) -> None:
    onnx_file = Onnx(converted.int8["onnx"])
    (image,) = onnx_file.model.graph.input
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    channels = converted.preprocessing.channels
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [1, channels, 32, 32]
    (first,) = (n for n in onnx_file.nodes if image.name in n.input)
    assert first.op_type == "DequantizeLinear"
    assert onnx_file.grid(first) == (1 / 128, 128)
    assert {d.domain for d in onnx_file.model.opset_import} <= {"", "ai.onnx"}


@pytest.mark.slow
def test_no_file_tells_the_paths_of_the_machine_that_made_it(plain: Converted) -> None:
    for files in (plain.int8, plain.floats.files):
        for file in files.values():
            assert b"site-packages" not in file
            assert str(Path(__file__).parents[3]).encode() not in file


@pytest.mark.slow
def test_onnx_runtime_runs_its_convolutions_on_integers(
    converted: Converted, tmp_path: Path
) -> None:
    kinds = Counter(n.op_type for n in optimised(converted.int8["onnx"], tmp_path).node)
    convolutions = sum(isinstance(m, nn.Conv2d) for m in converted.network.modules())
    assert kinds["QLinearConv"] + kinds["QConv"] + kinds["ConvInteger"] == convolutions
    assert kinds["Conv"] + kinds["FusedConv"] == 0


@pytest.mark.slow
def test_onnx_runtime_computes_nothing_in_float(converted: Converted, tmp_path: Path) -> None:
    graph = optimised(converted.int8["onnx"], tmp_path)
    integer = {"QLinearConv", "QLinearAdd", "QLinearConcat", "QLinearGlobalAveragePool", "QGemm"}
    moving = {"Reshape", "Transpose", "Clip"}  # the last on integers: nothing is dequantized
    assert {node.op_type for node in graph.node} <= integer | moving | {"DequantizeLinear"}
    (last,) = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    assert list(last.output) == [graph.output[0].name]


@pytest.mark.slow
def test_what_is_added_counts_in_steps_of_one_size(plain: Converted) -> None:
    tflite = Tflite(plain.int8["tflite"])
    sums = [(*inputs, output) for kind, inputs, output in tflite.operators if kind == "ADD"]
    assert sums
    for tensors in sums:
        scales = {tflite.grid(tensor)[0] for tensor in tensors}
        assert max(scales) == pytest.approx(min(scales), rel=1e-6)


@pytest.mark.slow
def test_a_mean_is_divided_by_an_odd_number(plain: Converted) -> None:
    tflite = Tflite(plain.int8["tflite"])
    ((inputs, output),) = [(i, o) for kind, i, o in tflite.operators if kind == "MEAN"]
    before, after = (np.prod(tflite.tensors[index].shape) for index in (inputs[0], output))
    averaged = before / after
    divisor = averaged * tflite.grid(output)[0] / tflite.grid(inputs[0])[0]
    assert divisor == pytest.approx(round(divisor), rel=1e-6)
    assert round(divisor) % 2 == 1


@pytest.mark.slow
def test_a_concatenation_gives_its_parts_one_grid(mixed: Converted) -> None:
    tflite, onnx_file = Tflite(mixed.int8["tflite"]), Onnx(mixed.int8["onnx"])
    ((inputs, output),) = [(i, o) for kind, i, o in tflite.operators if kind == "CONCATENATION"]
    grids = {tflite.grid(tensor) for tensor in (*inputs, output)}
    assert len(grids) == 1
    (scale, zero) = grids.pop()
    assert zero > -128  # one of the parts is negative, so its Relu cannot be dropped
    # Here ReLU cuts off at the grid's zero, with integers.
    (cut,) = (n for n in onnx_file.nodes if n.op_type == "Clip")
    assert onnx_file.constants[cut.input[1]].tolist() == zero + 128
    (concat,) = (n for n in onnx_file.nodes if n.op_type == "Concat")
    sources = [onnx_file.producers[name] for name in concat.input]
    sources.append(onnx_file.quantizer(concat.output[0]))
    assert {onnx_file.grid(node) for node in sources} == {(scale, zero + 128)}


@pytest.mark.slow
def test_both_formats_say_the_same_and_nearly_what_torch_says(converted: Converted) -> None:
    images = prepared(converted.preprocessing, 50, seed=2)
    tflite, onnx_logits = (
        np.stack([load_interpreter(file, kind)(p[None]) for p in images.pixels])
        for kind, file in converted.int8.items()
    )
    with torch.inference_mode():
        exact = converted.network(to_tensor(images.pixels)).numpy()
    np.testing.assert_array_equal(tflite, onnx_logits)  # bit for bit
    spread = exact.max() - exact.min()
    assert np.abs(tflite - exact).max() < 0.06 * spread
    assert (exact.argmax(1) == images.classes).mean() > 0.9  # else the next line says little
    assert (tflite.argmax(1) == exact.argmax(1)).mean() >= 0.98


@pytest.mark.slow
def test_int8_is_smaller(plain: Converted) -> None:
    assert len(plain.int8["tflite"]) < len(plain.floats.tflite)
    assert len(plain.int8["onnx"]) < len(plain.floats.onnx)


class SwitchedOff(nn.Module):
    """Channels that training has switched off: nearly no weights, but a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 5, 3, padding=1)
        self.depthwise = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.head = nn.Linear(5, len(LABELS))
        for layer, channel in ((self.convolution, 0), (self.depthwise, 2), (self.head, 1)):
            layer.weight.data[channel] = 0
            layer.bias.data[channel] = 0.7
        self.convolution.weight.data[3] *= 1e-12
        self.convolution.bias.data[3] = -0.4
        # Less than the smallest scale that ai-edge-quantizer gives.
        self.convolution.weight.data[4], self.convolution.bias.data[4] = 1e-12, 1.6e-5

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.depthwise(self.convolution(x)).mean(dim=(2, 3)))


def test_the_bias_of_a_channel_without_weights_survives() -> None:
    torch.manual_seed(0)
    preprocessing = Preprocessing(size=16, colour="gray")
    converted = convert_and_quantize(SwitchedOff().eval(), preprocessing)
    images = prepared(preprocessing, 12, seed=2).pixels
    with torch.inference_mode():
        expected = converted.network(to_tensor(images)).numpy()
    assert np.allclose(expected[:, 1], 0.7, atol=1e-6)
    for kind in ("tflite", "onnx"):
        found = run_all(load_interpreter(converted.int8[kind], kind), images, ignore)
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
