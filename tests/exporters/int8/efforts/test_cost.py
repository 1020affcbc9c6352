"""What an effort is expected to cost, on a clock that only moves when something is done."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from leansight.exporters.int8.calibrated_network import CalibratedNetwork
from leansight.exporters.int8.efforts import cost
from leansight.exporters.int8.efforts.cost import (
    Stopwatch,
    expect_ranges,
    expect_search,
    expect_training,
)

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")
CONVERTING, WRITING, VERIFYING = 100.0, 20.0, 3.0


class Clock:
    """Stands still until `move` moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def move(self, seconds: float) -> Callable[..., None]:
        def call(*_: object, **__: object) -> None:
            self.now += seconds

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@pytest.fixture
def watch(clock: Clock) -> Stopwatch:
    watch = Stopwatch()
    for what, seconds in (
        ("converting", CONVERTING),
        ("writing", 7 * WRITING),  # the first time; the last counts
        ("writing", WRITING),
        ("verifying", VERIFYING),
    ):
        with watch.time(what):
            clock.move(seconds)()
    return watch


def test_a_stopwatch_knows_what_was_done_last(watch: Stopwatch) -> None:
    assert watch.total("writing") == WRITING
    assert watch.total("converting", "writing", "verifying") == CONVERTING + WRITING + VERIFYING
    with pytest.raises(KeyError):
        watch.total("training")


@pytest.mark.slow
def test_range_search_is_expected_to_take_its_passes_and_its_tries(
    found: CalibratedNetwork, clock: Clock, watch: Stopwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "calibrate", clock.move(2.0))
    monkeypatch.setattr(cost, "count_values", clock.move(5.0))
    monkeypatch.setattr(cost, "logit_error", clock.move(0.25))
    monkeypatch.setattr(cost, "round_by_covariance", clock.move(0.5))

    def measure(*_: object) -> dict[str, torch.Tensor]:
        clock.now += 1.0
        return {"small": torch.zeros(1, 512, 512), "large": torch.zeros(1, 2048, 2048)}

    monkeypatch.setattr(cost, "measure_covariances", measure)
    # For two networks: 60 images, tried on 16; half a row of 1024, and two, to the third power.
    rounding = 2 * (60 / 16 * 1.0 + (0.5 + 2**3) * 0.5)
    grids = len(found.simulate().grids)
    # 60 images, tried on 32: two calibrations and a histogram; three ranges of each grid.
    passes, tries = 60 / 32 * (2 * 2.0 + 5.0), (3 * grids + 2) * 0.25
    expected = rounding + passes + tries + CONVERTING + WRITING + VERIFYING
    assert expect_ranges(found, watch) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(("images", "epochs", "steps"), [(200, 20, 6 * 20), (10, 400, 400)])
def test_training_is_expected_to_take_all_its_steps(
    found: CalibratedNetwork,
    clock: Clock,
    watch: Stopwatch,
    monkeypatch: pytest.MonkeyPatch,
    *,
    images: int,
    epochs: int,
    steps: int,
) -> None:
    def train(*_: object, epochs: int, progress: Callable[[int, int], None]) -> None:
        for n in range(epochs):
            clock.now += 1.5 if n else 60  # the first step is slow
            progress(n + 1, epochs)

    def teach(_: object, pixels: NDArray[np.uint8]) -> None:
        clock.now += 0.1 * len(pixels)

    monkeypatch.setattr(cost, "fine_tune", train)
    monkeypatch.setattr(cost, "predict", teach)
    pixels = np.zeros((images, 24, 24, 1), np.uint8)
    expected = steps * 1.5 + images * 0.1 + CONVERTING + WRITING + VERIFYING
    assert expect_training(found, pixels, epochs, watch) == pytest.approx(expected)


@pytest.mark.slow
def test_sensitive_layers_are_expected_to_take_one_try_for_each_grid(
    found: CalibratedNetwork, clock: Clock, watch: Stopwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "logit_error", clock.move(0.25))
    expected = len(found.simulate().grids) * 0.25 + WRITING + VERIFYING
    assert expect_search(found, watch) == pytest.approx(expected)
