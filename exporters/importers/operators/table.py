"""The operators of image classifiers in ONNX as torch functions.

The libraries that read ONNX into torch have not kept up (onnx2torch 1.5.15, of 2024, knows opset
17 at most). A graph that ONNX Runtime has simplified needs few operators; what is not among
them is refused by name. A transposition is only noted, and made where an operator needs it, so
that a network that was written channels last ends up without any.
"""

from collections.abc import Callable, Mapping
from typing import Final

from leansight.exporters.importers.operators.assignments import ASSIGNMENTS
from leansight.exporters.importers.operators.conditions import CONDITIONS
from leansight.exporters.importers.operators.einsum import EINSUM
from leansight.exporters.importers.operators.elementwise import ELEMENTWISE
from leansight.exporters.importers.operators.layers import LAYERS
from leansight.exporters.importers.operators.node import Activation, Step
from leansight.exporters.importers.operators.norms import NORMS
from leansight.exporters.importers.operators.reductions import REDUCTIONS
from leansight.exporters.importers.operators.resizing import RESIZING
from leansight.exporters.importers.operators.shapes import SHAPES

OPERATORS: Final[Mapping[str, Callable[[Step], Activation | list[Activation]]]] = {
    **ASSIGNMENTS,
    **CONDITIONS,
    **EINSUM,
    **LAYERS,
    **ELEMENTWISE,
    **NORMS,
    **REDUCTIONS,
    **RESIZING,
    **SHAPES,
}
