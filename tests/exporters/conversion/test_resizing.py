"""Resizings that both formats lack, or round differently, are dense layers."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leansight.exporters.conversion.folding import fold
from leansight.exporters.conversion.resizing import axis_matrices

RESIZINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "cubic": partial(functional.interpolate, size=(7, 5), mode="bicubic"),
    "cubic by corners": partial(
        functional.interpolate, scale_factor=2, mode="bicubic", align_corners=True
    ),
    "cubic, smoothed": partial(functional.interpolate, size=(4, 3), mode="bicubic", antialias=True),
    "bilinear": partial(functional.interpolate, scale_factor=2, mode="bilinear"),
    "bilinear by corners": partial(
        functional.interpolate, size=(7, 13), mode="bilinear", align_corners=True
    ),
    "bilinear, smoothed": partial(
        functional.interpolate, size=(4, 3), mode="bilinear", antialias=True
    ),
}


class Resized(nn.Module):
    def __init__(self, resize: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.before, self.resize, self.after = nn.Conv2d(3, 4, 1), resize, nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.resize(self.before(x)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", RESIZINGS)
def test_it_becomes_dense_layers(name: str) -> None:
    torch.manual_seed(0)
    network, image = Resized(RESIZINGS[name]).eval(), torch.randn(1, 3, 9, 6)
    with torch.no_grad():
        wanted = network(image)
        graph = fold(network, image)
        torch.testing.assert_close(graph(image), wanted, rtol=1e-5, atol=1e-5)
    targets = [str(n.target) for n in graph.graph.nodes if n.op == "call_function"]
    assert targets.count("aten.linear.default") == 2
    assert not [target for target in targets if "upsample" in target]


@pytest.mark.parametrize(("side", "dense"), [(256, 2), (257, 0)])
def test_large_pictures_are_resized_by_what_both_formats_have(side: int, dense: int) -> None:
    resize = partial(functional.interpolate, size=(9, side), mode="bilinear")
    graph = fold(Resized(resize), torch.randn(1, 3, 9, 6))
    targets = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert targets.count("aten.linear.default") == dense
    assert any("upsample_bilinear" in target for target in targets) == (not dense)


def test_a_resizing_to_the_same_size_is_left_out() -> None:
    same = partial(functional.interpolate, size=(9, 6), mode="bilinear")
    graph = fold(Resized(same), torch.randn(1, 3, 9, 6))
    targets = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert targets == ["aten.conv2d.default"] * 2


def test_what_mixes_rows_and_columns_has_no_matrices() -> None:
    assert axis_matrices(lambda images: images.transpose(2, 3), 4, 4) is None
    down, along = axis_matrices(lambda images: images[:, :, ::2], 4, 3) or (None, None)
    torch.testing.assert_close(down, torch.eye(4)[::2])
    torch.testing.assert_close(along, torch.eye(3))
