"""What an effort will cost in seconds, expected from what this export has measured by then.

What is done once as before (conversion, both files, verification) is taken to last as long again;
what is done for every image, grid or step is tried on a few, and multiplied.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.inference import PREDICTION_BATCH, predict
from leansight.exporters.int8.calibrated_network import CalibratedNetwork
from leansight.exporters.int8.calibration import calibrate, count_values
from leansight.exporters.int8.efforts.quantization_aware_training import (
    BATCH,
    count_steps,
    fine_tune,
)
from leansight.exporters.int8.efforts.weight_rounding import (
    IMAGES,
    measure_covariances,
    round_by_covariance,
)
from leansight.exporters.int8.fake_quantization import FakeQuantizedNetwork, logit_error
from leansight.exporters.int8.ranges import TAILS
from leansight.runtime.preprocessing import Image

_SAMPLE: Final = 32  # images of calibration
_CALIBRATIONS: Final = 2  # passes over its images: for equalisation, and for its ranges
_NETWORKS: Final = 2  # whose weights are rounded: equalised, and not
_ROW: Final = 1024  # weights: rounding a row of more takes as their third power, of fewer as they
_STEPS: Final = 3  # of training, of which the first is warming up


class Stopwatch:
    """Knows how many seconds each thing that was done took, the last time that it was done."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def time(self, what: str) -> Iterator[None]:
        """Take the time of what is done inside."""
        start = time.perf_counter()
        yield
        self._seconds[what] = time.perf_counter() - start

    def total(self, *what: str) -> float:
        """Return the seconds of these together; KeyError for what has not been done."""
        return sum(self._seconds[one] for one in what)


def expect_ranges(found: CalibratedNetwork, watch: Stopwatch) -> float:
    """Return the expected seconds of equalisation, rounding by inputs, and range search."""
    sample, exact = found.pixels[:_SAMPLE], for_any_number(found.floats.folded)
    calibration = _seconds(lambda: calibrate(exact, found.graph, found.grids, found.nodes, sample))
    counting = _seconds(lambda: count_values(exact, found.nodes, found.grids, found.ranges, sample))
    passes = len(found.pixels) / len(sample)
    simulation = found.simulate()
    tries = len(simulation.grids) * (len(TAILS) + 1) + _CALIBRATIONS
    return (
        passes * (_CALIBRATIONS * calibration + counting)
        + _NETWORKS * _rounding_seconds(found)
        + tries * _error_seconds(found, simulation)
        + watch.total("converting", "writing", "verifying")
    )


def expect_training(
    found: CalibratedNetwork, images: Image, epochs: int, watch: Stopwatch
) -> float:
    """Return the expected seconds of quantization-aware training on (N, S, S, C) uint8."""
    ends: list[float] = []
    fine_tune(
        found.simulate(),
        found.exact,
        sample := images[:BATCH],
        epochs=_STEPS,
        progress=lambda *_: ends.append(time.perf_counter()),
    )
    step = (ends[-1] - ends[0]) / (len(ends) - 1)
    teaching = _seconds(lambda: predict(found.exact, sample)) / len(sample)
    return (
        count_steps(len(images), epochs) * step
        + len(images) * teaching
        + watch.total("converting", "writing", "verifying")
    )


def expect_search(found: CalibratedNetwork, watch: Stopwatch) -> float:
    """Return the expected seconds of finding sensitive layers, and of one try without them."""
    simulation = found.simulate()
    for grid in simulation.grids.values():
        grid.exact = True
    tries = len(simulation.grids)
    return tries * _error_seconds(found, simulation) + watch.total("writing", "verifying")


def _rounding_seconds(found: CalibratedNetwork) -> float:
    folded, images = found.floats.folded, min(IMAGES, len(found.pixels))
    batch = found.pixels[:PREDICTION_BATCH]
    covariances = measure_covariances(folded, batch)
    measuring = _seconds(lambda: measure_covariances(folded, batch)) * images / len(batch)
    weight, covariance = torch.randn(_ROW // 8, _ROW), torch.eye(_ROW)[None]
    rounding = _seconds(lambda: round_by_covariance(weight, covariance))
    sizes = [known.shape[1] / _ROW for known in covariances.values()]
    return measuring + rounding * sum(size * max(1, size**2) for size in sizes)


def _error_seconds(found: CalibratedNetwork, simulation: FakeQuantizedNetwork) -> float:
    pixels, expected = found.evaluation_set
    return _seconds(lambda: logit_error(simulation, pixels, expected))


def _seconds(call: Callable[[], object]) -> float:
    """Return what a call takes once it is warm: the second of two."""
    call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
