"""A calibrated network: a folded graph with the ranges of its activations, and its int8 files."""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.convert import FloatGraphs, convert_folded
from leansight.exporters.conversion.inference import predict, predict_precisely
from leansight.exporters.errors import FLOAT_ONLY, ConversionError
from leansight.exporters.int8.calibration import measure, share_steps, widths_with_constants
from leansight.exporters.int8.constant_grids import constant_ranges, with_constant_ranges
from leansight.exporters.int8.fake_quantization import FakeQuantizedNetwork
from leansight.exporters.int8.ranges import Range
from leansight.exporters.int8.rounding_ties import avoid_ties
from leansight.exporters.int8.tensor_matching import PROBES, TOLERANCE, pair_nodes, pair_tensors
from leansight.exporters.int8.write_onnx import NoPartnerError, find_floats, quantize_onnx
from leansight.exporters.int8.write_tflite import quantize_tflite, require_integers
from leansight.exporters.options import StepProgress, Target
from leansight.exporters.tflite.float_islands import find_islands, interior
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.exporters.tflite.shared_grids import SharedGrids
from leansight.exporters.verification.float_layers import inspect_onnx, inspect_tflite
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Image, Preprocessing

# Where ONNX Runtime runs signed activations with less than unsigned ones (docs/decisions/0004).
SIGNED_TARGETS: Final = frozenset({"pi5"})
EVALUATION_IMAGES: Final = 32  # of calibration, on which what could be better is measured


@dataclass(frozen=True, kw_only=True)
class CalibratedNetwork:
    """A float network with the ranges of its activations.

    `exact` is the network as it came, for any number of images; `floats` what is rounded, which
    may have changed. `grids` are those of `graph`; `nodes` names the TFLite activation of each of
    torch's nodes, `ranges` its bounds; `target` is where the files are to run. `islands` are the
    operators of `graph` that have no integer form, each by what it gives first.
    """

    exact: fx.GraphModule
    floats: FloatGraphs
    graph: TfliteGraph
    grids: SharedGrids
    nodes: Mapping[str, str]
    ranges: Mapping[str, Range]
    pixels: Image
    target: Target
    islands: frozenset[str] = frozenset()

    def require_no_islands(self) -> None:
        """Raise ConversionError if an operator has no integer form."""
        kinds = [op.kind for op in self.graph.operators if op.outputs[0] in self.islands]
        if kinds:
            named = ", ".join(dict.fromkeys(kinds))
            raise ConversionError(
                f"TFLite has no integers for {named} here: allow these layers in float",
                parameter="all_int8",
            )

    def write(self, in_float: Collection[str] = ()) -> dict[Format, bytes]:
        """Return both int8 files; what touches an activation of `in_float` stays in float.

        Raises:
            ConversionError: a layer cannot be int8, or not the same in both formats.

        """
        ranges = self._exact_ranges
        tflite = with_constant_ranges(
            quantize_tflite(self.floats.tflite, self.graph, ranges, in_float, self.islands),
            self.graph,
            constant_ranges(self.graph, self.grids, ranges, self.islands),
        )
        left = self.islands.union(in_float)
        try:
            quantized = TfliteGraph(tflite)
        except RuntimeError as error:  # scales too far apart for its kernels
            said = " ".join(str(error).split())
            raise ConversionError(
                f"LiteRT cannot run it in int8 ({said}): {FLOAT_ONLY}", parameter="precision"
            ) from error
        require_integers(quantized, left)
        model = onnx.load_from_string(self.floats.onnx)
        partners = pair_tensors(model, self.graph, self.pixels)
        signed = self.target in SIGNED_TARGETS
        try:
            quantized_onnx = quantize_onnx(
                model, quantized, partners, islands=self.islands, signed=signed
            )
        except NoPartnerError as error:
            self._require_well_conditioned(error)
            raise
        inspect_tflite(tflite, left)
        inspect_onnx(quantized_onnx, find_floats(model.graph, quantized, partners))
        return {"tflite": tflite, "onnx": quantized_onnx}

    @property
    def evaluation_set(self) -> tuple[Image, Tensor]:
        """Images of all of the calibration's, and the logits (N, K) that they should give."""
        return self._with_logits(self._evaluated)

    @property
    def held_out_set(self) -> tuple[Image, Tensor]:
        """Other images, by which no ranges were chosen; the same ones where there are too few."""
        others = np.setdiff1d(np.arange(len(self.pixels)), self._evaluated)
        return self._with_logits(_evenly(others) if len(others) else self._evaluated)

    @property
    def _evaluated(self) -> NDArray[np.int64]:
        return _evenly(np.arange(len(self.pixels)))

    def _with_logits(self, chosen: NDArray[np.int64]) -> tuple[Image, Tensor]:
        pixels = self.pixels[chosen]
        return pixels, torch.from_numpy(predict(self.exact, pixels))

    def simulate(self) -> FakeQuantizedNetwork:
        """Return what the int8 files compute, in torch."""
        return FakeQuantizedNetwork(self.floats.folded, self.grids, self.nodes, self._exact_ranges)

    def with_weights(
        self, simulation: FakeQuantizedNetwork, preprocessing: Preprocessing, progress: StepProgress
    ) -> "CalibratedNetwork":
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
        islands = frozenset(names[island] for island in self.islands)
        return replace(
            self,
            floats=floats,
            graph=graph,
            grids=replace(
                SharedGrids.of(graph, islands),
                scale={names[name]: names[step] for name, step in self.grids.scale.items()},
            ),
            islands=islands,
            nodes={node: names[partner] for node, partner in self.nodes.items()},
            ranges={names[name]: found for name, found in self.ranges.items()},
        )

    def _require_well_conditioned(self, error: NoPartnerError) -> None:
        """Tell what `error` comes from where the noise of float32 alone moves the logits as far."""
        pixels = self.pixels[:PROBES]
        logits = predict_precisely(self.exact, pixels)
        noise = np.abs(predict(self.exact, pixels) - logits).max() / np.abs(logits).max()
        if noise > TOLERANCE:
            raise ConversionError(
                f"the network is ill-conditioned: float32 alone moves its logits by {noise:.1%}, "
                f"and no two runtimes give the same ({error}): train it further, or with a "
                "smaller learning rate"
            ) from error

    @property
    def _exact_ranges(self) -> Mapping[str, Range]:
        return avoid_ties(self.graph, self.grids, self.ranges, self.islands)


def _evenly(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `EVALUATION_IMAGES` of these at most, from the first to the last."""
    steps = np.linspace(0, len(positions) - 1, min(EVALUATION_IMAGES, len(positions))).astype(int)
    chosen: NDArray[np.int64] = positions[steps]
    return chosen


def quantize(floats: FloatGraphs, pixels: Image, progress: StepProgress) -> dict[Format, bytes]:
    """Return the int8 network in both formats, from one calibration on (N, S, S, C) uint8.

    For x86; the files run everywhere.

    Raises:
        ConversionError: a layer cannot be int8, or not the same in both formats.

    """
    return calibrate_network(floats, pixels, progress).write()


def calibrate_network(
    floats: FloatGraphs, pixels: Image, progress: StepProgress, target: Target = "x86"
) -> CalibratedNetwork:
    """Return the network with the full range of each activation over (N, S, S, C) uint8."""
    graph = TfliteGraph(floats.tflite)
    nodes = pair_nodes(floats.folded, graph, pixels)
    islands = find_islands(graph, nodes.values())
    unrounded = interior(graph, islands)
    nodes = {node: partner for node, partner in nodes.items() if partner not in unrounded}
    joined = SharedGrids.of(graph, islands)
    measured = measure(
        exact := for_any_number(floats.folded),
        graph,
        joined,
        nodes,
        pixels,
        lambda n, of: progress("calibrating", n, of),
    )
    grids = joined.by_width(graph, widths_with_constants(graph, joined, measured))
    ranges = share_steps(graph, grids, measured)
    return CalibratedNetwork(
        exact=exact,
        floats=floats,
        graph=graph,
        grids=grids,
        nodes=nodes,
        ranges=ranges,
        pixels=pixels,
        target=target,
        islands=islands,
    )
