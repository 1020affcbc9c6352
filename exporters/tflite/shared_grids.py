"""Quantization grids: which tensors share a scale and a zero point, and which the scale alone."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from leansight.exporters.tflite.graph import Operator, TfliteGraph

# What gives the numbers that it takes, or values between them.
MOVING = frozenset(
    {"CONCATENATION", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "PADV2", "RESHAPE", "TRANSPOSE"}
    | {"SLICE", "STRIDED_SLICE", "SPLIT", "PACK", "UNPACK", "GATHER", "GATHER_ND", "BROADCAST_TO"}
    | {"MIRROR_PAD", "SPACE_TO_DEPTH", "RESIZE_NEAREST_NEIGHBOR"}
)
ADDING = frozenset({"ADD", "SUB"})
# Functions that LiteRT computes on one grid alone: the bounds of that.
FIXED: Final[Mapping[str, tuple[float, float]]] = {
    "LOGISTIC": (0.0, 255 / 256),
    "TANH": (-1.0, 127 / 128),
}
# Of what sums join: ranges that differ by less count in steps of the same size.
NEARLY_AS_WIDE: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class SharedGrids:
    """The quantization grids of a graph: each has the name of the first activation on it.

    `grid` is that of each activation, in the order of the graph. Tensors between which numbers are
    only moved lie on one grid. Else they would be rounded again from grid to grid before each
    concatenation, which TFLite's runtimes and ONNX Runtime do not do alike; in DenseNet all layers
    of a block meet in one.

    `sums` is the first activation that sums join one to, those on a grid with it included. TFLite's
    runtimes multiply each side of a sum by a fixed-point factor, ONNX Runtime by a float, and where
    they part by a step in one number of 60,000, a deep network makes other logits of it. So all
    that sums join count in odd multiples of one step, as a sum then lies near no middle between two
    levels: the two files give the same numbers, bit for bit (docs/decisions/0014).

    `scale` is an activation that counts in steps of the same size: of all that sums join, until
    `by_width` tells them apart.

    `constants` are those that are added and count in steps of this size as well, each with the sum.
    """

    input: str
    grid: Mapping[str, str]
    sums: Mapping[str, str]
    scale: Mapping[str, str]
    constants: Mapping[str, str]

    @classmethod
    def of(cls, graph: TfliteGraph, islands: Collection[str] = ()) -> "SharedGrids":
        """Find the grids of a graph; its `islands` are computed in float and join none."""
        sums = _first_of_group(graph, MOVING | ADDING, islands)
        return cls(
            input=graph.input,
            grid=_first_of_group(graph, MOVING, islands),
            sums=sums,
            scale=sums,
            constants=dict(_added_constants(graph, islands)),
        )

    def members(self, grid: str) -> list[str]:
        """Return the activations on a grid."""
        return [name for name, other in self.grid.items() if other == grid]

    def fixed(self, graph: TfliteGraph, islands: Collection[str]) -> Mapping[str, str]:
        """Return the functions of `FIXED` whose grid one is, by its name."""
        return {
            self.grid[op.outputs[0]]: op.kind
            for op in graph.operators
            if op.kind in FIXED and op.outputs[0] not in islands
        }

    def mixed(self, graph: TfliteGraph, islands: Collection[str]) -> Iterator[str]:
        """Give the functions of `FIXED` on whose grid others put numbers, by what they give."""
        kinds: dict[str, set[str]] = {}
        for op in graph.operators:
            grid = self.grid[op.outputs[0]]
            taken = {self.grid[name] for name in op.inputs if name in self.grid}
            is_float = op.outputs[0] in islands
            if is_float or op.kind not in MOVING or taken != {grid}:
                kinds.setdefault(grid, set()).add("" if is_float else op.kind)
        for op in graph.operators:
            name = op.outputs[0]
            if op.kind in FIXED and name not in islands and kinds[self.grid[name]] != {op.kind}:
                yield name

    def by_width(self, graph: TfliteGraph, widths: Mapping[str, float]) -> "SharedGrids":
        """Return the grids with steps of the same size only where that loses little.

        In a sum of equal steps nothing is rounded; but along a residual stream numbers grow, and
        what is narrow there would count in the steps of what is widest. So steps of one size are
        for ranges that differ by less than `NEARLY_AS_WIDE`, and for what nothing but a sum reads
        of which all else has them: finer ones of its own would be lost there.

        Args:
            graph: of these grids.
            widths: of the range of each activation.

        """
        sums = [op for op in graph.operators if op.kind in ADDING and self._joins(op)]
        added = {grid for grid in self.grid.values() if self._is_only_added(grid, graph, sums)}
        steps: dict[str, str] = {}
        narrowest: dict[str, str] = {}
        for grid in sorted({*self.grid.values()} - added, key=lambda name: (-widths[name], name)):
            before = narrowest.get(self.sums[grid], grid)
            if 0 < widths[grid] * NEARLY_AS_WIDE < widths[before]:
                before = grid
            narrowest[self.sums[grid]] = steps[grid] = before
        for op in sums:
            made, *taken = (self.grid[n] for n in (*op.outputs, *op.inputs) if n in self.grid)
            alike = all(steps[grid] == steps[made] for grid in taken if grid not in added)
            steps |= {grid: steps[made] if alike else grid for grid in taken if grid in added}
        return replace(self, scale={name: steps[grid] for name, grid in self.grid.items()})

    def _joins(self, op: Operator) -> bool:
        """Whether a sum joins what it takes."""
        taken = [self.sums[name] for name in op.inputs if name in self.sums]
        return all(group == self.sums[op.outputs[0]] for group in taken)

    def _is_only_added(self, grid: str, graph: TfliteGraph, sums: Collection[Operator]) -> bool:
        """Whether nothing but one sum reads what is on a grid, and no sum gives it."""
        on_it = set(self.members(grid))
        readers = [op for op in graph.operators if on_it & set(op.inputs) - set(op.outputs)]
        outside = [op for op in readers if not on_it & set(op.outputs)]
        return (
            len(outside) == 1
            and outside[0] in sums
            and not any(on_it & set(op.outputs) for op in sums)
            and graph.output not in on_it
        )


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
    """Give the constants that are added, each with the sum, but to the network's input."""
    for op in (o for o in graph.operators if o.kind == "ADD" and o.outputs[0] not in islands):
        constants = [name for name in op.inputs if graph.tensors[name].values is not None]
        if len(constants) == 1 and graph.input not in op.inputs:
            yield constants[0], op.outputs[0]
