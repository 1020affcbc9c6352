"""What other tools find in the exported files: zipfile, LiteRT, ONNX Runtime, and MediaPipe."""

import importlib.util
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tiny_models
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter as LiteRt
from int8_files import TYPES, Tflite
from numpy.typing import NDArray
from onnx import helper
from shapes import LABELS, photos
from torch import nn

from leansight.benchmarks.graph_count import count_graph
from leansight.exporters.errors import ConversionError
from leansight.exporters.export import ExportImages, export_network
from leansight.exporters.options import ExportOptions, Promise
from leansight.exporters.packaging.metadata import describe
from leansight.runtime.bundle import Bundle, Precision, write_bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import NEVER, DecisionPolicy
from leansight.runtime.interpreter import load_interpreter
from leansight.runtime.preprocessing import Clahe, Preprocessing

Pixels = NDArray[np.uint8]
MEDIAPIPE = os.environ.get("LEANSIGHT_MEDIAPIPE_PYTHON") or (
    sys.executable if importlib.util.find_spec("mediapipe") else None
)
needs_mediapipe = pytest.mark.skipif(
    MEDIAPIPE is None,
    reason="no MediaPipe here: LEANSIGHT_MEDIAPIPE_PYTHON names a Python that has it",
)
COLOURS = ("red", "green, or so", "bläu")
SIZE = 8


def colours_tflite(kind: int, channels: int = 3) -> bytes:
    """Return a network whose logits are the means of the channels of (pixel - 128) / 128."""
    graph = tiny_models.TfliteGraph()
    pixels = graph.tensor((1, SIZE, SIZE, channels), kind)
    logits = graph.tensor((1, channels), kind)
    for number, name in ((pixels, b"in"), (logits, b"out")):
        graph.tensors[number].name = name
        if kind == schema.TensorType.INT8:
            grid = schema.QuantizationParametersT(scale=[1 / 128], zeroPoint=[0])
            graph.tensors[number].quantization = grid
    axes = graph.constant(np.array([1, 2], np.int32))
    graph.add("MEAN", (pixels, axes), logits, schema.ReducerOptionsT())
    graph.model.signatureDefs = [
        schema.SignatureDefT(
            inputs=[schema.TensorMapT(name=b"photo", tensorIndex=pixels)],
            outputs=[schema.TensorMapT(name=b"scores", tensorIndex=logits)],
            signatureKey=b"serving_default",
        )
    ]
    return graph.pack(pixels, logits)


def colours_onnx() -> bytes:
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["means"]),
        helper.make_node("Flatten", ["means"], ["logits"]),
    ]
    return tiny_models.onnx_model(nodes, {}, (1, 3, SIZE, SIZE), (1, 3))


INT8 = colours_tflite(schema.TensorType.INT8)
FLOAT32 = colours_tflite(schema.TensorType.FLOAT32)
both = pytest.mark.parametrize("model", [INT8, FLOAT32], ids=["int8", "float32"])
COLOURFUL = Bundle(
    path=Path("none"),
    name="Which colour?",
    labels=COLOURS,
    preprocessing=Preprocessing(size=SIZE),
    decision=DecisionPolicy(threshold=0.6, temperature=0.5),
    precision="int8",
)
MANY = replace(COLOURFUL, task="multilabel")


def described(model: bytes, bundle: Bundle = COLOURFUL) -> bytes:
    return describe({"tflite": model}, bundle)["tflite"]


def images(count: int, size: int = SIZE) -> Pixels:
    """Return (count, size, size, 3) pictures, each more or less of one colour."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 100, (count, size, size, 3))
    tint = rng.integers(0, 155, (count, 1, 1, 3))
    return (noise + tint).astype(np.uint8)


def means(pixels: Pixels) -> NDArray[np.float64]:
    return (pixels.astype(np.float64).mean((1, 2)) - 128) / 128


# The TFLite file


@both
def test_a_described_file_gives_the_same_logits(model: bytes) -> None:
    before, after = (load_interpreter(m, "tflite") for m in (model, described(model)))
    ramp = np.arange(SIZE * SIZE * 3, dtype=np.int64) % 256  # every value of a pixel
    for batch in (ramp.astype(np.uint8).reshape(1, SIZE, SIZE, 3), *images(20)[:, None]):
        np.testing.assert_array_equal(after(batch), before(batch))
        np.testing.assert_allclose(after(batch), means(batch)[0], atol=0.5 / 128 + 1e-6)


def test_every_pixel_value_passes_exactly() -> None:
    interpreter = load_interpreter(described(INT8), "tflite")
    for value in range(256):
        batch = np.full((1, SIZE, SIZE, 3), value, np.uint8)
        assert interpreter(batch).tolist() == [(value - 128) / 128] * 3


def test_an_int8_file_takes_pixels_and_gives_numbers() -> None:
    file = Tflite(described(INT8))
    (start,), (end,) = file.graph.inputs, file.graph.outputs
    assert [TYPES[file.tensors[i].type] for i in (start, end)] == ["UINT8", "FLOAT32"]
    assert file.grid(start) == (1 / 128, 128)
    kinds = [kind for kind, _, _ in file.operators]
    assert kinds == ["DEQUANTIZE", "QUANTIZE", "MEAN", "DEQUANTIZE"]
    (_, (source, _), target) = file.operators[2]
    assert {TYPES[file.tensors[i].type] for i in (source, target)} == {"INT8"}


def test_an_int8_graph_with_a_float_end_keeps_it() -> None:
    graph = tiny_models.TfliteGraph()
    pixels = graph.tensor((1, SIZE, SIZE, 3), schema.TensorType.INT8)
    graph.tensors[pixels].quantization = schema.QuantizationParametersT(
        scale=[1 / 128], zeroPoint=[0]
    )
    logits = graph.tensor((1, SIZE, SIZE, 3))
    graph.add("DEQUANTIZE", (pixels,), logits, schema.DequantizeOptionsT())
    kinds = [kind for kind, _, _ in Tflite(described(graph.pack(pixels, logits))).operators]
    assert kinds == ["DEQUANTIZE", "QUANTIZE", "DEQUANTIZE"]


@both
def test_the_signature_follows(model: bytes) -> None:
    interpreter = LiteRt(model_content=described(model))
    run = interpreter.get_signature_runner("serving_default")
    (picture,) = images(1)
    dtype = run.get_input_details()["photo"]["dtype"]
    batch = picture[None] if dtype == np.uint8 else (picture[None].astype(np.float32) - 128) / 128
    (scores,) = run(photo=batch)["scores"]
    np.testing.assert_allclose(scores, means(picture[None])[0], atol=0.5 / 128 + 1e-6)


@both
def test_the_benchmark_counts_the_same(model: bytes) -> None:
    assert count_graph(described(model), "tflite") == count_graph(model, "tflite")


def test_every_buffer_lies_where_the_schema_wants_it(tiny_tflite: bytes) -> None:
    bundle = replace(COLOURFUL, labels=LABELS, preprocessing=Preprocessing(size=8, colour="gray"))
    file = describe({"tflite": tiny_tflite}, bundle)["tflite"]
    root, start = schema.Model.GetRootAs(file), np.frombuffer(file, np.uint8).ctypes.data
    found = [root.Buffers(i).DataAsNumpy() for i in range(root.BuffersLength())]
    places = [data.ctypes.data - start for data in found if isinstance(data, np.ndarray)]
    assert len(places) == 6  # five constants and the metadata
    assert {place % 16 for place in places} == {0}


def test_the_labels_are_a_file_in_the_order_of_the_logits() -> None:
    with zipfile.ZipFile(io.BytesIO(described(INT8))) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").decode().splitlines() == list(COLOURS)
        assert archive.getinfo("labels.txt").compress_type == zipfile.ZIP_STORED
        assert archive.testzip() is None


def test_what_looks_like_a_zip_in_the_weights_is_not_taken_for_one() -> None:
    end = b"PK\x05\x06" + bytes(18)
    model = schema.ModelT.InitFromPackedBuf(INT8)
    model.buffers.append(schema.BufferT(data=np.frombuffer(end, np.uint8)))
    model.metadata = [schema.MetadataT(name=b"trap", buffer=len(model.buffers) - 1)]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    with zipfile.ZipFile(io.BytesIO(described(bytes(builder.Output())))) as archive:
        assert archive.namelist() == ["labels.txt"]


def test_describing_twice_is_describing_once_and_the_last_counts() -> None:
    models = {"tflite": INT8, "onnx": colours_onnx()}
    once = describe(models, COLOURFUL)
    assert describe(once, COLOURFUL) == once
    other = replace(COLOURFUL, name="other", decision=DecisionPolicy(threshold=0.9))
    assert describe(describe(models, other), COLOURFUL) == once
    assert b"Which colour?" not in describe(once, other)["tflite"]


def test_the_metadata_lie_in_the_fields_of_the_published_schema() -> None:
    model = schema.ModelT.InitFromPackedBuf(described(INT8))
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    data = bytes(model.buffers[entry.buffer].data)
    assert data[4:8] == b"M001"
    root = flatbuffers.table.Table(data, int.from_bytes(data[:4], "little"))
    assert text(root, 0) == "Which colour?"
    assert text(root, 2) == f"leansight {version('leansight')}"
    assert text(root, 7) == "1.0.0"
    (graph,) = tables(root, 3)
    (image,), (logits,) = tables(graph, 2), tables(graph, 3)
    content = table(image, 3)
    assert content.Get(flatbuffers.number_types.Uint8Flags, at(content, 0)) == 2  # an image
    colours = table(content, 1)
    assert colours.Get(flatbuffers.number_types.Int8Flags, at(colours, 0)) == 1  # RGB
    (unit,) = tables(image, 4)
    assert unit.Get(flatbuffers.number_types.Uint8Flags, at(unit, 0)) == 1  # normalisation
    for field in (0, 1):  # mean and deviation
        values = table(unit, 1).GetVectorAsNumpy(
            flatbuffers.number_types.Float32Flags, table(unit, 1).Offset(4 + 2 * field)
        )
        assert values.tolist() == [128]
    (labels,) = tables(logits, 6)
    assert text(labels, 0) == "labels.txt"
    assert labels.Get(flatbuffers.number_types.Int8Flags, at(labels, 2)) == 2  # of an axis


def at(node: Any, field: int) -> int:  # noqa: ANN401 -- flatbuffers has no types
    offset = node.Offset(4 + 2 * field)
    assert offset, f"field {field} is not there"
    return int(node.Pos + offset)


def text(node: Any, field: int) -> str:  # noqa: ANN401 -- as above
    return str(node.String(at(node, field)).decode())


def table(node: Any, field: int) -> Any:  # noqa: ANN401 -- as above
    return flatbuffers.table.Table(node.Bytes, node.Indirect(at(node, field)))


def tables(node: Any, field: int) -> list[Any]:  # noqa: ANN401 -- as above
    offset = node.Offset(4 + 2 * field)
    first = node.Vector(offset)
    places = [node.Indirect(first + 4 * i) for i in range(node.VectorLen(offset))]
    return [flatbuffers.table.Table(node.Bytes, place) for place in places]


@pytest.mark.parametrize("label", ["two\nlines", "two\r\nlines"])
def test_a_label_of_two_lines_is_refused(label: str) -> None:
    with pytest.raises(ConversionError, match=r"label 'two.*lines' has a line break.*rename it"):
        described(INT8, replace(COLOURFUL, labels=("red", label, "blue")))


# The ONNX file


def onnx_says(model: bytes, bundle: Bundle) -> dict[str, str]:
    file = describe({"onnx": model}, bundle)["onnx"]
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    return dict(session.get_modelmeta().custom_metadata_map)


def test_onnx_runtime_reads_what_the_file_is() -> None:
    clahe = replace(COLOURFUL, preprocessing=Preprocessing(size=SIZE, clahe=Clahe(tiles=2)))
    said = onnx_says(colours_onnx(), clahe)
    assert said["name"] == "Which colour?"
    assert json.loads(said["labels"]) == list(COLOURS)
    assert Preprocessing.from_dict(json.loads(said["preprocessing"])) == clahe.preprocessing
    assert (float(said["threshold"]), float(said["temperature"])) == (0.6, 0.5)
    assert said["task"] == "classification"
    assert said["input"] == "NCHW, rgb: (pixels - 128) / 128"
    assert said["output"] == "logits"
    assert said["leansight_version"] == version("leansight")
    assert "made 8x8 (stretch, area), then CLAHE (clip limit 2, 2x2)" in said["description"]
    assert "softmax(logits / 0.5), and a label is given from 0.6 on" in said["description"]


def test_an_integer_input_is_pixels_and_thresholds_of_labels_are_named() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["numbers"], to=onnx.TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["numbers", "axes"], ["logits"], keepdims=0),
        ],
        "tiny",
        [helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, (1, 4, 8, 8))],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, (1, 4))],
        [onnx.numpy_helper.from_array(np.array([2, 3]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.metadata_props.add(key="theirs", value="kept")
    own = {"red": 0.7, "bläu": NEVER}
    bundle = replace(
        MANY,
        preprocessing=Preprocessing(size=SIZE, difference_of_gaussians=True),
        decision=DecisionPolicy(threshold=0.6, label_thresholds=own),
    )
    said = onnx_says(model.SerializeToString(), bundle)
    assert said["input"] == "NCHW, rgb, edges: pixels"
    assert said["theirs"] == "kept"
    assert json.loads(said["label_thresholds"]) == own
    assert "sigmoid(logits / 1)" in said["description"]
    assert "from 0.6 on, red: 0.7, bläu: never" in said["description"]


# In a bundle


def test_a_bundle_of_described_files_loads_and_classifies(tmp_path: Path) -> None:
    models = describe({"tflite": INT8, "onnx": colours_onnx()}, COLOURFUL)
    contents = {f"model.{kind}": model for kind, model in models.items()}
    write_bundle(replace(COLOURFUL, path=tmp_path / "colours.bundle"), contents)
    blue = np.full((20, 30, 3), (250, 0, 60), np.uint8)  # as OpenCV orders it
    for kind in ("tflite", "onnx"):
        prediction = Classifier.load(tmp_path / "colours.bundle", model_format=kind)(blue)
        assert prediction.label == "bläu"


# MediaPipe


def in_mediapipe(model: bytes, pictures: Pixels, folder: Path) -> dict[str, Any]:
    assert MEDIAPIPE
    (folder / "model.tflite").write_bytes(model)
    np.savez(folder / "images.npz", images=pictures)
    script = Path(__file__).parents[2] / "helpers" / "programs" / "in_mediapipe.py"
    command = [MEDIAPIPE, script, folder / "model.tflite", folder / "images.npz"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


@needs_mediapipe
@both
def test_mediapipe_gives_each_label_its_logit(model: bytes, tmp_path: Path) -> None:
    pictures = images(20)
    said = in_mediapipe(described(model), pictures, tmp_path)["answers"]
    assert {given[0][0] for given in said} == set(COLOURS)
    for given, exact in zip(said, means(pictures), strict=True):
        assert [score for _, score in given] == sorted((s for _, s in given), reverse=True)
        scores = dict(given)
        assert [scores[label] for label in COLOURS] == pytest.approx(exact, abs=0.5 / 128 + 1e-6)


@needs_mediapipe
@both
def test_of_many_labels_mediapipe_gives_those_that_leansight_gives(
    model: bytes, tmp_path: Path
) -> None:
    pictures = images(20)
    said = in_mediapipe(described(model, MANY), pictures, tmp_path)["answers"]
    classifier = Classifier(
        preprocessing=MANY.preprocessing,
        interpreter=load_interpreter(model, "tflite"),
        labels=MANY.labels,
        policy=MANY.decision,
        task=MANY.task,
    )
    expected = [classifier(picture[..., ::-1]) for picture in pictures]
    assert {len(prediction.labels) for prediction in expected} >= {0, 1}
    for given, prediction in zip(said, expected, strict=True):
        assert {label for label, _ in given} == set(prediction.labels)
        ours = dict(prediction.top)
        assert [score for _, score in given] == pytest.approx([ours[n] for n, _ in given], 1e-5)


@needs_mediapipe
def test_mediapipes_own_schema_reads_the_metadata(tmp_path: Path) -> None:
    found = in_mediapipe(described(INT8, MANY), images(1), tmp_path)["metadata"]
    assert (found["name"], found["minParserVersion"]) == ("Which colour?", "1.0.0")
    assert "any number of 3 labels" in found["description"]
    (graph,) = found["subgraphMetadata"]
    (image,), (logits,) = graph["inputTensorMetadata"], graph["outputTensorMetadata"]
    assert image["content"]["contentProperties"] == {
        "colorSpace": 1,
        "defaultSize": {"width": SIZE, "height": SIZE},
    }
    assert [unit["options"] for unit in image["processUnits"]] == [{"mean": [128], "std": [128]}]
    assert [file["name"] for file in logits["associatedFiles"]] == [
        *("labels.txt", "score_calibration.txt"),
    ]
    calibration, threshold = (unit["options"] for unit in logits["processUnits"])
    assert calibration == {"scoreTransformation": 0, "defaultScore": 0}
    assert threshold == {"globalScoreThreshold": pytest.approx(0.6)}


@needs_mediapipe
@pytest.mark.parametrize(
    ("preprocessing", "channels"),
    [
        (Preprocessing(size=SIZE, colour="gray"), 1),
        (Preprocessing(size=SIZE, difference_of_gaussians=True), 4),
    ],
)
def test_mediapipe_refuses_what_it_could_only_feed_wrongly(
    preprocessing: Preprocessing, channels: int, tmp_path: Path
) -> None:
    model = colours_tflite(schema.TensorType.INT8, channels)
    bundle = replace(COLOURFUL, preprocessing=preprocessing)
    error = in_mediapipe(described(model, bundle), images(1), tmp_path)["error"]
    assert "Only RGB color space is supported" in error


@needs_mediapipe
def test_mediapipe_takes_no_int8(tmp_path: Path) -> None:
    error = in_mediapipe(INT8, images(1), tmp_path)["error"]
    assert "uint8/float32, got INT8" in error


@needs_mediapipe
@pytest.mark.slow
# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
@pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")
@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_mediapipe_says_of_an_exported_file_what_leansight_says(
    precision: Precision, tmp_path: Path
) -> None:
    bundle = exported(tmp_path / "shapes.bundle", precision)
    classifier = Classifier.load(bundle.path, model_format="tflite")
    pictures = np.stack(photos(60, seed=3)[0])  # larger than the network's: both shrink them
    own = [classifier(picture) for picture in pictures]
    assert {prediction.label for prediction in own} >= set(LABELS)
    said = in_mediapipe(bundle.read("model.tflite"), pictures[..., ::-1], tmp_path)["answers"]
    # They shrink by other rules: who is not sure may change its mind.
    sure = [(given[0][0], p.label) for given, p in zip(said, own, strict=True) if p.label]
    assert len(sure) > 30
    assert [theirs for theirs, _ in sure] == [ours for _, ours in sure]
    # Of the network's own size there is nothing to shrink.
    exact = np.concatenate([bundle.preprocessing(picture) for picture in pictures])
    said = in_mediapipe(bundle.read("model.tflite"), exact, tmp_path)["answers"]
    for given, pixels in zip(said, exact, strict=True):
        logits = dict(zip(LABELS, classifier.interpreter(pixels[None]), strict=True))
        assert given == [
            [label, pytest.approx(logits[label], abs=1e-4)]
            for label in sorted(logits, key=lambda name: -logits[name])
        ]


@dataclass(frozen=True)
class ImageSet:
    pixels: Pixels
    classes: NDArray[np.int64]


def exported(path: Path, precision: Precision) -> Bundle:
    """Train a small colour network for a moment, and export it."""
    torch.manual_seed(0)
    preprocessing = Preprocessing(size=32)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        *(nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, stride=2, padding=1, bias=False)),
        *(nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 3)),
    )
    train, validation = (labelled(preprocessing, n, seed) for n, seed in ((300, 0), (60, 1)))
    teach(network, train)
    draft = Bundle(
        path=path,
        name="shapes",
        labels=LABELS,
        preprocessing=preprocessing,
        decision=DecisionPolicy(threshold=0.7),
        precision=precision,
    )
    given = ExportImages(calibration=train.pixels[:60], validation=validation)
    export_network(
        network.eval(),
        draft,
        given,
        ExportOptions(promise=Promise(max_drop=5)),
        progress=lambda *_: None,
    )
    return Bundle.load(path)


def labelled(preprocessing: Preprocessing, count: int, seed: int) -> ImageSet:
    pictures, classes = photos(count, seed)
    return ImageSet(np.concatenate([preprocessing(p) for p in pictures]), classes)


def teach(network: nn.Module, images: ImageSet) -> None:
    pixels = (torch.from_numpy(images.pixels).permute(0, 3, 1, 2).float() - 128) / 128
    classes = torch.from_numpy(images.classes)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for batch in torch.arange(len(classes)).repeat(8).split(30):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(pixels[batch]), classes[batch]).backward()
        optimiser.step()
