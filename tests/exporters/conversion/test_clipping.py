"""Clips to any bounds become ReLU and ReLU6, which both formats have in int8."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from leansight.exporters.conversion.convert import convert
from leansight.exporters.conversion.folding import fold
from leansight.exporters.int8.calibrated_network import calibrate_network
from leansight.exporters.verification.float_layers import names_of_float_layers
from leansight.runtime.preprocessing import Preprocessing


class Clipped(nn.Module):
    """A clip behind a layer, behind a sum, and as a gate."""

    def __init__(self, low: float | None, high: float | None) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.body, self.gate, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.clamp(self.body(x), self.low, self.high)
        x = x + x * torch.clamp(self.gate(x), self.low, self.high)
        x = torch.clamp(x, self.low, self.high).mean((2, 3))
        return self.head(x)  # type: ignore[no-any-return]


bounds = st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 1.0, 6.0]), st.floats(-20, 20))


@settings(max_examples=25, deadline=None)
@given(bounds, bounds)
def test_a_clip_to_any_bounds_is_computed_as_before(low: float | None, high: float | None) -> None:
    if low is high is None or (low is not None and high is not None and high - low < 0.01):
        return
    network, image = Clipped(low, high).eval(), torch.randn(1, 3, 8, 8)
    graph = fold(network, image)
    torch.testing.assert_close(graph(image), network(image), rtol=1e-3, atol=1e-3)
    left = {
        tuple(node.args[1:])
        for node in graph.graph.nodes
        if "clamp" in node.name or "hardtanh" in node.name
    }
    # TFLite has ReLU of -1 to 1 as well.
    ends = (-math.inf if low is None else low, math.inf if high is None else high)
    stay = ends in {(-1, 1), (0, math.inf)} or ends[0] > 0
    assert left <= ({ends} if stay else {(0.0, 6.0)}) or low == 0 or stay


def test_a_floor_under_a_divisor_stays() -> None:
    """Added and taken away again in integers, 1e-12 would be lost, and zero be divided by zero."""

    class Normalised(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.normalize(x.relu() - 0.5, dim=1)

    graph = fold(Normalised(), torch.zeros(1, 3, 4, 4))
    assert any("clamp_min" in node.name for node in graph.graph.nodes)


@pytest.mark.slow
@pytest.mark.parametrize("ends", [(0.0, 1.0), (-2.0, 3.0), (None, 2.0), (-0.25, None)])
def test_a_clip_is_computed_in_integers(ends: tuple[float | None, float | None]) -> None:
    preprocessing = Preprocessing(size=8)
    floats = convert(Clipped(*ends).eval(), preprocessing)
    rng = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (16, 8, 8, 3), generator=rng, dtype=torch.uint8).numpy()
    files = calibrate_network(floats, pixels, lambda *_: None).write()
    assert names_of_float_layers(files) == ()
