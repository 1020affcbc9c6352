"""What the exported files say of themselves: TFLite's metadata, and ONNX's metadata_props.

TFLite metadata is a second flatbuffer inside the first, with a zip of the label file behind it.
MediaPipe, ML Kit and Netron read it. Its schema (Apache-2.0) is
tensorflow/tflite-support/tensorflow_lite_support/metadata/metadata_schema.fbs, version 1.1.0.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types

from leansight.exporters.errors import ConversionError
from leansight.exporters.tflite.file import pack, take_pixels, unpack
from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import NEVER
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import PIXEL_SCALE, PIXEL_ZERO, Preprocessing

ENTRY = b"TFLITE_METADATA"
IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"  # the least that knows all the fields used here
LABEL_FILE = "labels.txt"
CALIBRATION_FILE = "score_calibration.txt"
# Zips remember when: always the same, so that the same network is the same file.
LONG_AGO = (1980, 1, 1, 0, 0, 0)

# The schema's tables: their fields in its order. A union takes two, its type first.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "AssociatedFile": ("name", "description", "type"),
    "ImageSize": ("width", "height"),
    "ImageProperties": ("color_space", "default_size"),
    "FeatureProperties": (),
    "Content": ("content_properties_type", "content_properties"),
    "NormalizationOptions": ("mean", "std"),
    "ScoreCalibrationOptions": ("score_transformation", "default_score"),
    "ScoreThresholdingOptions": ("global_score_threshold",),
    "ProcessUnit": ("options_type", "options"),
    "TensorMetadata": (
        *("name", "description", "dimension_names", "content", "process_units", "stats"),
        "associated_files",
    ),
    "SubGraphMetadata": ("name", "description", "input_tensor_metadata", "output_tensor_metadata"),
    "ModelMetadata": (
        *("name", "description", "version", "subgraph_metadata", "author", "license"),
        *("associated_files", "min_parser_version"),
    ),
}
# Of its enumerations and unions.
TENSOR_AXIS_LABELS, TENSOR_AXIS_SCORE_CALIBRATION = np.int8(2), np.int8(4)
COLOUR_SPACES = {"rgb": np.int8(1), "gray": np.int8(2)}
UNKNOWN_COLOUR_SPACE = np.int8(0)
CONTENTS = {"FeatureProperties": np.uint8(1), "ImageProperties": np.uint8(2)}
PROCESSES = {
    "NormalizationOptions": np.uint8(1),
    "ScoreCalibrationOptions": np.uint8(2),
    "ScoreThresholdingOptions": np.uint8(3),
}
_NUMBERS = {
    np.int8: number_types.Int8Flags,
    np.uint8: number_types.Uint8Flags,
    np.uint32: number_types.Uint32Flags,
    np.float32: number_types.Float32Flags,
}
_Table = tuple[str, Mapping[str, Any]]  # a table's name in the schema, and its fields


def describe(models: Mapping[Format, bytes], bundle: Bundle) -> dict[Format, bytes]:
    """Return a bundle's models as other tools read them: what is in them is written there.

    Networks and logits stay the same; an int8 TFLite file takes uint8 pixels and gives float32
    logits. What a file said of itself before is replaced.

    Raises:
        ConversionError: a label does not fit a line.

    """
    for label in bundle.labels:
        if "\n" in label or "\r" in label:
            raise ConversionError(
                f"the label {label!r} has a line break, which TFLite's label files cannot hold: "
                "rename it"
            )
    write = {"tflite": _describe_tflite, "onnx": _describe_onnx}
    return {kind: write[kind](model, bundle) for kind, model in models.items()}


def summary(bundle: Bundle) -> str:
    """Return what a tool's user has to know of the network, in one paragraph."""
    many = bundle.task == "multilabel"
    ways, function = ("any number", "sigmoid") if many else ("one", "softmax")
    own = "".join(
        f", {label}: {'never' if threshold == NEVER else f'{threshold:g}'}"
        for label, threshold in bundle.decision.label_thresholds.items()
    )
    return (
        f"Says {ways} of {len(bundle.labels)} labels. {_preparation(bundle.preprocessing)} "
        f"It gives logits: probabilities are {function}(logits / {bundle.decision.temperature:g}), "
        f"and a label is given from {bundle.decision.threshold:g} on{own}. "
        f"Made with leansight {version('leansight')}."
    )


def _preparation(preprocessing: Preprocessing) -> str:
    clahe, wide = preprocessing.clahe, preprocessing.width
    how = f"{preprocessing.fit}, {preprocessing.interpolation}"
    steps = [f"{preprocessing.colour}, made {preprocessing.height}x{wide} ({how})"]
    if clahe is not None:
        steps.append(f"then CLAHE (clip limit {clahe.clip_limit:g}, {clahe.tiles}x{clahe.tiles})")
    if preprocessing.difference_of_gaussians:
        steps.append("then one more channel, the difference of Gaussians")
    return f"The image is {', '.join(steps)}."


def _describe_onnx(model: bytes, bundle: Bundle) -> bytes:
    parsed = onnx.load_model_from_string(model)
    (image,), policy = parsed.graph.input, bundle.decision
    integers = image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    values_of = "pixels" if integers else f"(pixels - {PIXEL_ZERO}) / {1 / PIXEL_SCALE:g}"
    edges = ", edges" * bundle.preprocessing.difference_of_gaussians
    values = {
        "name": bundle.name,
        "description": summary(bundle),
        "task": bundle.task,
        "labels": json.dumps(bundle.labels, ensure_ascii=False),
        "preprocessing": json.dumps(bundle.preprocessing.to_dict()),
        "input": f"NCHW, {bundle.preprocessing.colour}{edges}: {values_of}",
        "output": "logits",
        "temperature": repr(policy.temperature),
        "threshold": repr(policy.threshold),
        "label_thresholds": json.dumps(dict(policy.label_thresholds), ensure_ascii=False),
        "leansight_version": version("leansight"),
    }
    kept = {entry.key: entry.value for entry in parsed.metadata_props}
    onnx.helper.set_model_props(parsed, kept | values)
    return bytes(parsed.SerializeToString())


def _describe_tflite(model: bytes, bundle: Bundle) -> bytes:
    opened = unpack(model)
    take_pixels(opened)
    entries = {entry.name: entry for entry in opened.metadata or []}
    if ENTRY not in entries:
        entries[ENTRY] = schema.MetadataT(name=ENTRY, buffer=len(opened.buffers))
        opened.buffers.append(schema.BufferT())
    opened.buffers[entries[ENTRY].buffer].data = _metadata(bundle)
    opened.metadata = list(entries.values())
    return _with_files(pack(opened), _associated_files(bundle))


def _associated_files(bundle: Bundle) -> dict[str, str]:
    files = {LABEL_FILE: "".join(f"{label}\n" for label in bundle.labels)}
    if bundle.task == "multilabel":
        # Scale, slope and offset of each label's sigmoid.
        slope = 1 / bundle.decision.temperature
        files[CALIBRATION_FILE] = "\n".join(f"1,{slope!r},0" for _ in bundle.labels)
    return files


def _with_files(model: bytes, files: Mapping[str, str]) -> bytes:
    """Append an uncompressed zip, whose offsets count from the model's first byte."""
    whole = io.BytesIO()
    whole.write(model)
    with zipfile.ZipFile(whole, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), text)
    return whole.getvalue()


def _metadata(bundle: Bundle) -> bytes:
    """Return the flatbuffer of the metadata of a network with one image in, logits out."""
    subgraph = {
        "input_tensor_metadata": [_input(bundle.preprocessing)],
        "output_tensor_metadata": [_output(bundle)],
    }
    values = {
        "name": bundle.name,
        "description": summary(bundle),
        "version": f"leansight {version('leansight')}",
        "subgraph_metadata": [("SubGraphMetadata", subgraph)],
        "min_parser_version": PARSER_VERSION,
    }
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(_write(builder, ("ModelMetadata", values)), IDENTIFIER)
    return bytes(builder.Output())


def _input(preprocessing: Preprocessing) -> _Table:
    height, width = np.uint32(preprocessing.height), np.uint32(preprocessing.width)
    # A tool that knows RGB would put something else into a fourth channel.
    edges = preprocessing.difference_of_gaussians
    colours = UNKNOWN_COLOUR_SPACE if edges else COLOUR_SPACES[preprocessing.colour]
    image = {
        "color_space": colours,
        "default_size": ("ImageSize", {"width": width, "height": height}),
    }
    normalization = {
        "mean": np.array([PIXEL_ZERO], np.float32),
        "std": np.array([1 / PIXEL_SCALE], np.float32),
    }
    return "TensorMetadata", {
        "name": "image",
        "description": _preparation(preprocessing),
        "content": ("Content", _union("content_properties", CONTENTS, "ImageProperties", image)),
        "process_units": [_process("NormalizationOptions", normalization)],
    }


def _output(bundle: Bundle) -> _Table:
    """Describe the logits; of many labels, each one's sigmoid is its probability."""
    files = [_associated(LABEL_FILE, "The labels, in the order of the logits", TENSOR_AXIS_LABELS)]
    units = []
    if bundle.task == "multilabel":
        about = "How a logit becomes a probability"
        files.append(_associated(CALIBRATION_FILE, about, TENSOR_AXIS_SCORE_CALIBRATION))
        units.append(_process("ScoreCalibrationOptions", {}))
        if not bundle.decision.label_thresholds:
            threshold = {"global_score_threshold": np.float32(bundle.decision.threshold)}
            units.append(_process("ScoreThresholdingOptions", threshold))
    return "TensorMetadata", {
        "name": "logits",
        "description": "One logit a label",
        "content": ("Content", _union("content_properties", CONTENTS, "FeatureProperties", {})),
        "process_units": units,
        "associated_files": files,
    }


def _associated(name: str, description: str, kind: np.int8) -> _Table:
    return "AssociatedFile", {"name": name, "description": description, "type": kind}


def _process(kind: str, values: Mapping[str, Any]) -> _Table:
    return "ProcessUnit", _union("options", PROCESSES, kind, values)


def _union(
    field: str, kinds: Mapping[str, np.uint8], kind: str, values: Mapping[str, Any]
) -> dict[str, Any]:
    return {f"{field}_type": kinds[kind], field: (kind, values)}


def _write(builder: Any, value: Any) -> int:
    """Write a text, an array, a list of tables or a table; return where it is."""
    match value:
        case str():
            return int(builder.CreateString(value))
        case np.ndarray():
            return int(builder.CreateNumpyVector(value))
        case list():
            tables = [_write(builder, table) for table in value]
            builder.StartVector(4, len(tables), 4)
            for table in reversed(tables):  # flatbuffers are built from behind
                builder.PrependUOffsetTRelative(table)
            return int(builder.EndVector())
    kind, fields = value
    places = {n: _write(builder, v) for n, v in fields.items() if not isinstance(v, np.generic)}
    builder.StartObject(len(FIELDS[kind]))
    for name, field in fields.items():
        slot = FIELDS[kind].index(name)
        if name in places:
            builder.PrependUOffsetTRelativeSlot(slot, places[name], 0)
        else:
            builder.PrependSlot(_NUMBERS[type(field)], slot, field, 0)
    return int(builder.EndObject())
