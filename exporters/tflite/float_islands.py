"""Float islands: the operators of a float TFLite graph that stay in float between int8 layers.

What one format cannot compute in integers, or not as the other does, is computed in float by
both: its input is the same integers, made real, and its result is rounded to the same grid.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from leansight.exporters.tflite.graph import Operator, TfliteGraph
from leansight.exporters.tflite.shared_grids import ADDING, MOVING, SharedGrids

# What has weights: it never is float only because its neighbour is.
WEIGHTED: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
# Of two activations, or of one: a table of 256 numbers, or integers that both round alike.
_ELEMENTWISE: Final = frozenset({"MUL", "LOGISTIC", "TANH", "GELU", "HARD_SWISH", "RELU"})
INTEGER: Final = WEIGHTED | ADDING | MOVING | _ELEMENTWISE | {"MEAN"}


def find_islands(graph: TfliteGraph, matched: Collection[str]) -> frozenset[str]:
    """Return the operators that stay in float, each by what it gives first.

    So does a function whose grid LiteRT fixes, where its numbers are moved to those of others.
    Around one that has no integer form, all stay that serve it alone: what a converter wrote a
    layer norm in, and what lies between two of them, such as the scale between a product of
    matrices and its softmax.

    Args:
        graph: float.
        matched: its activations that a node of torch's graph gives; the others lie inside of
            what torch has as one operator.

    """
    wiring = _Wiring(graph)
    islands = {op.outputs[0] for op in graph.operators if op.kind not in INTEGER}
    inside = set(graph.activations) - set(matched) - {graph.input, graph.output}
    while added := {*wiring.next_to(islands, inside), *wiring.between(islands)} - islands:
        islands |= added
    # XNNPACK moves int8 numbers to another grid by a factor with 8 bits behind the point
    # (xnn_init_qs8_cvt_scalar_params: lrintf(256 × ratio)).
    while added := {*SharedGrids.of(graph, islands).mixed(graph, islands)}:
        islands |= added
    return frozenset(islands)


def interior(graph: TfliteGraph, islands: Collection[str]) -> frozenset[str]:
    """Return the activations that no integer operator gives or takes: nothing rounds them."""
    wiring = _Wiring(graph)
    return frozenset(
        name
        for name, maker in wiring.makers.items()
        if maker.outputs[0] in islands
        and name != graph.output
        and all(reader.outputs[0] in islands for reader in wiring.readers[name])
    )


class _Wiring:
    def __init__(self, graph: TfliteGraph) -> None:
        self._operators = graph.operators
        self.makers = {name: op for op in graph.operators for name in op.outputs}
        self.readers: Mapping[str, list[Operator]] = {name: [] for name in graph.activations}
        for op in graph.operators:
            for name in op.inputs:
                if name in self.readers:
                    self.readers[name].append(op)

    def next_to(self, islands: Collection[str], inside: Collection[str]) -> Iterator[str]:
        """Give what shares an inner activation with an island."""
        for op in self._operators:
            for name in (n for n in (*op.inputs, *op.outputs) if n in inside):
                around = [self.makers[name], *self.readers[name]]
                if any(other.outputs[0] in islands for other in around):
                    yield from (o.outputs[0] for o in around if o.kind not in WEIGHTED)

    def between(self, islands: Collection[str]) -> Iterator[str]:
        """Give what takes activations from islands alone, and gives them to islands alone."""
        entered = self._closed(islands, {n: [m] for n, m in self.makers.items()}, forward=True)
        left = self._closed(islands, self.readers, forward=False)
        yield from entered & left

    def _closed(
        self, islands: Collection[str], others: Mapping[str, list[Operator]], *, forward: bool
    ) -> set[str]:
        """Return the operators on one side of which, however far, islands come first."""
        closed: set[str] = set(islands)
        for op in self._operators if forward else reversed(self._operators):
            names = [n for n in (op.inputs if forward else op.outputs) if n in self.readers]
            around = [others.get(name, []) for name in names]
            known = all(found and all(o.outputs[0] in closed for o in found) for found in around)
            if op.kind not in WEIGHTED and names and known:
                closed.add(op.outputs[0])
        return closed
