import numpy as np
import pytest
import torch
from hypothesis import given
from numpy.typing import NDArray
from residual_network import exact, numbers

from leansight.exporters.int8.calibrated_network import CalibratedNetwork
from leansight.exporters.int8.efforts.range_search import choose_ranges
from leansight.exporters.int8.fake_quantization import logit_error
from leansight.exporters.int8.ranges import Histogram, Range

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


def histogram(values: NDArray[np.float32]) -> Histogram:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    counts = np.histogram(values, 2048, (low, high))[0]
    return Histogram(range=Range(low=low, high=high), counts=counts.astype(float))


@given(numbers.filter(lambda n: max(n) - min(n) > 1e-3))
def test_candidates_lie_in_the_full_range_and_hold_zero(values: list[float]) -> None:
    found = histogram(np.array(values, np.float32))
    for candidate in found.candidates():
        assert found.range.low <= candidate.low <= 0 <= candidate.high <= found.range.high
        assert found.squared_error(candidate) < found.squared_error(found.range)


def test_the_squared_error_is_that_of_rounding() -> None:
    values = np.random.default_rng(0).normal(0.5, 2, 20_000).astype(np.float32)
    chosen = Range(low=-3, high=4)
    scale, zero = 7 / 255, round(3 / (7 / 255))
    rounded = torch.fake_quantize_per_tensor_affine(torch.from_numpy(values), scale, zero, 0, 255)
    expected = ((rounded.numpy() - values) ** 2).mean()
    assert histogram(values).squared_error(chosen) == pytest.approx(expected, rel=0.02)


def test_rare_values_are_cut_off_where_that_rounds_the_others_better() -> None:
    values = np.random.default_rng(0).normal(0, 1, 50_000).astype(np.float32)
    found = histogram(np.append(values, np.float32(90)))
    best = found.of_least_error()
    assert best.high < 90
    assert best in found.candidates()
    assert found.squared_error(best) < found.squared_error(found.range)
    tails = found.without_tails(1e-3)
    assert np.mean((values < tails.low) | (values > tails.high)) == pytest.approx(2e-3, abs=2e-3)


@pytest.mark.slow
def test_chosen_ranges_are_no_worse_than_full_ones(spoilt: CalibratedNetwork) -> None:
    simulation, wanted = spoilt.simulate(), exact(spoilt)
    before = logit_error(simulation, spoilt.pixels, wanted)
    high = Range(low=-5.0, high=5.0)
    histograms = {
        name: Histogram(range=grid.range if grid.range.high > 0 else high, counts=np.ones(2048))
        for name, grid in simulation.grids.items()
    }
    told: list[tuple[int, int]] = []
    left = choose_ranges(
        simulation, histograms, spoilt.pixels, wanted, lambda n, of: told.append((n, of))
    )
    assert left <= before
    assert left == pytest.approx(logit_error(simulation, spoilt.pixels, wanted))
    assert told[-1] == (len(simulation.grids),) * 2
