"""Range search: each activation's range is clipped where the logits come out better."""

from collections.abc import Mapping

from torch import Tensor

from leansight.exporters.int8.efforts.equalisation import CountProgress
from leansight.exporters.int8.fake_quantization import FakeQuantizedNetwork, logit_error
from leansight.exporters.int8.ranges import Histogram
from leansight.runtime.preprocessing import Image


def choose_ranges(
    simulation: FakeQuantizedNetwork,
    histograms: Mapping[str, Histogram],
    pixels: Image,
    expected: Tensor,
    progress: CountProgress = lambda *_: None,
) -> float:
    """Give each grid the bounds that bring the logits nearest; return the error that is left.

    One grid after the other, in the order of the graph: its range as it is, narrower ones without
    the outermost values, and the one of least squared rounding error (`Histogram.candidates`).
    """
    least = logit_error(simulation, pixels, expected)
    for done, (name, grid) in enumerate(simulation.grids.items(), start=1):
        best = grid.range
        for candidate in histograms[name].candidates() if name in histograms else ():
            grid.set(candidate)
            error = logit_error(simulation, pixels, expected)
            if error < least:
                least, best = error, candidate
        grid.set(best)
        progress(done, len(simulation.grids))
    return least
