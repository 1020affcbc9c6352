"""A .tflite file is read as a float network only where it is one."""

from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.tflite_source import require_float
from leansight.exporters.tflite.file import pack
from leansight.runtime.errors import BundleError

KINDS = schema.TensorType


def write(file: Path, kind: int, *, scaled: bool) -> Path:
    grid = schema.QuantizationParametersT(scale=[0.5], zeroPoint=[0]) if scaled else None
    tensor = schema.TensorT(shape=[1, 4], type=kind, name=b"weights", quantization=grid)
    graph = schema.SubGraphT(tensors=[tensor], inputs=[0], outputs=[0], operators=[])
    model = schema.ModelT(
        version=3, subgraphs=[graph], buffers=[schema.BufferT()], operatorCodes=[]
    )
    file.write_bytes(pack(model))
    return file


@pytest.mark.parametrize(
    ("kind", "name"), [(KINDS.INT8, "int8"), (KINDS.UINT8, "uint8"), (KINDS.INT16, "int16")]
)
def test_integers_on_a_grid_are_refused_with_the_reason(
    kind: int, name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match=rf"quantized already \({name}\).*Floating point"):
        require_float(write(tmp_path / "model.tflite", kind, scaled=True))


@pytest.mark.parametrize("kind", [KINDS.FLOAT32, KINDS.FLOAT16, KINDS.INT8])
def test_floats_and_plain_integers_are_taken(kind: int, tmp_path: Path) -> None:
    require_float(write(tmp_path / "model.tflite", kind, scaled=False))


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff\xff\xff\x7fTFL3"])
def test_other_files_are_no_tflite(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(content)
    with pytest.raises(BundleError, match=r"model.tflite is no TFLite file: "):
        require_float(tmp_path / "model.tflite")
