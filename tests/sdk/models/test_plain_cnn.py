"""What a recipe says of the plain network is what is built."""

import pytest
import torch
from networks import convolutions, count, weightless
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from leansight.sdk.models.build import build_network
from leansight.sdk.models.plain_cnn import Residual
from leansight.sdk.recipes.model import Block, ModelRecipe


def recipe(block: Block, *, norm: bool = False, stride: int = 1) -> ModelRecipe:
    return ModelRecipe(
        name="plain-cnn",
        blocks=(2, 1),
        widths=(4, 6),
        block=block,
        stem_stride=stride,
        body_batch_norm=norm,
    )


BLOCKS: tuple[Block, ...] = ("plain", "residual")
STEM, HEAD = 27 * 4 + 4, 6 * 3 + 3


@pytest.mark.parametrize(
    ("block", "parameters"),
    [
        ("plain", (36 * 4 + 4) + (36 * 6 + 6)),
        ("residual", 2 * (36 * 4 + 4) + (36 * 6 + 6) + (54 * 6 + 6) + (4 * 6 + 6)),
    ],
)
def test_each_kind_of_block_is_as_small_as_counted_by_hand(block: Block, parameters: int) -> None:
    assert count(weightless(recipe(block), classes=3)) == STEM + parameters + HEAD


def test_the_first_block_is_one_convolution_whatever_the_others_are() -> None:
    for block in BLOCKS:
        network = build_network(recipe(block, stride=2), classes=3, channels=3)
        stem, *others = convolutions(network)
        assert (stem.in_channels, stem.out_channels, stem.kernel_size) == (3, 4, (3, 3))
        assert stem.stride == (2, 2)
        assert {other.stride for other in others} == {(1, 1)}


def test_batch_norms_take_the_place_of_biases() -> None:
    for block in BLOCKS:
        network = build_network(recipe(block, norm=True), classes=3, channels=3)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert [n.num_features for n in norms] == [c.out_channels for c in convolutions(network)]
        assert all(convolution.bias is None for convolution in convolutions(network))


def test_a_residual_block_adds_what_it_was_given() -> None:
    block = Residual(2, 2, 1, norm=False)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    picture = torch.tensor([[[[1.0, -2.0]], [[3.0, 4.0]]]])
    assert block(picture).tolist() == [[[[1.0, 0.0]], [[3.0, 4.0]]]]


def test_strides_halve_the_picture_between_stages_and_maxima_after_each() -> None:
    shapes = {}
    for downsampling in ("max-pool", "stride"):
        chosen = ModelRecipe(name="plain-cnn", width=4, blocks=(1, 1), downsampling=downsampling)
        body = build_network(chosen, classes=3, channels=3).get_submodule("body")
        shapes[downsampling] = tuple(body(torch.zeros(1, 3, 16, 16)).shape)
    assert shapes == {"max-pool": (1, 8, 4, 4), "stride": (1, 8, 8, 8)}


def test_multiply_accumulates_of_a_network_with_an_early_stride() -> None:
    chosen = ModelRecipe(name="plain-cnn", blocks=(2, 1), widths=(16, 32), stem_stride=2)
    network = build_network(chosen, classes=5, channels=3).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 48, 48))
    expected = 24**2 * (27 * 16 + 144 * 16) + 12**2 * 144 * 32 + 32 * 5
    assert counter.get_total_flops() == 2 * expected
