"""Networks with layers that have no int8 form, or had none: both files give the same numbers."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from int8_files import Tflite, optimised
from numpy.typing import NDArray
from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg
from torch import Tensor, nn
from torch.nn import functional
from trained_networks import prepared

from leansight.exporters.conversion.convert import convert
from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_reader import read_onnx
from leansight.exporters.int8.calibrated_network import CalibratedNetwork, calibrate_network
from leansight.exporters.int8.tensor_matching import MOVING
from leansight.exporters.verification.float_layers import names_of_float_layers
from leansight.runtime.interpreter import Format, load_interpreter
from leansight.runtime.preprocessing import Preprocessing

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all"),
]
SIZE, CHANNELS = 32, 8
PREPROCESSING = Preprocessing(size=SIZE)


class Block(nn.Module):
    """A residual block of ConvNeXt: the norm and the dense layers have their channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(CHANNELS, CHANNELS, 7, padding=3, groups=CHANNELS)
        self.norm = nn.LayerNorm(CHANNELS)
        self.up, self.down = nn.Linear(CHANNELS, 16), nn.Linear(16, CHANNELS)
        self.scale = nn.Parameter(torch.rand(CHANNELS))
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        hidden = functional.gelu(self.up(normed))
        return x + (self.down(hidden) * self.scale).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """A class token and places that know where they are, two heads, and the token alone."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, CHANNELS))
        self.places = nn.Parameter(torch.randn(1, 17, CHANNELS))
        self.norm, self.dense = nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, 3 * CHANNELS)
        self.back = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        rows = functional.avg_pool2d(x, 2).flatten(2).transpose(1, 2)
        padded = functional.pad(rows, (0, 0, 1, 0))
        first = torch.cat((self.token, torch.zeros(1, 16, CHANNELS)), 1)
        tokens = padded + (first + self.places)
        heads = self.dense(self.norm(tokens)).reshape(-1, 17, 3, 2, CHANNELS // 2)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        looks = (0.5 * query @ key.transpose(-2, -1)).softmax(-1) @ value
        mixed = self.back(looks.transpose(1, 2).reshape(-1, 17, CHANNELS))
        return (tokens + mixed)[:, 0]  # type: ignore[no-any-return]


class OneHead(nn.Module):
    """PVT's attention of one head over fewer tokens, which TFLite has as two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(CHANNELS, CHANNELS), nn.Conv2d(CHANNELS, CHANNELS, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x.flatten(2).transpose(1, 2))
        rows = self.key(x).flatten(2)
        looks = (query @ rows).softmax(-1) @ rows.transpose(1, 2)
        return looks.mean(1)


class ConditionalPlaces(nn.Module):
    """CoaT: a large class token joins normed rows, and is cut off again before a convolution."""

    def __init__(self) -> None:
        super().__init__()
        token = functional.pad(5 * torch.randn(1, 1, CHANNELS), (0, 0, 0, 64))
        self.token = nn.Parameter(token)
        self.norm = nn.LayerNorm(CHANNELS)
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.norm(x.flatten(2).transpose(1, 2))
        tokens = functional.pad(rows, (0, 0, 1, 0)) + self.token
        picture = tokens[:, 1:].reshape(-1, 8, 8, CHANNELS).permute(0, 3, 1, 2)
        return self.conv(picture) + picture  # type: ignore[no-any-return]


class Split(nn.Module):
    """Sums of slices in a concatenation, as Res2Net has them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, last = x.split(2, 1)
        second = functional.relu(self.one(second))
        return torch.cat((first, second, functional.relu(self.other(third + second)), last), 1)


class Idle(nn.Module):
    """Two layers that are initialised to give their biases alone, as timm does before a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = (nn.Conv2d(CHANNELS, CHANNELS, 1) for _ in range(2))
        nn.init.zeros_(self.one.weight)
        nn.init.zeros_(self.other.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.other(functional.relu(x + self.one(x)))  # type: ignore[no-any-return]


class Twins(nn.Module):
    """Two layers on the same numbers that differ in their biases alone, as batch norms begin."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = (nn.Conv2d(CHANNELS, CHANNELS, 1, groups=CHANNELS) for _ in range(2))
        self.other.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) - functional.relu(self.other(x))  # type: ignore[no-any-return]


class Affine(nn.Module):
    """ResMLP: each feature of a token has a factor and a summand, and tokens are mixed behind."""

    def __init__(self) -> None:
        super().__init__()
        self.factors, self.summands = (nn.Parameter(torch.randn(1, 1, CHANNELS)) for _ in range(2))
        self.mix = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2).transpose(1, 2) * self.factors + self.summands
        return self.mix(rows.transpose(1, 2)).reshape(x.shape) + x  # type: ignore[no-any-return]


class Star(nn.Module):
    """PoolFormerV2's activation."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.8944 * functional.relu(x) ** 2 - 0.4472


class Stream(nn.Module):
    """A residual stream whose numbers grow tenfold, and a constant that is added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(1, CHANNELS, 8, 8))
        self.blocks = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        first = x
        for block in self.blocks:
            x = x + functional.relu(4 * block(x))
        return (x + 8 * self.places) - first


class SelectiveKernel(nn.Module):
    """SKNet: two pictures, each with its part of 1 of every channel: a softmax among integers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(2))
        self.dense = nn.Conv2d(CHANNELS, 2 * CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.stack((self.one(x), self.other(x)), 1)
        gates = self.dense(x.mean((2, 3), keepdim=True)).reshape(-1, 2, CHANNELS, 1, 1)
        return (both * gates.softmax(1)).sum(1)


class TwoNorms(nn.Module):
    """PoolFormerV2: a norm of what another norm gives, in float, and a mean of windows of that."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.LayerNorm(CHANNELS), nn.GroupNorm(1, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.other(self.one(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return functional.avg_pool2d(normed, 3, 1, 1, count_include_pad=False) - normed


class FlatHead(nn.Module):
    """EfficientViT's head: a hard-swish behind a norm of features that have no places any more."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(CHANNELS, 16, bias=False), nn.LayerNorm(16)
        self.last = nn.Linear(16, CHANNELS)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(functional.hardswish(self.norm(self.dense(x.mean((2, 3))))))  # type: ignore[no-any-return]


class Shuffle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)


class Tokens(nn.Module):
    """LeViT's: dense layers and an activation on tokens, pixels one by one."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            nn.Linear(CHANNELS, 16), activation, nn.Linear(16, CHANNELS), activation
        )

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.steps(x.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).reshape(x.shape)


class Line(nn.Module):
    """A convolution along the pixels of all rows, one behind the other, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.along = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1, groups=2, bias=False)
        self.norm = nn.BatchNorm1d(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.along(x.flatten(2))).relu().reshape(x.shape)  # type: ignore[no-any-return]


class Bodies(nn.Module):
    """A stem, what follows it side by side, and a 1×1 convolution on all of their means."""

    def __init__(self, *bodies: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 4, 4)
        self.bodies = nn.ModuleList(bodies)
        self.head = nn.Conv2d(CHANNELS * len(bodies), 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        stem = functional.relu(self.stem(x))
        given = [body(stem) for body in self.bodies]
        features = [x.mean((2, 3)) if x.ndim == 4 else x for x in given]
        logits: Tensor = self.head(torch.cat(features, 1)[..., None, None])
        return logits.flatten(1)


def weighted(body: nn.Module) -> nn.Sequential:
    """Give a body something to be told apart by: a layer before and behind it."""
    before, after = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(2))
    return nn.Sequential(before, body, after, nn.ReLU())


def slopes() -> nn.Module:
    activation = nn.PReLU(CHANNELS)
    nn.init.uniform_(activation.weight, -0.2, 0.9)
    return activation


def integers() -> Bodies:
    return Bodies(
        weighted(nn.LeakyReLU(0.1)),
        weighted(slopes()),
        weighted(nn.GELU()),
        weighted(nn.Upsample(scale_factor=2)),
        weighted(nn.Upsample(scale_factor=2, mode="bilinear")),
        weighted(Line()),
        weighted(Tokens(nn.Hardswish())),
        weighted(Tokens(nn.LeakyReLU(0.1))),
        weighted(Split()),
        weighted(Shuffle()),
        weighted(Idle()),
        weighted(Twins()),
        weighted(Affine()),
        weighted(Star()),
        weighted(Stream()),
        weighted(nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)),
    )


def floats() -> Bodies:
    return Bodies(
        Block(),
        Attention(),
        OneHead(),
        ConditionalPlaces(),
        FlatHead(),
        weighted(SelectiveKernel()),
        weighted(TwoNorms()),
        weighted(nn.Mish()),
        weighted(nn.Softplus()),
        weighted(nn.GroupNorm(1, CHANNELS)),
    )


@dataclass
class Made:
    """A network with what it gives for some images, and its files."""

    found: CalibratedNetwork
    files: Mapping[Format, bytes]
    exact: NDArray[np.float32]
    logits: Mapping[Format, NDArray[np.float32]]


def make(build: Callable[[], nn.Module]) -> Made:
    torch.manual_seed(0)
    network, pixels = build().eval(), prepared(PREPROCESSING, 24, seed=0).pixels
    with torch.no_grad():
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub(128).div(128)
        exact = network(images).numpy()
    found = calibrate_network(convert(network, PREPROCESSING), pixels, lambda *_: None)
    files = found.write()
    logits = {
        kind: np.stack([load_interpreter(file, kind)(image[None]) for image in pixels])
        for kind, file in files.items()
    }
    return Made(found, files, exact, logits)


@pytest.fixture(scope="module")
def whole() -> Made:
    return make(integers)


@pytest.fixture(scope="module")
def mixed() -> Made:
    return make(floats)


def test_what_can_be_integers_is_and_gives_the_same_numbers(whole: Made) -> None:
    assert names_of_float_layers(whole.files) == ()
    whole.found.require_no_islands()
    np.testing.assert_array_equal(whole.logits["tflite"], whole.logits["onnx"])
    assert np.std(whole.logits["onnx"] - whole.exact) < 0.05 * np.std(whole.exact)


def test_a_stream_counts_in_steps_that_grow_with_it(whole: Made) -> None:
    grids = whole.found.grids
    kept = {name: whole.found.ranges[name].width for name in {*grids.scale.values()}}
    joined: dict[str, list[float]] = {}
    for step, width in kept.items():
        joined.setdefault(grids.sums[step], []).append(width)
    most = max(joined.values(), key=len)
    assert len(most) > 2
    assert max(most) > 5 * min(most)


def test_what_is_in_float_is_in_float_in_onnx_runtime_too(mixed: Made, tmp_path: Path) -> None:
    computed = {node.op_type for node in optimised(mixed.files["onnx"], tmp_path).node}
    assert "Softmax" in computed
    assert not {"QLinearSoftmax", "QLinearMatMul", "Conv", "FusedConv"} & computed


def test_layers_in_float_part_the_formats_by_a_step_at_most(mixed: Made) -> None:
    bounds = mixed.found.ranges[mixed.found.graph.output]
    apart = np.abs(mixed.logits["tflite"] - mixed.logits["onnx"])
    assert apart.max() <= 1.01 * bounds.width / 255
    assert (apart == 0).mean() > 0.9
    assert np.std(mixed.logits["onnx"] - mixed.exact) < 0.05 * np.std(mixed.exact)


def test_no_number_is_moved_from_grid_to_grid(mixed: Made) -> None:
    graph = onnx.load_from_string(mixed.files["onnx"]).graph
    scales = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer if not i.dims}
    makers = {name: node for node in graph.node for name in node.output}
    moved = 0
    for quantizer in (n for n in graph.node if n.op_type == "QuantizeLinear"):
        node = makers[quantizer.input[0]]
        before = makers.get(node.input[0])
        if node.op_type in MOVING and before is not None and before.op_type == "DequantizeLinear":
            assert scales[quantizer.input[1]] == scales[before.input[1]], node.name
            moved += 1
    assert moved > 5


def test_layers_in_float_are_named_and_no_layer_with_weights_is_among_them(mixed: Made) -> None:
    names = names_of_float_layers(mixed.files)
    assert {name.split()[0] for name in names} == {
        "LayerNormalization",
        "MatMul",
        "Softmax",
        "ReduceSum",
        "Mish",
        "Softplus",
        "Where",
    }
    marked = [n for n in onnx.load_from_string(mixed.files["onnx"]).graph.node if n.doc_string]
    assert len(marked) == len(names)
    tflite = Tflite(mixed.files["tflite"])
    computed = {output for _, _, output in tflite.operators}
    for kind, inputs, output in tflite.operators:
        is_layer = kind in {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
        if is_layer and inputs[1] not in computed:
            assert tflite.tensors[output].quantization.scale is not None


def test_a_network_of_integers_alone_may_be_asked_for(mixed: Made) -> None:
    with pytest.raises(ConversionError, match=r"TFLite has no integers for .*SOFTMAX.* here"):
        mixed.found.require_no_islands()


def test_what_two_branches_read_is_rounded_for_the_same_one(tmp_path: Path) -> None:
    """MViTv2: positions take what a layer norm gives in float, a product takes it from its grid."""

    def build() -> nn.Module:
        layout = MultiScaleVitCfg(
            depths=(1, 2), embed_dim=(16, 32), num_heads=(1, 2), use_cls_token=False
        )
        network = MultiScaleVit(layout, img_size=(SIZE, SIZE), num_classes=5).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        example, file = torch.zeros(1, 3, SIZE, SIZE), tmp_path / "mvit.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's older exporter
            torch.onnx.export(network, (example,), file, dynamo=False, opset_version=17)
        return read_onnx(file, size=SIZE, channels=3).network

    made = make(build)
    apart = np.abs(made.logits["tflite"] - made.logits["onnx"])
    assert (apart == 0).mean() > 0.95
