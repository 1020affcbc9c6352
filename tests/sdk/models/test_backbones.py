import pytest
import torch
from networks import (
    PUBLISHED,
    S2_HEAD,
    TIMM,
    convolutions,
    count,
    gray_noise,
    statistics,
    weightless,
)
from torch import nn

from leansight.sdk.models.backbones import TimmBody
from leansight.sdk.models.build import build_network
from leansight.sdk.models.layer_groups import freeze
from leansight.sdk.models.networks import network_input
from leansight.sdk.recipes.model import ModelRecipe


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


def test_a_body_knows_what_timm_calls_it() -> None:
    with torch.device("meta"):
        assert TimmBody("efficientnet_lite0", 3).published_name == "tf_efficientnet_lite0"
        assert TimmBody("resnet50", 1).published_name == "resnet50"
