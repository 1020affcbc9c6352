"""What a .tflite file must be to be read as a float network."""

from pathlib import Path
from typing import Final

import numpy as np

from leansight.exporters.errors import ConversionError
from leansight.runtime.errors import BundleError
from leansight.runtime.model_files.flatbuffer import Table

_IDENTIFIER: Final = b"TFL3"
_INTEGERS: Final = {3: "uint8", 7: "int16", 9: "int8", 17: "int4"}  # TensorType of the schema
# Fields of the schema: SubGraph and Buffer of a Model; Tensor's type, name, quantization.
_SUBGRAPHS: Final = 2
_TYPE, _NAME, _QUANTIZATION, _SCALE = 1, 3, 4, 2


def require_float(source: Path) -> None:
    """Refuse a .tflite file whose numbers are integers already.

    Raises:
        BundleError: it is no TFLite file.
        ConversionError: it is quantized; its integers tell nothing of the float network.

    """
    try:
        tensors = [
            tensor
            for graph in Table.root(source.read_bytes(), _IDENTIFIER).tables(_SUBGRAPHS)
            for tensor in graph.tables(0)
        ]
        kinds = [tensor.number(_TYPE, "b") for tensor in tensors]
        scaled = [_is_scaled(tensor) for tensor in tensors]
    except (OSError, ValueError) as error:
        raise BundleError(f"{source} is no TFLite file: {error}") from error
    for kind, is_scaled in zip(kinds, scaled, strict=True):
        if is_scaled and kind in _INTEGERS:
            raise ConversionError(
                f"{source} is quantized already ({_INTEGERS[kind]}): its integers are rounded, and "
                "rounding them again loses more. Export it as float32 (in Teachable Machine: "
                "TensorFlow Lite, Floating point), or give the network that it was made from"
            )


def _is_scaled(tensor: Table) -> bool:
    grid = tensor.table(_QUANTIZATION)
    return grid is not None and len(grid.numbers(_SCALE, np.float32)) > 0
