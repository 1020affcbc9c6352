from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import tiny_models
from command_line import invoke

from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import NEVER
from leansight.runtime.interpreter import load_interpreter
from leansight.runtime.stream.reference import Reference


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """100 videos of each label, all right."""
    root = tmp_path / "many"
    for label in tiny_models.LABELS:
        (root / label).mkdir(parents=True)
        for video in range(100):
            assert cv2.imwrite(str(root / label / f"{video}_0.png"), tiny_models.stripes(label))
    return root


def test_a_certified_bundle_says_what_it_guarantees(
    tiny_bundle: Path, many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "certified.bundle"
    done = invoke("certify", tiny_bundle, many, "--max-error", 0.02, "--out", out)
    assert done.exit_code == 0, done.output
    before, after = Bundle.load(tiny_bundle), Bundle.load(out)
    assert after.guarantee["max_error"] == 0.02
    assert (after.guarantee["drawn"], after.guarantee["wrong"]) == (225, 0)
    assert after.decision.threshold == after.guarantee["threshold"]
    assert "another camera" in after.guarantee["not_covered"]
    assert b"What its threshold guarantees" in after.read("README.md")
    said = {p.key: p.value for p in onnx.load_from_string(after.read("model.onnx")).metadata_props}
    assert float(said["threshold"]) == after.decision.threshold
    image = after.preprocessing(tiny_models.stripes("level"))
    for kind in after.formats:
        logits = [load_interpreter(b.read(f"model.{kind}"), kind)(image) for b in (before, after)]
        np.testing.assert_array_equal(*logits)
    assert Classifier.load(out)(tiny_models.stripes("level")).label == "level"


def test_the_temperature_of_an_export_is_replaced_and_not_applied_twice(
    tiny_bundle: Path, many: Path, tmp_path: Path
) -> None:
    cool, bundle = tmp_path / "cool.bundle", Bundle.load(tiny_bundle)
    contents = {name: bundle.read(name) for name in bundle.files}
    decision = replace(bundle.decision, temperature=0.4)
    write_bundle(replace(bundle, path=cool, decision=decision), contents)
    for source, out in ((tiny_bundle, "a.bundle"), (cool, "b.bundle")):
        done = invoke("certify", source, many, "--max-error", 0.02, "--out", tmp_path / out)
        assert done.exit_code == 0, done.output
    plain, again = (Bundle.load(tmp_path / name) for name in ("a.bundle", "b.bundle"))
    assert again.decision == plain.decision
    assert again.decision.temperature == again.guarantee["temperature"] != 0.4
    assert b"named above this part hold no longer" in again.read("README.md")


def test_each_class_gets_a_threshold_of_its_own_or_is_never_given(
    tiny_bundle: Path, many: Path, tmp_path: Path
) -> None:
    few, *others = tiny_models.LABELS
    for image in sorted((many / few).iterdir())[5:]:
        image.unlink()
    out = tmp_path / "certified.bundle"
    done = invoke("certify", tiny_bundle, many, "--max-error", 0.1, "--per-class", "--out", out)
    assert done.exit_code == 0, done.output
    assert f"never given, for want of videos or of right answers: {few}" in done.output
    bundle = Bundle.load(out)
    assert set(bundle.guarantee["classes"]) == set(others)
    assert bundle.decision.label_thresholds[few] == NEVER
    classifier = Classifier.load(out)
    assert classifier(tiny_models.stripes(few)).status == "not sure"
    for label in others:
        assert classifier(tiny_models.stripes(label)).label == label
        assert f"| {label} |" in bundle.read("README.md").decode()


def test_a_certified_bundle_describes_what_it_gives_at_its_new_threshold(
    tiny_bundle: Path, many: Path, tmp_path: Path
) -> None:
    """Drift is told by how often a bundle is not sure, which a certified threshold changes."""
    bundle = Bundle.load(tiny_bundle)
    contents = {name: bundle.read(name) for name in bundle.files}
    old = Reference(groups=7, not_sure=0.9, given={"plain": 1.0}, brightness=(10, 20))
    described = replace(bundle, path=tmp_path / "described", reference=old.to_dict())
    write_bundle(described, contents)
    out = tmp_path / "certified.bundle"
    done = invoke("certify", described.path, many, "--max-error", 0.02, "--out", out)
    assert done.exit_code == 0, done.output

    new = Reference.from_dict(Bundle.load(out).reference)
    assert (new.groups, new.brightness) == (7, (10, 20))
    assert new.not_sure == 0
    assert new.given == {label: pytest.approx(1 / 3, abs=1e-6) for label in tiny_models.LABELS}
