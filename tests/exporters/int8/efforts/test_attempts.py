"""Each effort gives one int8 network in two formats, better than the one before."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from int8_files import TYPES, Tflite
from residual_network import PREPROCESSING, Residual, prepared, spoil
from shapes import LABELS, photos
from trained_networks import ignore

from leansight.benchmarks.graph_count import count_graph
from leansight.benchmarks.measure import measure_models
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.exporters import export as export_module
from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.inference import predict
from leansight.exporters.export import ExportImages, export_network
from leansight.exporters.int8.calibrated_network import CalibratedNetwork
from leansight.exporters.int8.efforts.attempts import attempts
from leansight.exporters.int8.efforts.cost import Stopwatch
from leansight.exporters.options import (
    EFFORTS,
    ExportOptions,
    ExportRefusedError,
    NextEffort,
    Promise,
)
from leansight.exporters.verification.float_layers import names_of_float_layers
from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.golden import check_golden
from leansight.runtime.interpreter import Format, load_interpreter
from leansight.sdk.evaluation.answers import load_model

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.fixture(scope="module")
def tried(spoilt: CalibratedNetwork) -> dict[str, list[dict[Format, bytes]]]:
    made: dict[str, list[dict[Format, bytes]]] = {}
    training = prepared(120, seed=5).pixels
    watch = Stopwatch()
    with watch.time("converting"):
        floats = spoilt.floats
    for effort, files in attempts(
        floats,
        PREPROCESSING,
        spoilt.pixels,
        lambda: training,
        ExportOptions(),
        ignore,
        watch=watch,
    ):
        made.setdefault(effort, []).append(dict(files))
    return made


@pytest.mark.slow
def test_every_effort_gives_one_network_in_two_formats(
    tried: dict[str, list[dict[Format, bytes]]], spoilt: CalibratedNetwork
) -> None:
    # Training under rounding is left out where it makes nothing better.
    assert list(tried) in ([*EFFORTS], [e for e in EFFORTS if e != "training"])
    images = prepared(60, seed=2).pixels
    wanted = predict(for_any_number(spoilt.floats.folded), images)
    errors = {}
    for effort, several in tried.items():
        for files in several:
            logits = {
                kind: np.stack([load_interpreter(f, kind)(i[None]) for i in images])
                for kind, f in files.items()
            }
            spread = np.ptp(wanted)
            assert np.abs(logits["tflite"] - logits["onnx"]).max() < 0.03 * spread
            errors[effort] = float(((logits["tflite"] - wanted) ** 2).mean())
    assert errors["ranges"] < 0.3 * errors["calibration"]
    assert errors["float layers"] <= 1.1 * errors.get("training", errors["ranges"])


@pytest.mark.slow
def test_for_a_pi_5_activations_are_signed_and_the_network_is_the_same(
    found: CalibratedNetwork,
) -> None:
    unsigned, signed = found.write(), replace(found, target="pi5").write()
    assert unsigned["tflite"] == signed["tflite"]
    kinds = [activation_types(files["onnx"]) for files in (unsigned, signed)]
    assert kinds == [{"UINT8"}, {"INT8"}]
    images = prepared(60, seed=2).pixels
    logits = [
        np.stack([load_interpreter(files["onnx"], "onnx")(i[None]) for i in images])
        for files in (unsigned, signed)
    ]
    bounds = found.ranges[found.graph.output]
    assert np.abs(logits[0] - logits[1]).max() <= (bounds.high - bounds.low) / 255 + 1e-6


def activation_types(file: bytes) -> set[str]:
    graph = onnx.load_from_string(file).graph
    types = {i.name: onnx.TensorProto.DataType.Name(i.data_type) for i in graph.initializer}
    return {types[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}


@pytest.mark.slow
def test_only_what_touches_a_sensitive_activation_stays_in_float(
    tried: dict[str, list[dict[Format, bytes]]],
) -> None:
    shares = []
    for files in tried["float layers"]:
        named = names_of_float_layers(files)
        for kind, file in files.items():
            count = count_graph(file, kind)
            assert (count.precision, count.float_layers) == ("int8", len(named))
        assert len(named) >= 1
        tflite = Tflite(files["tflite"])
        kinds = [kind for kind, _, _ in tflite.operators]
        assert {"QUANTIZE", "DEQUANTIZE"} & set(kinds)
        floats = sum(
            TYPES[tflite.tensors[output].type] == "FLOAT32" for _, _, output in tflite.operators
        )
        shares.append(floats)
    assert shares == sorted(shares)
    assert shares[0] >= 1


def a_draft(path: Path) -> Bundle:
    return Bundle(
        path=path,
        name="shapes",
        labels=LABELS,
        preprocessing=PREPROCESSING,
        decision=DecisionPolicy(threshold=0.5),
        precision="int8",
    )


def few_images() -> ExportImages:
    return ExportImages(
        calibration=prepared(60, seed=1).pixels,
        validation=prepared(200, seed=3),
        golden=photos(3, seed=5)[0],
    )


@pytest.mark.slow
def test_more_effort_keeps_a_promise_that_plain_calibration_breaks(
    network: Residual, spoilt: CalibratedNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copy.deepcopy(network)
    spoil(other)
    monkeypatch.setattr(export_module, "convert", lambda *_: spoilt.floats)
    draft, images = a_draft(tmp_path / "shapes.bundle"), few_images()
    with pytest.raises(ExportRefusedError, match=r"Tried: calibration.*Nothing was written"):
        export_network(
            other,
            draft,
            images,
            ExportOptions(promise=Promise(max_drop=1), effort="calibration"),
            progress=ignore,
        )
    assert not draft.path.exists()
    report = export_network(
        other, draft, images, ExportOptions(promise=Promise(max_drop=1)), progress=ignore
    )["validation"]
    assert report.effort == "ranges"
    assert list(report.refusals) == ["calibration"]
    assert Bundle.load(draft.path).metrics["validation"]["effort"] == "ranges"


def assert_announced(told: list[str | NextEffort]) -> None:
    """Hold each dearer effort to have been announced before it was made, with its cost."""
    announced = [one for one in told if isinstance(one, NextEffort)]
    assert [one.effort for one in announced] == ["ranges", "training", "float layers"]
    assert all(one.refusal == "of no consequence" for one in announced)
    assert all(0 < one.expected_seconds < 600 for one in announced)
    made = [one for one in told if isinstance(one, str)]
    assert [e for e in made if e != "training"] == ["calibration", "ranges", "float layers"]
    assert told.index("calibration") < told.index(announced[0]) < told.index("ranges")
    assert told.index("ranges") < told.index(announced[1]) < told.index(announced[2])
    assert told.index(announced[2]) < told.index("float layers")


@pytest.mark.slow
def test_a_bundle_with_layers_in_float_is_called_that_everywhere(
    network: Residual, spoilt: CalibratedNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "convert", lambda *_: spoilt.floats)
    monkeypatch.setattr(
        export_module,
        "find_refusal",
        lambda report, _: None if report.effort == "float layers" else "of no consequence",
    )
    draft = a_draft(tmp_path / "mixed.bundle")
    told: list[str | NextEffort] = []
    reports = export_network(
        network,
        draft,
        few_images(),
        ExportOptions(),
        progress=ignore,
        watch=lambda verified: told.append(verified.report.effort),
        announce=told.append,
    )
    assert_announced(told)
    bundle = Bundle.load(draft.path)
    layers = bundle.float_layers
    assert layers
    assert reports["validation"].float_layers == layers
    called = f"int8, {len(layers)} layer{'s' * (len(layers) > 1)} float32"
    card = bundle.read("README.md").decode()
    assert f"It computes in {called} (`{layers[0]}`" in card
    assert bundle.metrics["validation"]["float_layers"] == list(layers)
    for result in measure_models(find_models([draft.path]), synthetic_image(), runs=4):
        assert (result.to_dict()["precision"], result.float_layers) == (called, len(layers))
    for kind in bundle.formats:
        assert check_golden(draft.path, model_format=kind).precision == called
    assert f"tflite {called}" in load_model(draft.path).name
