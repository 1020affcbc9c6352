"""PTQ first, then QAT, then mixed precision: int8 files of a network, by growing effort.

Post-training quantization (PTQ) with the full range of each activation; then with cross-layer
equalisation, clipped ranges and bias correction; then quantization-aware training (QAT); then the
most sensitive activations in float.
"""

import copy
import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Final

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.convert import FloatGraphs
from leansight.exporters.int8.calibrated_network import CalibratedNetwork, calibrate_network
from leansight.exporters.int8.calibration import calibrate, count_values
from leansight.exporters.int8.efforts.bias_correction import correct_biases
from leansight.exporters.int8.efforts.cost import (
    Stopwatch,
    expect_ranges,
    expect_search,
    expect_training,
)
from leansight.exporters.int8.efforts.equalisation import equalise
from leansight.exporters.int8.efforts.quantization_aware_training import fine_tune
from leansight.exporters.int8.efforts.range_search import choose_ranges
from leansight.exporters.int8.efforts.weight_rounding import round_by_inputs
from leansight.exporters.int8.fake_quantization import FakeQuantizedNetwork, logit_error
from leansight.exporters.options import Effort, ExportOptions, StepProgress
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Image, Preprocessing

QAT_IMAGES: Final = 4096  # shown in QAT, the same ones again where they are fewer
FLOAT_GRIDS: Final = (1, 2, 4, 8, 16)


def attempts(
    floats: FloatGraphs,
    preprocessing: Preprocessing,
    calibration: Image,
    training: Callable[[], Image],
    options: ExportOptions,
    progress: StepProgress,
    *,
    watch: Stopwatch,
    expect: Callable[[Effort, float], None] = lambda *_: None,
) -> Iterator[tuple[Effort, dict[Format, bytes]]]:
    """Give both int8 files, again and again, made with more effort each time.

    Args:
        floats: the network.
        preprocessing: of its images.
        calibration: images (N, S, S, C) uint8 for the ranges.
        training: gives the images for QAT, when they are needed.
        options: the most that is tried, and where the files are to run fastest.
        progress: told of every step.
        watch: has taken the time of "converting".
        expect: told before each dearer effort how many seconds it is expected to take, with the
            verification of its files.

    """

    def files(in_float: Collection[str] = ()) -> dict[Format, bytes]:
        with watch.time("writing"):
            return found.write(in_float)

    found = calibrate_network(floats, calibration, progress, options.target)
    if options.all_int8:
        found.require_no_islands()
    with watch.time("verifying"):
        yield "calibration", files()
    if options.effort == "calibration":
        return
    expect("ranges", expect_ranges(found, watch))
    found = _improve_ptq(found, preprocessing, progress)
    with watch.time("verifying"):
        yield "ranges", files()
    if options.effort == "ranges":
        return
    images = training()
    epochs = max(1, QAT_IMAGES // len(images))
    expect("training", expect_training(found, images, epochs, watch))
    trained = _train(found, preprocessing, images, epochs, progress)
    if trained is not found:
        found = trained
        with watch.time("verifying"):
            yield "training", files()
    if options.effort == "training" or options.all_int8:
        return
    expect("float layers", expect_search(found, watch))
    sensitive = _most_sensitive(found, progress)
    for count in FLOAT_GRIDS:
        if count < len(sensitive):
            if count > FLOAT_GRIDS[0]:
                expect("float layers", watch.total("writing", "verifying"))
            with watch.time("verifying"):
                yield "float layers", files(set(itertools.chain(*sensitive[:count])))


def _improve_ptq(
    found: CalibratedNetwork, preprocessing: Preprocessing, progress: StepProgress
) -> CalibratedNetwork:
    """Return the network with what brings its logits nearer, on images that chose no ranges.

    Cross-layer equalisation or not, with weights rounded by inputs and corrected biases; then a
    range search.
    """
    found, simulation = min(
        (_round(tried, progress) for tried in (found, _equalise(found))),
        key=lambda rounded: logit_error(rounded[1], *found.held_out_set),
    )
    folded = for_any_number(found.floats.folded)
    choose_ranges(
        simulation,
        count_values(folded, found.nodes, found.grids, found.ranges, found.pixels),
        *found.evaluation_set,
        lambda n, of: progress("choosing better ranges", n, of),
    )
    return replace(found, ranges=simulation.ranges).with_weights(
        simulation, preprocessing, progress
    )


def _round(
    found: CalibratedNetwork, progress: StepProgress
) -> tuple[CalibratedNetwork, FakeQuantizedNetwork]:
    """Return a network with its simulation, with better weights and biases where they are that."""
    simulation, folded = found.simulate(), found.floats.folded
    round_by_inputs(
        simulation,
        folded,
        found.pixels,
        lambda n, of: progress("rounding the weights by inputs", n, of),
    )
    correct_biases(simulation, folded, found.pixels)
    plain = found.simulate()
    return found, min(plain, simulation, key=lambda net: logit_error(net, *found.held_out_set))


def _equalise(found: CalibratedNetwork) -> CalibratedNetwork:
    """Return the network after cross-layer equalisation in torch; its files are the old ones."""
    folded = copy.deepcopy(found.floats.folded)
    if not equalise(folded, found.pixels):
        return found
    free = for_any_number(folded)
    ranges = calibrate(free, found.graph, found.grids, found.nodes, found.pixels)
    return replace(found, floats=replace(found.floats, folded=folded), ranges=ranges)


def _train(
    found: CalibratedNetwork,
    preprocessing: Preprocessing,
    images: Image,
    epochs: int,
    progress: StepProgress,
) -> CalibratedNetwork:
    """Return the network after QAT, or as it was where that is better.

    Measured on images by which no ranges were chosen: they follow the others closer than any. Both
    are images of training, which it may have learnt from; validation tells what it is worth.
    """
    pixels, expected = found.held_out_set
    simulation = found.simulate()
    before = logit_error(simulation, pixels, expected)
    fine_tune(
        simulation,
        found.exact,
        images,
        epochs=epochs,
        progress=lambda n, of: progress("quantization-aware training", n, of),
    )
    if logit_error(simulation, pixels, expected) >= before:
        return found
    found = replace(found, ranges=simulation.ranges)
    return found.with_weights(simulation, preprocessing, progress)


def _most_sensitive(found: CalibratedNetwork, progress: StepProgress) -> list[list[str]]:
    """Return the activations of each grid, those first whose rounding alone does most harm."""
    simulation, (pixels, expected) = found.simulate(), found.evaluation_set
    for grid in simulation.grids.values():
        grid.exact = True
    harm: dict[str, float] = {}
    for done, (name, grid) in enumerate(simulation.grids.items(), start=1):
        grid.exact = False
        harm[name] = logit_error(simulation, pixels, expected)
        grid.exact = True
        progress("finding sensitive layers", done, len(simulation.grids))
    worst_first = sorted(harm, key=harm.__getitem__, reverse=True)
    return [found.grids.members(name) for name in worst_first]
