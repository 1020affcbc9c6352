"""A transposed convolution is written as an ordinary one that computes the same."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from leansight.exporters.conversion.folding import fold

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=PAIR,
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    added=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=PAIR,
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
)
def test_any_transposed_convolution_computes_the_same(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    added: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    *,
    bias: bool,
) -> None:
    size = (5, 4)
    for n in (0, 1):
        assume(added[n] < max(stride[n], dilation[n]))
        reach = (size[n] - 1) * stride[n] - 2 * padding[n] + dilation[n] * (kernel[n] - 1)
        assume(reach + added[n] + 1 > 0)
    network = nn.Sequential(
        nn.ReLU(),
        nn.ConvTranspose2d(4, 8, kernel, stride, padding, added, groups, bias, dilation),
    ).eval()
    image = torch.randn(1, 4, *size)
    folded = fold(network, image)
    torch.testing.assert_close(folded(image), network(image), atol=1e-5, rtol=1e-5)
    targets = {node.target for node in folded.graph.nodes}
    assert torch.ops.aten.conv_transpose2d.input not in targets


def test_two_pixels_of_a_kernel_of_two_take_one_tap_each() -> None:
    folded = fold(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(4, 3, 2, 2)), torch.zeros(1, 4, 5, 5))
    (layer,) = [n for n in folded.graph.nodes if n.target is torch.ops.aten.conv2d.default]
    weight = folded.get_buffer(str(layer.args[1].target))
    assert weight.shape == (12, 4, 1, 1)
    assert pytest.approx(0) != weight.abs().min().item()
