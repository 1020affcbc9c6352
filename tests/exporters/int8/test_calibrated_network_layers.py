"""Every kind of layer that the recipes' networks have, as int8 in both formats."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from int8_files import TYPES, Layer, Onnx, Tflite, optimised
from numpy.typing import NDArray
from shapes import LABELS, photos
from timm.layers import BatchNormAct2d, SqueezeExcite, create_conv2d
from timm.models._efficientnet_blocks import InvertedResidual
from timm.models.densenet import DenseNet
from timm.models.resnet import Bottleneck
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn
from torch.nn import functional

from leansight.exporters.conversion.convert import convert
from leansight.exporters.int8.calibrated_network import quantize
from leansight.runtime.interpreter import Format, load_interpreter
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.models.build import build_network
from leansight.sdk.recipes.model import Block, Downsampling, ModelRecipe

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")
SIZE, EPOCHS = 32, 3
PREPROCESSING = Preprocessing(size=SIZE)


# What ONNX Runtime computes on integers, and what only moves them.
INTEGER = {
    *("QLinearConv", "QGemm", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid"),
    *("QLinearAveragePool", "QLinearGlobalAveragePool", "NhwcMaxPool", "MaxPool"),
}


MOVING = {"Reshape", "Transpose", "Clip"}


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub(128).div(128)


def layer(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class Bodies(nn.Module):
    """Networks side by side, the means of their features behind one another, and a head."""

    def __init__(self, *bodies: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.bodies, self.head = nn.ModuleList(bodies), head

    def forward(self, x: Tensor) -> Tensor:
        features = [body(x).mean((2, 3)) for body in self.bodies]
        return self.head(torch.cat(features, 1))  # type: ignore[no-any-return]


class Inception(nn.Module):
    """Branches with every pooling, and a scaled residual (Inception-ResNet)."""

    def __init__(self, before: int, pool: nn.Module) -> None:
        super().__init__()
        self.one, self.three = (
            layer(before, 8, 1),
            nn.Sequential(layer(before, 6, 1), layer(6, 8, 3)),
        )
        self.pooled = nn.Sequential(pool, layer(before, 8, 1))
        self.back = nn.Conv2d(24, before, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = torch.cat([self.one(x), self.three(x), self.pooled(x)], 1)
        return functional.relu(self.back(branches) * 0.17 + x)


def grouped_and_gated() -> nn.Module:
    """ResNeXt, MobileNetV3 and EfficientNet side by side, with a head of batch norms."""
    block = partial(Bottleneck, 32, 8, cardinality=4, base_width=32)
    resnext = nn.Sequential(layer(3, 32, 7, stride=2), nn.MaxPool2d(3, 2, 1), block())
    gate = partial(SqueezeExcite, gate_layer="hard_sigmoid", rd_ratio=0.25)
    gated = partial(InvertedResidual, act_layer=nn.Hardswish, se_layer=gate)
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
    mobile = nn.Sequential(stem, gated(16, 16, stride=1), gated(16, 24, stride=2, exp_ratio=3))
    smooth = partial(InvertedResidual, act_layer=nn.SiLU, se_layer=SqueezeExcite)
    efficient = nn.Sequential(layer(3, 16, 3, stride=2), smooth(16, 24, stride=2, exp_ratio=3))
    dense = [nn.Linear(80, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2)]
    return Bodies(
        resnext, mobile, efficient, head=nn.Sequential(*dense, nn.Linear(24, len(LABELS)))
    )


def preactivated() -> nn.Module:
    layers = {"norm_layer": BatchNormAct2d, "conv_layer": create_conv2d}
    body = ResNetV2((1, 1), (32, 64), num_classes=0, global_pool="", **layers)
    return Bodies(body, head=nn.Linear(body.num_features, len(LABELS)))


def dense() -> nn.Module:
    body = DenseNet(8, (2, 2), num_classes=0, global_pool="")
    return Bodies(body, head=nn.Linear(body.num_features, len(LABELS)))


def inception() -> nn.Module:
    outside = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    blocks = [
        *(layer(3, 16, 3, stride=2), Inception(16, nn.AvgPool2d(3, 1, 1)), nn.MaxPool2d(3, 2)),
        Inception(16, nn.Sequential(nn.MaxPool2d(3, 1, 1), outside)),
    ]
    return Bodies(nn.Sequential(*blocks), head=nn.Linear(16, len(LABELS)))


class Capped(nn.Module):
    """A ReLU6 that shares its grid with what goes beyond 6."""

    def __init__(self) -> None:
        super().__init__()
        self.capped, self.free = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        capped, free = 10 * self.capped(x), 20 * self.free(x)
        return torch.cat([functional.relu6(capped), functional.relu(free)], 1)


def flattened() -> nn.Module:
    """S2's and VGG's way: convolutions, maxima, dense layers on all positions."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(Capped(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(16 * 6 * 6, 20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, len(LABELS))),
    )


def plain(block: Block, downsampling: Downsampling) -> nn.Module:
    """Our own fast network, with a block of each kind behind a stem of stride 2."""
    recipe = ModelRecipe(
        name="plain-cnn",
        blocks=(2, 1),
        widths=(16, 24),
        stem_stride=2,
        block=block,
        downsampling=downsampling,
        body_batch_norm=True,
    )
    return build_network(recipe, classes=len(LABELS), channels=3)


@dataclass(frozen=True)
class Kind:
    """A network, and how many layers it is given: for batch norms that have nothing to be folded
    into, hard-swishes and averaged windows."""

    build: Callable[[], nn.Module]
    alone: int = 0


KINDS = {
    "grouped and gated": Kind(grouped_and_gated, alone=7),
    "preactivated": Kind(preactivated, alone=3),
    "dense": Kind(dense, alone=7),
    "inception": Kind(inception, alone=2),
    "flattened": Kind(flattened),
    "plain": Kind(partial(plain, "plain", "max-pool")),
    "residual": Kind(partial(plain, "residual", "stride")),
}


@dataclass(frozen=True)
class Converted:
    kind: Kind
    network: nn.Module
    tflite: Tflite
    onnx: Onnx
    int8: Mapping[Format, bytes]


def teach(network: nn.Module) -> nn.Module:
    """Train for a moment: batch norms get something to fold, and decisions mean something."""
    pictures, classes = photos(240, seed=0)
    pixels = to_tensor(np.concatenate([PREPROCESSING(p) for p in pictures]))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for batch in torch.arange(len(classes)).repeat(EPOCHS).split(30):
        optimiser.zero_grad()
        functional.cross_entropy(
            network(pixels[batch]), torch.from_numpy(classes)[batch]
        ).backward()
        optimiser.step()
    return network.eval()


@pytest.fixture(scope="module", params=KINDS)
def converted(request: pytest.FixtureRequest) -> Converted:
    torch.manual_seed(0)
    kind = KINDS[request.param]
    network = teach(kind.build())
    pixels = np.concatenate([PREPROCESSING(p) for p in photos(60, seed=1)[0]])
    int8 = quantize(convert(network, PREPROCESSING), pixels, lambda *_: None)
    return Converted(kind, network, Tflite(int8["tflite"]), Onnx(int8["onnx"]), int8)


def contents(layers: list[Layer]) -> Counter[tuple[object, ...]]:
    """Return what identifies each layer: every integer, every scale, the grid of its output."""
    return Counter(
        (x.weights.shape, x.weights.tobytes(), x.scale.tobytes(), *bias(x), x.output)
        for x in layers
    )


def bias(layer: Layer) -> tuple[bytes, ...]:
    """Return a bias and its scale; where it is zero, ONNX has none."""
    return (layer.bias.tobytes(), layer.bias_scale.tobytes()) if layer.bias.any() else ()


@pytest.mark.slow
def test_both_files_hold_the_same_layers_bit_for_bit(converted: Converted) -> None:
    theirs, ours = converted.tflite.layers(), converted.onnx.layers()
    assert contents(ours) == contents(theirs)
    weighted = [m for m in converted.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(ours) == len(weighted) + converted.kind.alone


@pytest.mark.slow
def test_activations_lie_on_the_same_grids(converted: Converted) -> None:
    tflite, onnx_file = converted.tflite, converted.onnx
    # TFLite pads before a layer.
    theirs = {
        tflite.grid(output) for kind, _, output in tflite.operators if kind not in {"PAD", "PADV2"}
    }
    quantizers = [n for n in onnx_file.nodes if n.op_type == "QuantizeLinear"]
    assert {(scale, zero - 128) for scale, zero in map(onnx_file.grid, quantizers)} == theirs


@pytest.mark.slow
def test_the_tflite_file_computes_nothing_in_float(converted: Converted) -> None:
    types = {TYPES[t.type] for t in converted.tflite.tensors}
    assert types <= {"INT8", "INT32"}


@pytest.mark.slow
def test_axes_are_put_in_another_order_only_to_flatten_a_picture(converted: Converted) -> None:
    shapes = [tuple(tensor.shape) for tensor in converted.tflite.tensors]
    for kind, _, turned in converted.tflite.operators:
        if kind == "TRANSPOSE":
            after = [
                (reader, len(shapes[given]))
                for reader, taken, given in converted.tflite.operators
                if turned in taken
            ]
            assert after == [("RESHAPE", 2)]
    assert "Transpose" not in {node.op_type for node in converted.onnx.nodes}


@pytest.mark.slow
def test_no_number_is_moved_from_grid_to_grid(converted: Converted) -> None:
    tflite = converted.tflite
    assert not {kind for kind, _, _ in tflite.operators} & {"QUANTIZE", "DEQUANTIZE"}
    for kind, inputs, output in tflite.operators:
        if kind in {"CONCATENATION", "MAX_POOL_2D", "AVERAGE_POOL_2D"}:
            assert {tflite.grid(tensor) for tensor in inputs} == {tflite.grid(output)}


@pytest.mark.slow
def test_onnx_runtime_computes_nothing_in_float_that_it_has_in_integers(
    converted: Converted, tmp_path: Path
) -> None:
    graph = optimised(converted.int8["onnx"], tmp_path)
    used = {node.op_type for node in graph.node}
    assert used - {"DequantizeLinear"} - MOVING <= INTEGER
    (last,) = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    assert list(last.output) == [graph.output[0].name]


@pytest.mark.slow
def test_both_files_decide_alike_and_nearly_as_torch(converted: Converted) -> None:
    pictures, classes = photos(60, seed=2)
    pixels = np.concatenate([PREPROCESSING(p) for p in pictures])
    tflite, onnx_logits = (
        np.stack([load_interpreter(file, kind)(p[None]) for p in pixels])
        for kind, file in converted.int8.items()
    )
    with torch.inference_mode():
        exact = converted.network(to_tensor(pixels)).numpy()
    assert (exact.argmax(1) == classes).mean() > 0.9  # else agreeing says little
    assert (tflite.argmax(1) == exact.argmax(1)).mean() >= 0.95
    spread = exact.max() - exact.min()
    np.testing.assert_array_equal(tflite, onnx_logits)
    assert np.abs(tflite - exact).max() < 0.1 * spread


@pytest.mark.slow
def test_means_and_products_are_divided_by_odd_numbers(converted: Converted) -> None:
    tflite, found = converted.tflite, 0
    joined = {tflite.grid(t) for kind, _, t in tflite.operators if kind == "CONCATENATION"}
    for kind, inputs, output in tflite.operators:
        step = tflite.grid(output)[0]
        if tflite.grid(output) in joined:  # two means on one grid
            continue
        if kind == "MEAN":
            taken, given = (np.prod(tflite.tensors[t].shape) for t in (inputs[0], output))
            divisor = taken / given * step / tflite.grid(inputs[0])[0]
        elif kind == "MUL":
            divisor = step / np.prod([tflite.grid(t)[0] for t in inputs])
        else:
            continue
        assert abs(divisor % 2 - 1) < 1e-3  # no quotient is nearer than 1 / (2 x divisor)
        found += 1
    assert found or converted.kind.build is flattened
