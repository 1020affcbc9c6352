from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import (
    OWN,
    PUBLISHED,
    S2_HEAD,
    check_partition,
    convolutions,
    count,
    statistics,
    weightless,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from leansight.runtime.errors import DataError
from leansight.sdk.models.build import build_network
from leansight.sdk.models.layer_groups import freeze, layer_groups
from leansight.sdk.models.networks import Inception, ResNetCustom, TrainableNetwork, network_input
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.model import ModelRecipe


def test_pixels_become_numbers_from_minus_one_to_just_below_one() -> None:
    pixels = torch.tensor([0, 1, 127, 128, 129, 255], dtype=torch.uint8)
    expected = Tensor([-1, -127 / 128, -1 / 128, 0, 1 / 128, 127 / 128])
    assert network_input(pixels).tolist() == expected.tolist()


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
        ("plain-cnn", [(4, 4, 4), (12, 2, 2)]),
        ("masks-cnn", [(4, 8, 8), (8, 4, 4)]),
        ("mixed-blocks", [(4, 8, 8), (16, 8, 8), (32, 4, 4)]),
    ],
)
def test_stages_have_their_widths_and_halve_the_picture(
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


def weightless_recipe(name: str, classes: int) -> TrainableNetwork:
    recipe = load_recipe(name)
    with torch.device("meta"):
        return build_network(
            recipe.model, classes=classes, channels=3, size=recipe.preprocessing.size
        )


def test_s2s_best_network_has_the_parameters_that_its_authors_counted() -> None:
    network = weightless_recipe("masks-transfer-published", classes=3)
    norms = [m for m in network.body.modules() if isinstance(m, nn.BatchNorm2d)]
    # Theirs, in Keras, whose InceptionResNetV2 has no factors in its batch norms.
    assert count(network) - sum(len(norm.weight) for norm in norms) == 59_807_155
    # Keras' table of the body without its end, less the statistics, and the head by hand.
    head = (6 * 6 * 1536 * 100 + 100 + 200) + (100 * 10 + 10 + 20) + (10 * 3 + 3)
    assert 54_336_736 - statistics(network.body) + head == 59_807_155


def test_s2s_small_network_is_as_large_as_counted_by_hand() -> None:
    network = weightless_recipe("masks-cnn-published", classes=3)
    convolutions_ = (108 * 64 + 64) + (576 * 32 + 32) + 2 * (288 * 32 + 32) + (288 * 16 + 16)
    side = ((((256 - 5 - 2 - 2) // 2 - 2) // 2) - 2) // 3
    dense = (side * side * 16 * 32 + 32) + 2 * (32 * 32 + 32) + (32 * 10 + 10) + (10 * 3 + 3)
    assert count(network) == convolutions_ + dense == 235_899


def test_s3s_network_is_resnet_50_with_seven_classes() -> None:
    network = weightless_recipe("driving-weather-published", classes=7)
    assert count(network) == PUBLISHED["resnet50"] - (2048 * 1000 + 1000) + (2048 * 7 + 7)


def test_of_s5s_network_with_a_hidden_layer_that_and_the_output_learn() -> None:
    network = weightless_recipe("multilabel-hidden", classes=14)
    freeze(network, load_recipe("multilabel-hidden").training.trainable_layers)
    assert count(network, trainable=True) == (2048 * 256 + 256) + (256 * 14 + 14)
    assert count(network.body) == PUBLISHED["resnext50_32x4d"] - (2048 * 1000 + 1000)


FLAT = replace(S2_HEAD, width=4, blocks=(1, 2), flatten=True, dropout=0.0)


def test_a_head_that_flattens_is_dense_layers_on_the_features_of_every_position() -> None:
    network = build_network(FLAT, classes=3, channels=3, size=20).eval()
    first, norm, _, _, _, *rest = network.hidden
    assert isinstance(first, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.normal_(norm.running_mean)
    nn.init.normal_(first.bias)
    dense = nn.Linear(8 * 5 * 5, 100)
    dense.load_state_dict({"weight": first.weight.reshape(100, -1), "bias": first.bias})
    single = nn.BatchNorm1d(100).eval()
    single.load_state_dict(norm.state_dict())
    plain = nn.Sequential(nn.Flatten(), dense, single, nn.ReLU(), *rest, network.head)
    pictures = torch.randn(4, 3, 20, 20)
    with torch.inference_mode():
        torch.testing.assert_close(network(pictures), plain(network.body(pictures)))
    kinds = [type(layer).__name__ for layer in network.hidden]
    assert kinds == [
        *("Conv2d", "BatchNorm2d", "ReLU", "Dropout", "Flatten"),
        *("Linear", "BatchNorm1d", "ReLU", "Dropout"),
    ]
    check_partition(network, layer_groups(network))


def test_a_head_that_flattens_begins_as_its_dense_layers_would() -> None:
    network = build_network(FLAT, classes=3, channels=3, size=20)
    first = network.hidden[0]
    assert isinstance(first, nn.Conv2d)
    assert spread(first.weight) == pytest.approx((2 / (8 * 5 * 5 + 100)) ** 0.5, rel=0.05)
    assert first.bias is not None
    assert not first.bias.any()
    assert all(module.training for module in network.modules())


def test_pictures_that_are_too_small_to_flatten_are_refused_in_one_line() -> None:
    with pytest.raises(DataError, match=r"^pictures of 3×3 pixels are too small for masks-cnn: r"):
        build_network(FLAT, classes=3, channels=3, size=3)
    with pytest.raises(ValueError, match="needs the size of the pictures"):
        build_network(FLAT, classes=3, channels=3)


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


def test_a_head_that_flattens_fits_pictures_that_are_wider_than_high() -> None:
    recipe = ModelRecipe(name="plain-cnn", widths=(4, 8), blocks=(1, 1), flatten=True, head=(6,))
    network = build_network(recipe, classes=3, channels=1, size=(24, 40)).eval()
    assert network(torch.zeros(2, 1, 24, 40)).shape == (2, 3)
    with pytest.raises(RuntimeError):
        network(torch.zeros(2, 1, 40, 24))
