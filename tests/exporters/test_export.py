"""From a network to a bundle that is whole, or to a refusal and nothing written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from shapes import LABELS
from torch import nn
from trained_networks import Converted, Images, Written, draft, ignore, images, prepared

from leansight.exporters import export as export_module
from leansight.exporters.errors import ConversionError
from leansight.exporters.export import ExportImages, export_network
from leansight.exporters.int8.calibrated_network import quantize
from leansight.exporters.options import ExportOptions, ExportRefusedError, Promise
from leansight.exporters.packaging.metadata import describe
from leansight.exporters.verification.report import Verification
from leansight.exporters.verification.temperature import find_temperature
from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy, decide, softmax
from leansight.runtime.errors import BundleError
from leansight.runtime.golden import check_golden
from leansight.runtime.interpreter import load_interpreter
from leansight.runtime.stream.reference import Reference

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.mark.slow
def test_a_written_bundle_is_whole(written: Written) -> None:
    bundle, reports = written
    names = {"bundle.json", "model.tflite", "model.onnx", "golden.npz", "README.md"}
    assert {p.name for p in bundle.path.iterdir()} == names
    assert [p.name for p in bundle.path.parent.iterdir()] == ["shapes.bundle"]
    assert set(bundle.files) == names - {"bundle.json"}
    assert bundle.metrics == {what: report.to_dict() for what, report in reports.items()}
    assert {what: report.images for what, report in reports.items()} == {
        "validation": 60,
        "test": 30,
    }
    assert reports["validation"].shipped == ("tflite int8", "onnx int8")
    assert [f.name for f in reports["validation"].formats] == [
        *("torch float32", "tflite int8", "onnx int8"),
    ]
    assert bundle.provenance == {"images": {"train": 90}}
    (shipped,) = (f for f in reports["validation"].formats if f.name == "tflite int8")
    reference = Reference.from_dict(bundle.reference)
    assert reference.groups == 60
    assert reference.not_sure == pytest.approx(1 - shipped.coverage, abs=1e-6)
    assert sum(reference.given.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_a_bundle_for_many_labels(no_conversion: Converted, tmp_path: Path) -> None:
    """The same network, its logits read as one label's each."""
    part = prepared(no_conversion.preprocessing, 60, seed=4)
    given = images(no_conversion)
    validation = Images(part.pixels, np.eye(3, dtype=np.int64)[part.classes])
    many = replace(
        draft(tmp_path / "many.bundle"), task="multilabel", decision=DecisionPolicy(threshold=0.7)
    )
    reports = export_network(
        no_conversion.network,
        many,
        replace(given, validation=validation),
        ExportOptions(promise=Promise(max_drop=5)),
        progress=ignore,
    )
    bundle = Bundle.load(tmp_path / "many.bundle")
    assert (bundle.task, bundle.decision.threshold) == ("multilabel", 0.7)
    logits = np.stack(
        [load_interpreter(bundle.read("model.onnx"), "onnx")(p[None]) for p in part.pixels]
    )
    (report,) = [f for f in reports["validation"].formats if f.name == "onnx int8"]
    assert report.accuracy == pytest.approx(((logits > 0) == validation.classes).mean())
    card = bundle.read("README.md").decode()
    assert "(task: multilabel)" in card
    assert 'at least 0.7; "not sure" if one lies between 0.3 and that' in card
    assert "of the labels of all images" in card
    classifier = Classifier.load(bundle.path)
    photo = given.golden[0]
    expected = decide(
        classifier.interpreter(bundle.preprocessing(photo)),
        LABELS,
        bundle.decision,
        task="multilabel",
    )
    assert classifier(photo) == expected


@pytest.mark.slow
@pytest.mark.parametrize("country", ["", "northland"])
def test_the_temperature_is_that_of_the_files_that_are_shipped(
    country: str, no_conversion: Converted, tmp_path: Path
) -> None:
    given, seen = images(no_conversion), list[Verification]()
    classes = given.validation.classes.copy()
    classes[::5] = (classes[::5] + 1) % 3  # mistakes, of which it is sure
    scored = np.arange(60) < (40 if country else 60)
    wrong = replace(
        given,
        validation=Images(given.validation.pixels, classes),
        scored=scored if country else None,
        scored_country=country,
    )
    reports = export_network(
        no_conversion.network,
        draft(tmp_path / "sure.bundle"),
        wrong,
        ExportOptions(promise=Promise(max_drop=5)),
        progress=ignore,
        watch=seen.append,
    )
    bundle = Bundle.load(tmp_path / "sure.bundle")
    (tried,) = seen
    found = find_temperature(
        tried.logits["tflite int8"][scored], classes[scored], [str(i) for i in range(scored.sum())]
    )
    assert found.temperature is not None
    assert bundle.decision == replace(draft(tmp_path).decision, temperature=found.temperature)
    assert found.temperature > 1.2
    scores = reports["validation"].scores
    assert scores is not None
    assert (scores.images, scores.country) == (scored.sum(), country)
    assert scores.shown == f"{scored.sum()} validation images" + " of northland" * bool(country)
    assert scores.cross_entropy < scores.unscaled
    assert bundle.metrics["validation"]["scores"]["temperature"] == found.temperature
    # What was verified, what the files say of themselves, and what golden photos give follow it.
    by_hand = softmax(tried.logits["onnx int8"], found.temperature).max(axis=1) >= 0.6
    (onnx_report,) = [f for f in reports["validation"].formats if f.name == "onnx int8"]
    assert onnx_report.coverage == pytest.approx(by_hand.mean())
    properties = onnx.load_from_string(bundle.read("model.onnx")).metadata_props
    assert {p.key: p.value for p in properties}["temperature"] == repr(found.temperature)
    assert f"temperature {found.temperature:.3f}" in bundle.read("README.md").decode()
    assert all(check_golden(bundle.path, model_format=kind).holds for kind in bundle.formats)
    photo = given.golden[0]
    logits = load_interpreter(bundle.read("model.tflite"), "tflite")(bundle.preprocessing(photo))
    score = Classifier.load(bundle.path, model_format="tflite")(photo).score
    assert score == pytest.approx(softmax(logits, found.temperature).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("temperature", "learnt", "expected", "reason"),
    [(0.7, "", 0.7, "it was given"), (None, "it has seen them", 1.0, "it has seen them")],
)
def test_a_temperature_that_is_given_or_cannot_be_trusted_is_not_fitted(
    no_conversion: Converted,
    tmp_path: Path,
    temperature: float | None,
    learnt: str,
    expected: float,
    reason: str,
) -> None:
    reports = export_network(
        no_conversion.network,
        draft(tmp_path / "given.bundle"),
        replace(images(no_conversion), not_held_out=learnt),
        ExportOptions(promise=Promise(max_drop=5), temperature=temperature),
        progress=ignore,
    )
    assert Bundle.load(tmp_path / "given.bundle").decision.temperature == expected
    scores = reports["validation"].scores
    assert scores is not None
    assert (scores.reason, scores.interval) == (reason, None)


@pytest.mark.slow
def test_a_float_bundle(no_conversion: Converted, tmp_path: Path) -> None:
    out = tmp_path / "float.bundle"
    reports = export_network(
        no_conversion.network,
        draft(out, precision="float32"),
        replace(images(no_conversion), golden=[]),
        ExportOptions(promise=Promise(max_drop=0)),
        progress=ignore,
    )
    assert reports["validation"].shipped == ("tflite float32", "onnx float32")
    bundle = Bundle.load(out)
    assert bundle.precision == "float32"
    shipped = {kind: bundle.read(f"model.{kind}") for kind in bundle.formats}
    assert shipped == describe(no_conversion.floats.files, bundle)
    assert set(reports) == {"validation"}
    assert "int8" not in bundle.read("README.md").decode()


@pytest.mark.slow
def test_a_network_that_int8_spoils_is_refused_and_nothing_written(
    no_conversion: Converted, tmp_path: Path
) -> None:
    # Calibrated on plain gray, the grids are too small for what shapes bring about.
    gray = np.full_like(no_conversion.calibration[:1], 128)
    message = (
        r"int8 lost .* points.*max_drop allows \(1\)\. Tried: calibration\. .* Nothing was written$"
    )
    given, seen = replace(images(no_conversion), calibration=gray), list[Verification]()
    with pytest.raises(ExportRefusedError, match=message):
        export_network(
            no_conversion.network,
            draft(tmp_path / "new" / "shapes.bundle"),
            given,
            ExportOptions(promise=Promise(max_drop=1), effort="calibration"),
            progress=ignore,
            watch=seen.append,
        )
    assert list(tmp_path.iterdir()) == []
    # Of what was tried remains what every format said.
    (tried,) = seen
    assert tried.report.effort == "calibration"
    assert list(tried.logits) == [report.name for report in tried.report.formats]
    right = {n: (v.argmax(1) == given.validation.classes).mean() for n, v in tried.logits.items()}
    assert right == {report.name: report.accuracy for report in tried.report.formats}
    assert right["tflite int8"] < right["torch float32"]


@pytest.mark.slow
def test_formats_that_disagree_are_refused(
    no_conversion: Converted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gray = np.full_like(no_conversion.calibration[:1], 128)
    other = quantize(no_conversion.floats, gray, ignore)
    mixture = {"tflite": no_conversion.int8["tflite"], "onnx": other["onnx"]}
    made = [("calibration", mixture)]
    monkeypatch.setattr(export_module, "attempts", lambda *_, **__: iter(made))
    with pytest.raises(ExportRefusedError, match=r"tflite int8 and onnx int8 decide differently"):
        export_network(
            no_conversion.network,
            draft(tmp_path / "shapes.bundle"),
            images(no_conversion),
            ExportOptions(promise=Promise(max_drop=100, max_class_drop=100)),
            progress=ignore,
        )
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> None:
        pytest.fail("the conversion began")

    monkeypatch.setattr(export_module, "convert", work)
    nothing = np.zeros((0, 32, 32, 1), np.uint8)
    given = ExportImages(calibration=nothing, validation=Images(nothing, np.zeros(0, np.int64)))
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(BundleError, match=r"exists already: choose another path"):
            export_network(
                nn.Identity(),
                draft(path),
                given,
                ExportOptions(promise=Promise(max_drop=1)),
                progress=ignore,
            )
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("network", "given"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(32**2, 4)), r"\(2, 4\)"),
        (nn.Conv2d(1, 3, 32), r"\(2, 3, 1, 1\)"),
        (nn.AdaptiveMaxPool2d(3, return_indices=True), r"a <class 'tuple'>"),
    ],
)
def test_a_network_that_gives_no_logits_is_refused_before_any_work(
    network: nn.Module, given: str, tmp_path: Path
) -> None:
    nothing = np.zeros((0, 32, 32, 1), np.uint8)
    shown = ExportImages(calibration=nothing, validation=Images(nothing, np.zeros(0, np.int64)))
    out = draft(tmp_path / "shapes.bundle")
    said = rf"^the network gives {given} for 2 images: with 3 labels logits of \(2, 3\) are"
    with pytest.raises(ConversionError, match=said):
        export_network(
            network, out, shown, ExportOptions(promise=Promise(max_drop=1)), progress=ignore
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_each_step_is_told_to_its_end(no_conversion: Converted, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    tell: Callable[[str, int, int], None] = lambda *step: told.append(step)  # noqa: E731 -- typed
    export_network(
        no_conversion.network,
        draft(tmp_path / "shapes.bundle"),
        images(no_conversion),
        ExportOptions(promise=Promise(max_drop=2)),
        progress=tell,
    )
    last = {name: (done, total) for name, done, total in told}
    assert last == {
        "converting to ONNX and TFLite": (1, 1),
        "calibrating": (60, 60),
        "verifying torch float32": (60, 60),
        "verifying tflite int8": (60, 60),
        "verifying onnx int8": (60, 60),
    }
