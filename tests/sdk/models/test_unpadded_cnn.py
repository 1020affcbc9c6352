import pytest
import torch
from networks import convolutions
from torch import Tensor, nn

from leansight.sdk.models.unpadded_cnn import unpadded_body
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.model import ModelRecipe

S2 = load_recipe("masks-cnn-published").model


def test_each_stage_is_a_convolution_and_its_pool() -> None:
    body = unpadded_body(3, S2)
    seen: list[tuple[int, ...]] = []
    for stage in body.children():
        stage.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
    with torch.device("meta"):
        body.to_empty(device="meta")(torch.zeros(1, 3, 256, 256))
    # A kernel of k takes k - 1 from each side; what is left over of a pool is dropped.
    assert seen == [(64, 251, 251), (32, 249, 249), (32, 123, 123), (32, 60, 60), (16, 19, 19)]


def test_its_features_are_those_of_convolutions_written_out() -> None:
    recipe = ModelRecipe(name="unpadded-cnn", filters=(4, 2), kernels=(2, 3), pools=(1, 3))
    body = unpadded_body(1, recipe).eval()
    first, second = convolutions(body)
    picture = torch.randn(1, 1, 12, 12)
    hidden = torch.relu(correlated(picture, first))
    expected = torch.relu(correlated(hidden, second)).reshape(1, 2, 3, 3, 3, 3).amax((3, 5))
    with torch.no_grad():
        torch.testing.assert_close(body(picture), expected)


def correlated(picture: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return what an unpadded convolution is by its definition."""
    (side, _), weight = layer.kernel_size, layer.weight.detach()
    windows = picture.unfold(2, side, 1).unfold(3, side, 1)
    assert layer.bias is not None
    bias = layer.bias.detach().reshape(1, -1, 1, 1)
    return torch.einsum("nchwij,kcij->nkhw", windows, weight) + bias


def test_it_begins_with_glorot_s_weights() -> None:
    for layer in convolutions(unpadded_body(3, S2)):
        fans = (layer.in_channels + layer.out_channels) * layer.kernel_size[0] ** 2
        assert float(layer.weight.detach().std()) == pytest.approx((2 / fans) ** 0.5, rel=0.05)
        assert layer.bias is not None
        assert not layer.bias.any()
