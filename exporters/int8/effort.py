"""From the float files to int8 files of the same network: plainly, then better and dearer."""

import copy
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from leansight.exporters.conversion.convert import FloatGraphs, convert_folded, predict
from leansight.exporters.conversion.torch_graph import for_any_number
from leansight.exporters.errors import ConversionError
from leansight.exporters.int8.calibration import (
    Range,
    calibrate,
    count_values,
    shared_grids,
)
from leansight.exporters.int8.equalisation import (
    choose_ranges,
    correct_biases,
    equalise,
    learn,
    logit_error,
)
from leansight.exporters.int8.fake_quantization import Simulation
from leansight.exporters.int8.rounding_ties import avoid_ties
from leansight.exporters.int8.tensor_matching import pair_nodes, pair_tensors
from leansight.exporters.int8.write_onnx import quantize_onnx
from leansight.exporters.int8.write_tflite import FLOAT_ONLY, quantize_tflite, require_integers
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.exporters.verification.compare import EFFORTS, Effort, Target
from leansight.exporters.verification.inspection import inspect_onnx, inspect_tflite
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Image, Preprocessing

# Told the step's name, and how many of how many are done.
Progress = Callable[[str, int, int], None]

# Where ONNX Runtime runs signed activations with less than unsigned ones (docs/decisions/0004).
SIGNED_TARGETS: Final = frozenset({"pi5"})

MEASURED: Final = 32  # calibration images on which what could be better is measured
SHOWN: Final = 4096  # images that are shown in training, the same ones again where they are fewer
FLOAT_GRIDS: Final = (1, 2, 4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A float network with the ranges of its activations.

    `exact` is the network as it came, for any number of images; `floats` what is rounded, which
    may have changed. `nodes` names the TFLite activation of each of torch's nodes, `ranges` its
    bounds; `target` is where the files are to run.
    """

    exact: fx.GraphModule
    floats: FloatGraphs
    graph: TfliteGraph
    nodes: Mapping[str, str]
    ranges: Mapping[str, Range]
    pixels: Image
    target: Target

    def write(self, in_float: Collection[str] = ()) -> dict[Format, bytes]:
        """Return both int8 files; what touches an activation of `in_float` stays in float.

        Raises:
            ConversionError: a layer cannot be int8, or not the same in both formats.

        """
        tflite = quantize_tflite(self.floats.tflite, self.graph, self._exact_ranges, in_float)
        try:
            quantized = TfliteGraph(tflite)
        except RuntimeError as error:  # scales too far apart for its kernels
            said = " ".join(str(error).split())
            raise ConversionError(f"LiteRT cannot run it in int8 ({said}): {FLOAT_ONLY}") from error
        require_integers(quantized, in_float)
        model = onnx.load_from_string(self.floats.onnx)
        partners = pair_tensors(model, self.graph, self.pixels)
        signed = self.target in SIGNED_TARGETS
        quantized_onnx = quantize_onnx(model, quantized, partners, signed=signed)
        inspect_tflite(tflite, in_float)
        # In ONNX the same is left in float, and what lies between two such layers.
        left = {n for n, theirs in partners.items() if not quantized.tensors[theirs].quantization}
        inspect_onnx(quantized_onnx, left)
        return {"tflite": tflite, "onnx": quantized_onnx}

    @property
    def measured(self) -> tuple[Image, Tensor]:
        """Images of all of the calibration's, and the logits (N, K) that they should give."""
        return self._with_logits(self._measured)

    @property
    def held_back(self) -> tuple[Image, Tensor]:
        """Other images, by which no ranges were chosen; the same ones where there are too few."""
        others = np.setdiff1d(np.arange(len(self.pixels)), self._measured)
        return self._with_logits(_evenly(others) if len(others) else self._measured)

    @property
    def _measured(self) -> NDArray[np.int64]:
        return _evenly(np.arange(len(self.pixels)))

    def _with_logits(self, chosen: NDArray[np.int64]) -> tuple[Image, Tensor]:
        pixels = self.pixels[chosen]
        return pixels, torch.from_numpy(predict(self.exact, pixels))

    def simulate(self) -> Simulation:
        """Return what the int8 files compute, in torch."""
        return Simulation(self.floats.folded, self.graph, self.nodes, self._exact_ranges)

    def with_weights(
        self, simulation: Simulation, preprocessing: Preprocessing, progress: Progress
    ) -> "Calibrated":
        """Return the network with the simulation's weights, converted anew; its ranges stay.

        Raises:
            ConversionError: the converter writes it in other operators now.

        """
        folded = copy.deepcopy(self.floats.folded)
        simulation.write_weights(folded)
        progress("converting again", 0, 1)
        floats = convert_folded(folded, preprocessing)
        progress("converting again", 1, 1)
        graph = TfliteGraph(floats.tflite)
        if graph.wiring != self.graph.wiring:
            raise ConversionError("the converter gave the same network another graph")
        # Their names count the constants as well, and of equal ones there was only one.
        names = dict(zip(self.graph.activations, graph.activations, strict=True))
        return replace(
            self,
            floats=floats,
            graph=graph,
            nodes={node: names[partner] for node, partner in self.nodes.items()},
            ranges={names[name]: found for name, found in self.ranges.items()},
        )

    @property
    def _exact_ranges(self) -> Mapping[str, Range]:
        return avoid_ties(self.graph, self.ranges)


def _evenly(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `MEASURED` of these at most, from the first to the last."""
    steps = np.linspace(0, len(positions) - 1, min(MEASURED, len(positions))).astype(int)
    chosen: NDArray[np.int64] = positions[steps]
    return chosen


def quantize(floats: FloatGraphs, pixels: Image, progress: Progress) -> dict[Format, bytes]:
    """Return the int8 network in both formats, from one calibration on (N, S, S, C) uint8.

    For x86; the files run everywhere.

    Raises:
        ConversionError: a layer cannot be int8, or not the same in both formats.

    """
    return calibrated(floats, pixels, progress).write()


def calibrated(
    floats: FloatGraphs, pixels: Image, progress: Progress, target: Target = "x86"
) -> Calibrated:
    """Return the network with the full range of each activation over (N, S, S, C) uint8."""
    graph = TfliteGraph(floats.tflite)
    nodes = pair_nodes(floats.folded, graph, pixels)
    ranges = calibrate(
        exact := for_any_number(floats.folded),
        graph,
        nodes,
        pixels,
        lambda n, of: progress("calibrating", n, of),
    )
    return Calibrated(
        exact=exact,
        floats=floats,
        graph=graph,
        nodes=nodes,
        ranges=ranges,
        pixels=pixels,
        target=target,
    )


def attempts(
    floats: FloatGraphs,
    preprocessing: Preprocessing,
    calibration: Image,
    training: Callable[[], Image],
    progress: Progress,
    effort: Effort = EFFORTS[-1],
    target: Target = "x86",
) -> Iterator[tuple[Effort, dict[Format, bytes]]]:
    """Give both int8 files, again and again, made with more effort each time.

    Args:
        floats: the network.
        preprocessing: of its images.
        calibration: images (N, S, S, C) uint8 for the ranges.
        training: gives the images for training under rounding, when they are needed.
        progress: told of every step.
        effort: the most that is tried.
        target: where the files are to run fastest.

    """
    found = calibrated(floats, calibration, progress, target)
    yield "calibration", found.write()
    if effort == "calibration":
        return
    found = _refined(found, preprocessing, progress)
    yield "ranges", found.write()
    if effort == "ranges":
        return
    trained = _trained(found, preprocessing, training(), progress)
    if trained is not found:
        found = trained
        yield "training", found.write()
    if effort == "training":
        return
    sensitive = _most_sensitive(found, progress)
    for count in FLOAT_GRIDS:
        if count < len(sensitive):
            yield "float layers", found.write(set(itertools.chain(*sensitive[:count])))


def _refined(found: Calibrated, preprocessing: Preprocessing, progress: Progress) -> Calibrated:
    """Return the network with equalised channels, better ranges and corrected biases."""
    measured, expected = found.measured
    plain, equal = found, _equalised(found)
    found = min((plain, equal), key=lambda tried: logit_error(tried.simulate(), measured, expected))
    simulation, folded = found.simulate(), found.floats.folded
    free, grids = for_any_number(folded), shared_grids(found.graph)
    histograms = count_values(free, found.nodes, grids, found.ranges, found.pixels)
    before = choose_ranges(
        simulation,
        histograms,
        measured,
        expected,
        lambda n, of: progress("choosing better ranges", n, of),
    )
    found = replace(found, ranges=simulation.ranges)
    correct_biases(simulation, folded, measured)
    if logit_error(simulation, measured, expected) >= before:
        simulation = found.simulate()  # with the biases as they were
        if found.floats is plain.floats:
            return found
    return found.with_weights(simulation, preprocessing, progress)


def _equalised(found: Calibrated) -> Calibrated:
    """Return the network with equalised channels in torch; its files are still the old ones."""
    folded = copy.deepcopy(found.floats.folded)
    if not equalise(folded, found.pixels):
        return found
    ranges = calibrate(for_any_number(folded), found.graph, found.nodes, found.pixels)
    return replace(found, floats=replace(found.floats, folded=folded), ranges=ranges)


def _trained(
    found: Calibrated, preprocessing: Preprocessing, images: Image, progress: Progress
) -> Calibrated:
    """Return the network after training under rounding, or as it was where that is better.

    Measured on images by which no ranges were chosen: they follow the others closer than any. Both
    are images of training, which it may have learnt from; validation tells what it is worth.
    """
    measured, expected = found.held_back
    simulation = found.simulate()
    before = logit_error(simulation, measured, expected)
    learn(
        simulation,
        found.exact,
        images,
        epochs=max(1, SHOWN // len(images)),
        progress=lambda n, of: progress("training under rounding", n, of),
    )
    if logit_error(simulation, measured, expected) >= before:
        return found
    found = replace(found, ranges=simulation.ranges)
    return found.with_weights(simulation, preprocessing, progress)


def _most_sensitive(found: Calibrated, progress: Progress) -> list[list[str]]:
    """Return the activations of each grid, those first whose rounding alone does most harm."""
    simulation, (measured, expected) = found.simulate(), found.measured
    for grid in simulation.grids.values():
        grid.exact = True
    harm: dict[str, float] = {}
    for done, (name, grid) in enumerate(simulation.grids.items(), start=1):
        grid.exact = False
        harm[name] = logit_error(simulation, measured, expected)
        grid.exact = True
        progress("finding sensitive layers", done, len(simulation.grids))
    members: dict[str, list[str]] = {name: [] for name in harm}
    for activation, grid_name in shared_grids(found.graph).items():
        members.get(grid_name, []).append(activation)
    return [members[name] for name in sorted(harm, key=harm.__getitem__, reverse=True)]
