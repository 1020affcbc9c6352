"""The same network in every version of ONNX's operators, held against ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import version_converter
from onnx_files import File, numbers, require_like_runtime

OLDEST, NEWEST = 7, onnx.defs.onnx_opset_version()


def network(opset: int) -> File:  # noqa: PLR0912 -- a branch for each change
    """Layers that have changed: what were attributes are inputs now."""
    file = File(opset=opset)

    def whole(*values: int) -> str:
        return file.constant(values, np.int64)

    file.then("Conv", file.constant(numbers(6, 3, 3, 3)), pads=[1, 1, 1, 1])
    statistics = (numbers(6), numbers(6), numbers(6) / 9, np.abs(numbers(6)) + 0.5)
    file.then("BatchNormalization", *map(file.constant, statistics))
    if opset < 11:
        file.then("Clip", min=-0.5, max=2.0).then("Pad", pads=[0, 0, 1, 0, 0, 0, 0, 1], value=0.3)
    else:
        file.then("Clip", file.constant(-0.5), file.constant(2.0))
        file.then("Pad", whole(0, 0, 1, 0, 0, 0, 0, 1), file.constant(0.3))
    if opset < 10:
        file.then("Slice", starts=[0, 2], ends=[-1, 9], axes=[2, 3])
    else:
        file.then("Slice", whole(0, 2), whole(-1, 9), whole(2, 3))
    if opset < 9:
        file.then("Upsample", scales=[1.0, 1.0, 2.0, 2.0])
    elif opset < 10:
        file.then("Upsample", file.constant([1, 1, 2, 2]))
    elif opset < 11:
        file.then("Resize", file.constant([1, 1, 2, 2]))
    else:
        places = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        file.then("Resize", file.constant([0] * 8), file.constant([1, 1, 2, 2]), **places)
    if opset < 12:
        file.then("Dropout", ratio=0.3)
    else:
        file.then("Dropout", file.constant(0.3))
    sizes = ({"split": [2, 4]}, ()) if opset < 13 else ({}, (whole(2, 4),))
    file.then("Split", *sizes[1], outputs=2, axis=1, **sizes[0])
    first = file.last
    file.node("Concat", first.replace("_0", "_1"), first, axis=1).then(
        "MaxPool", kernel_shape=[2, 2]
    )
    if opset < 18:
        file.then("ReduceMean", axes=[2, 3])
    else:
        file.then("ReduceMean", whole(2, 3))
    if opset < 13:
        file.then("Squeeze", axes=[2, 3]).then("Unsqueeze", axes=[1]).then("Squeeze", axes=[1])
    else:
        file.then("Squeeze", whole(2, 3)).then("Unsqueeze", whole(1)).then("Squeeze", whole(1))
    file.then("Gemm", file.constant(numbers(6, 5)), file.constant(numbers(5)))
    return file.then("Softmax", axis=1)


@pytest.mark.parametrize("opset", range(OLDEST, 19))
def test_operators_are_read_in_the_version_of_the_file(opset: int, tmp_path: Path) -> None:
    require_like_runtime(network(opset).save(tmp_path), end="softmax")


@pytest.mark.parametrize("opset", range(18, NEWEST + 1))
def test_newer_versions_are_read_as_far_as_onnx_knows_them(opset: int, tmp_path: Path) -> None:
    file = network(18).save(tmp_path)
    onnx.save(version_converter.convert_version(onnx.load(file), opset), file)
    assert onnx.load(file).opset_import[0].version == opset
    require_like_runtime(file, end="softmax")


@pytest.mark.parametrize(("ir_version", "opset"), [(3, 7), (3, 8), (4, 9), (8, 17)])
def test_weights_may_be_listed_among_the_inputs(
    ir_version: int, opset: int, tmp_path: Path
) -> None:
    """Before IR 4 they had to be."""
    file = network(opset).save(tmp_path)
    model = onnx.load(file)
    model.ir_version = ir_version
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        for weight in model.graph.initializer
    )
    onnx.save(model, file)
    require_like_runtime(file, end="softmax")
