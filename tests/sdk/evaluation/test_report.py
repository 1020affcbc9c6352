"""What a model says of labelled images, told in a page, in JSON, and as a guarantee."""

import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import tiny_models
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import NEVER
from leansight.runtime.errors import DataError
from leansight.runtime.images import read_image
from leansight.runtime.interpreter import load_interpreter
from leansight.sdk.commands import cli
from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.data.samples import Sample, Split
from leansight.sdk.evaluation.answers import BATCH, AnsweringModel, Answers, ask, load_model
from leansight.sdk.evaluation.label_errors import likely_label_errors, surest_mistakes
from leansight.sdk.evaluation.report import measure_report
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.runs.run import Run, RunConfig, write_split

FRAMES = 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """12 videos of 3 frames for each label, every 10th labelled wrongly."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for place, label in enumerate(tiny_models.LABELS):
        (root / label).mkdir(parents=True)
        for video in range(12):
            shown = tiny_models.LABELS[(place + (video == 9)) % 3]
            for frame in range(FRAMES):
                picture = tiny_models.stripes(shown) // 2 + rng.integers(0, 2, (8, 8), np.uint8)
                assert cv2.imwrite(str(root / label / f"{video}_{frame}.png"), picture)
    return root


def leansight(*arguments: object) -> Result:
    return CliRunner().invoke(cli.leansight, [str(a) for a in arguments])


def model_of(bundle: Path, **changes: object) -> AnsweringModel:
    loaded = load_model(bundle)
    return AnsweringModel(**{**vars(loaded), **changes})  # type: ignore[arg-type]


# Asking


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_a_bundle_s_answers_are_its_classifier_s(tiny_bundle: Path, data: Path, kind: str) -> None:
    samples = find_samples(data)
    answers = ask(load_model(tiny_bundle, model_format=kind), data, samples)  # type: ignore[arg-type]
    classifier = Classifier.load(tiny_bundle, model_format=kind)  # type: ignore[arg-type]
    assert len(samples) > 2 * BATCH
    for sample, row, score in zip(samples, answers.probabilities, answers.scores, strict=True):
        expected = classifier(read_image(data / sample.path))
        assert tiny_models.LABELS[row.argmax()] == expected.top[0][0]
        assert score == pytest.approx(expected.score, abs=1e-6)
    assert answers.right.mean() == pytest.approx(11 / 12)
    assert len(set(answers.videos)) == 36


def test_images_are_read_a_little_ahead_and_not_all_at_once(
    tiny_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = asked = most = 0

    def count(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal asked, most
        most, asked = max(most, read - asked), asked + len(pixels)
        return np.zeros((len(pixels), 3), np.float32)

    def pretend(*_: object) -> NDArray[np.uint8]:
        nonlocal read
        read += 1
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr("leansight.sdk.evaluation.answers.read_sample", pretend)
    samples = [Sample(path=Path(f"{i}.png"), labels=("plain",)) for i in range(1000)]
    ask(model_of(tiny_bundle, answer=count), data, samples)
    assert (read, asked) == (1000, 1000)
    assert most <= 6 * BATCH


def test_an_unlabelled_image_is_named(tiny_bundle: Path, data: Path) -> None:
    samples = [Sample(path=Path("plain/0_0.png"), labels=())]
    with pytest.raises(DataError, match=r"plain/0_0.png has 0 labels: one is needed"):
        ask(load_model(tiny_bundle), data, samples)


def test_a_class_that_the_model_does_not_know_is_named(tiny_bundle: Path, data: Path) -> None:
    (data / "level").rename(data / "dotted")
    with pytest.raises(DataError, match=r"the label dotted, which is not of: plain, up"):
        ask(load_model(tiny_bundle), data, find_samples(data))


def test_an_answer_that_is_no_number_is_named(tiny_bundle: Path, data: Path) -> None:
    broken = model_of(tiny_bundle, answer=lambda p: np.full((len(p), 3), np.nan, np.float32))
    with pytest.raises(DataError, match=r"tiny.bundle .* answers 108 images with what"):
        ask(broken, data, find_samples(data))


def test_nothing_to_judge_by_is_an_error(tiny_bundle: Path, data: Path) -> None:
    with pytest.raises(DataError, match="there is no image to judge by"):
        ask(load_model(tiny_bundle), data, [])


def test_labels_in_another_order_are_matched_by_name(tiny_bundle: Path, data: Path) -> None:
    samples, loaded = find_samples(data), load_model(tiny_bundle)
    other = model_of(
        tiny_bundle, labels=loaded.labels[::-1], answer=lambda p: loaded.answer(p)[:, ::-1]
    )
    first, second = (ask(model, data, samples) for model in (loaded, other))
    assert np.array_equal(first.right, second.right)
    assert measure_report(first, second)["comparison"]["only_first"] == 0


# Mistakes


def test_the_surest_mistakes_come_first(tiny_bundle: Path, data: Path) -> None:
    answers = ask(load_model(tiny_bundle), data, find_samples(data))
    found = surest_mistakes(answers)
    assert {Path(m.path).name.split("_")[0] for m in found} == {"9"}
    assert [m.score for m in found] == sorted((m.score for m in found), reverse=True)
    assert all(m.true != m.predicted for m in found)


def test_wrong_labels_are_found(tiny_bundle: Path, data: Path) -> None:
    answers = ask(load_model(tiny_bundle), data, find_samples(data))
    wrong = {m.path for m in surest_mistakes(answers)}
    found = {m.path for m in likely_label_errors(answers)}
    assert found
    assert found <= wrong


def test_many_labels_have_missing_ones_found() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, (200, 3))
    logits = np.where(classes, 4.0, -4.0) + rng.normal(0, 0.5, (200, 3))
    classes[17] = 1 - classes[17]
    answers = Answers(
        name="many",
        labels=tiny_models.LABELS,
        task="multilabel",
        policy=load_recipe("multilabel-scratch").decision,
        samples=tuple(Sample(path=Path(str(i)), labels=()) for i in range(200)),
        classes=classes,
        logits=logits.astype(np.float32),
    )
    assert surest_mistakes(answers)[0].index == 17
    assert 17 in {m.index for m in likely_label_errors(answers)}
    report = measure_report(answers)
    assert report["metrics"]["accuracy"] == pytest.approx(1 - 3 / 600)
    assert report["confusion"] == []


# The report


class Page(HTMLParser):
    """Notes what a page is made of; closed tags must match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.sources += [v or "" for name, v in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_bundle_is_judged_beside_another(tiny_bundle: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = leansight("evaluate", tiny_bundle, data, "--against", tiny_bundle, "--out", out)
    assert done.exit_code == 0, done.output
    assert "accuracy: 0.9167" in done.stdout
    report = json.loads((out / "report.json").read_text())
    assert report["metrics"]["accuracy"] == pytest.approx(11 / 12)
    assert (report["images"], report["videos"]) == (108, 36)
    assert np.trace(report["confusion"]) == 99
    assert report["comparison"]["better"] == ""
    low, high = (report["accuracy_interval"]["all"][k] for k in ("low", "high"))
    assert low < 11 / 12 < high
    page = Page((out / "report.html").read_text())
    assert page.open == []
    assert "91.67 %" in page.text
    assert "Neither is shown to be better" in page.text
    assert "differs by +0.00 points" in page.text
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert {p.name for p in out.iterdir()} == {"report.html", "report.json"}


def test_a_run_is_judged_in_torch_with_what_it_sees(data: Path, tmp_path: Path) -> None:
    samples = find_samples(data)
    settings = ["model.width=4", "model.blocks=[1, 1]", "preprocessing.size=16"]
    recipe = load_recipe("traffic-signs-small", settings)
    labels = ("level", "plain", "upright")
    folder = tmp_path / "run"
    folder.mkdir()
    start = RunConfig(data=data, recipe=recipe, labels=labels)
    start.save(folder)
    write_split(folder, Split(train=(), validation=tuple(samples[:40]), test=()))
    from leansight.sdk.models.build import build_network

    run = Run(path=folder, data=data, recipe=recipe, labels=labels, metrics={})
    run.save(build_network(recipe.model, classes=3, channels=1))
    out = tmp_path / "report"
    done = leansight("evaluate", folder, data, "--lists", folder, "--out", out)
    assert done.exit_code == 0, done.output
    page = (out / "report.html").read_text()
    for heading in ("First filters", "after the first convolution", "Features of 40 images"):
        assert heading in page
    assert json.loads((out / "report.json").read_text())["images"] == 40


def test_countries_are_told_apart(tiny_bundle: Path, tmp_path: Path) -> None:
    for country, shown in (("here", "level"), ("there", "upright")):
        for label in ("level", "upright"):
            for video in range(5):
                file = tmp_path / "data" / country / label / f"{video}_0.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), tiny_models.stripes(shown if video else label))
    data = tmp_path / "data"
    answers = ask(load_model(tiny_bundle), data, find_samples(data))
    report = measure_report(answers)
    assert set(report["selective"]) == {"all", "here", "there"}
    assert report["accuracy_interval"]["here"]["mean"] == 0.6
    done = leansight(
        *("evaluate", tiny_bundle, data, "--country", "here", "--out", tmp_path / "report")
    )
    assert "accuracy: 0.6000" in done.stdout
    done = leansight("evaluate", tiny_bundle, data, "--country", "moon", "--out", tmp_path / "r")
    assert "no image is left to judge by (countries there: here, there)" in str(done.exception)


def test_a_report_overwrites_nothing(tiny_bundle: Path, data: Path) -> None:
    done = leansight("evaluate", tiny_bundle, data, "--out", data)
    assert "exists already: choose another --out" in str(done.exception)


# The guarantee


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
    done = leansight("certify", tiny_bundle, many, "--max-error", 0.02, "--out", out)
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


def test_each_class_gets_a_threshold_of_its_own_or_is_never_given(
    tiny_bundle: Path, many: Path, tmp_path: Path
) -> None:
    few, *others = tiny_models.LABELS
    for image in sorted((many / few).iterdir())[5:]:
        image.unlink()
    out = tmp_path / "certified.bundle"
    done = leansight("certify", tiny_bundle, many, "--max-error", 0.1, "--per-class", "--out", out)
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


def test_too_few_videos_certify_nothing_and_nothing_is_written(
    tiny_bundle: Path, data: Path, tmp_path: Path
) -> None:
    done = leansight("certify", tiny_bundle, data, "--out", tmp_path / "certified.bundle")
    assert done.exit_code == 1
    assert "needs 59 accepted videos" in str(done.exception)
    assert not (tmp_path / "certified.bundle").exists()
