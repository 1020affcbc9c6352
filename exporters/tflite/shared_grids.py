"""Quantization grids: which tensors share a scale and a zero point, and which the scale alone."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from leansight.exporters.tflite.graph import TfliteGraph

# What gives the numbers that it takes, or values between them.
MOVING = frozenset(
    {"CONCATENATION", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "PADV2", "RESHAPE", "TRANSPOSE"}
    | {"SLICE", "STRIDED_SLICE", "SPLIT", "PACK", "UNPACK", "GATHER", "GATHER_ND", "BROADCAST_TO"}
    | {"MIRROR_PAD", "SPACE_TO_DEPTH", "RESIZE_NEAREST_NEIGHBOR"}
)
# What adds the numbers that it takes: exact in integers where all of them count in equal steps.
ADDING = frozenset({"ADD", "SUB"})


@dataclass(frozen=True, kw_only=True)
class SharedGrids:
    """The quantization grids of a graph: each has the name of the first activation on it.

    `grid` is that of each activation, in the order of the graph. Tensors between which numbers are
    only moved lie on one grid. Else they would be rounded again from grid to grid before each
    concatenation, which TFLite's runtimes and ONNX Runtime do not do alike; in DenseNet all layers
    of a block meet in one.

    `scale` is the first activation that counts in steps of the same size. These are the ones that
    are added, and those on a grid with them. TFLite's runtimes multiply each side of a sum by a
    fixed-point factor, ONNX Runtime by a float, and where they part by a step in one number of
    60,000, a deep network makes other logits of it. With equal steps both add integers: the two
    files then give the same numbers, bit for bit (docs/decisions/0014).

    `constants` are those that are added and count in steps of this size as well, each with the sum.
    """

    input: str
    grid: Mapping[str, str]
    scale: Mapping[str, str]
    constants: Mapping[str, str]

    @classmethod
    def of(cls, graph: TfliteGraph, islands: Collection[str] = ()) -> "SharedGrids":
        """Find the grids of a graph; its `islands` are computed in float and join none."""
        return cls(
            input=graph.input,
            grid=_first_of_group(graph, MOVING, islands),
            scale=_first_of_group(graph, MOVING | ADDING, islands),
            constants=dict(_added_constants(graph, islands)),
        )

    def members(self, grid: str) -> list[str]:
        """Return the activations on a grid."""
        return [name for name, other in self.grid.items() if other == grid]


def _first_of_group(
    graph: TfliteGraph, kinds: frozenset[str], islands: Collection[str]
) -> dict[str, str]:
    """Return for each activation the first of those that operators of these kinds join it to."""
    groups: dict[str, set[str]] = {name: {name} for name in graph.activations}
    with_constants = {result for _, result in _added_constants(graph, islands)}
    for op in (op for op in graph.operators if op.outputs[0] not in islands):
        sources = [name for name in op.inputs if name in groups and name != graph.input]
        joined = op.kind in MOVING or len(sources) > 1 or op.outputs[0] in with_constants
        if op.kind in kinds and joined:
            group = set[str]().union(*(groups[name] for name in (*sources, *op.outputs)))
            groups |= dict.fromkeys(group, group)
    order = {name: index for index, name in enumerate(graph.activations)}
    return {name: min(group, key=order.__getitem__) for name, group in groups.items()}


def _added_constants(graph: TfliteGraph, islands: Collection[str]) -> Iterator[tuple[str, str]]:
    """Give the constants that count in the steps of the sum that they are in, and its result.

    Only where nothing else reads what they are added to: in coarser steps it loses nothing then.
    """
    readers = Counter(name for op in graph.operators for name in op.inputs)
    for op in (o for o in graph.operators if o.kind == "ADD" and o.outputs[0] not in islands):
        constants = [name for name in op.inputs if graph.tensors[name].values is not None]
        alone = all(readers[name] == 1 for name in op.inputs)
        if len(constants) == 1 and alone and graph.input not in op.inputs:
            yield constants[0], op.outputs[0]
