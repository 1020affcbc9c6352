"""What an export's files say beside torch, image by image: a page, a CSV file and JSON."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models
from command_line import invoke, refusal
from numpy.typing import NDArray

from leansight.exporters.verification.compare import compare
from leansight.exporters.verification.report import ExportReport, Verification
from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import DecisionPolicy, Task
from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.data.images import ImageSet
from leansight.sdk.data.samples import Sample
from leansight.sdk.deployment.parity import Parity, measure_parity, refuse_folder, write_parity

LABELS = ("bars", "cross", "disc")
TORCH, TFLITE, ONNX = "torch float32", "tflite int8", "onnx int8"
SURE = 5.0  # softmax of (5, 0, 0) is 0.987
SURE_OF = [np.exp(SURE) / (np.exp(SURE) + 2), 1 / (np.exp(SURE) + 2)]  # it, and each other


def verified(
    logits: Mapping[str, NDArray[np.float32]], classes: NDArray[np.int64], bundle: Bundle
) -> Verification:
    pixels = np.zeros((len(classes), 1, 1, 1), np.uint8)
    report = compare(
        logits,
        {TFLITE: 10, ONNX: 20},
        ImageSet(pixels=pixels, classes=classes),
        labels=LABELS,
        policy=bundle.decision,
        task=bundle.task,
        shipped=(TFLITE, ONNX),
    )
    return Verification(report=report, decision=bundle.decision, logits=logits, classes=classes)


def bundle(task: Task = "classification", threshold: float = 0.5) -> Bundle:
    return Bundle(
        path=Path("out.bundle"),
        name="shapes <1>",
        task=task,
        labels=LABELS,
        preprocessing=Preprocessing(size=32),
        decision=DecisionPolicy(threshold=threshold),
        precision="int8",
    )


def samples(root: Path, labels: list[tuple[str, ...]]) -> list[Sample]:
    """Write a picture for each image, its number in its name."""
    root.mkdir(exist_ok=True)
    for i in range(len(labels)):
        cv2.imwrite(str(root / f"{i}.png"), np.full((20, 40, 3), 3 * i, np.uint8))
    return [Sample(path=Path(f"{i}.png"), labels=given) for i, given in enumerate(labels)]


@pytest.fixture
def parity(tmp_path: Path) -> Parity:
    """Five images: TFLite loses one cross, ONNX loses it as well, and sees a disc."""
    classes = np.array([0, 0, 1, 1, 2], np.int64)
    torch = np.array(
        [[SURE, 0, 0], [SURE, 0, 0], [0, SURE, 0], [0, SURE, 0], [0, 0.1, 0]], np.float32
    )
    tflite = torch.copy()
    tflite[3] = (SURE, 0, 0)
    onnx = tflite.copy()
    onnx[4] = (0, 0, SURE)
    given = bundle()
    return Parity(
        bundle=given,
        verified=verified({TORCH: torch, TFLITE: tflite, ONNX: onnx}, classes, given),
        samples=samples(tmp_path / "data", [(LABELS[k],) for k in classes]),
    )


@pytest.fixture
def many(tmp_path: Path) -> Parity:
    """Two images of three labels: TFLite loses one label, ONNX another, on the first image."""
    yes, no = np.log(9), -np.log(9)  # sigmoid: 0.9, 0.1
    torch = np.array([[yes, yes, no], [no, yes, no]], np.float32)
    tflite, onnx = torch.copy(), torch.copy()
    tflite[0] = (no, yes, no)
    onnx[0] = (no, no, no)
    given = bundle("multilabel")
    classes = np.array([[1, 1, 0], [0, 0, 0]], np.int64)
    return Parity(
        bundle=given,
        verified=verified({TORCH: torch, TFLITE: tflite, ONNX: onnx}, classes, given),
        samples=samples(tmp_path / "data", [("bars", "cross"), ()]),
    )


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "differences.csv").open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


# Figures


def test_every_format_is_measured_as_the_export_measures_it(parity: Parity) -> None:
    measured = measure_parity(parity)
    assert json.loads(json.dumps(measured)) == measured
    report: ExportReport = parity.verified.report
    assert measured["formats"] == [f.to_dict() for f in report.formats]
    assert [f["accuracy"] for f in measured["formats"]] == [0.8, 0.6, 0.8]
    assert (measured["images"], measured["agreement"]) == (5, 0.8)
    assert measured["differing_images"] == 2
    assert measured["refusal"] is None


def test_classes_are_measured_by_hand_the_worst_first(parity: Parity) -> None:
    cross, disc, bars = measure_parity(parity)["classes"]
    assert [c["label"] for c in (cross, disc, bars)] == ["cross", "disc", "bars"]
    assert [c["images"] for c in (cross, disc, bars)] == [2, 1, 2]
    assert cross["accuracy"] == {TORCH: 1.0, TFLITE: 0.5, ONNX: 0.5}
    assert cross["agreement"] == {TORCH: 1.0, TFLITE: 0.5, ONNX: 0.5}
    assert cross["lost"] == {TORCH: 0, TFLITE: 1, ONNX: 1}
    assert cross["shipped_agreement"] == 1.0  # they lost the same image
    # ONNX got the disc that torch had not: that is no loss, but another decision.
    assert disc["accuracy"] == {TORCH: 0.0, TFLITE: 0.0, ONNX: 1.0}
    assert disc["agreement"] == {TORCH: 1.0, TFLITE: 1.0, ONNX: 0.0}
    assert disc["shipped_agreement"] == 0.0
    assert bars["accuracy"] == dict.fromkeys((TORCH, TFLITE, ONNX), 1.0)


def test_a_class_that_no_image_shows_has_no_figures_and_comes_last(tmp_path: Path) -> None:
    given, logits = bundle(), np.array([[SURE, 0, 0], [0, SURE, 0]], np.float32)
    found = verified(dict.fromkeys((TORCH, TFLITE, ONNX), logits), np.array([0, 2]), given)
    parity = Parity(
        bundle=given, verified=found, samples=samples(tmp_path / "data", [("bars",), ("disc",)])
    )
    *_, last = measure_parity(parity)["classes"]
    assert (last["label"], last["images"], last["shipped_agreement"]) == ("cross", 0, None)
    assert last["accuracy"] == dict.fromkeys((TORCH, TFLITE, ONNX), None)


def test_many_labels_are_measured_label_by_label(many: Parity) -> None:
    measured = measure_parity(many)
    classes = {c["label"]: c for c in measured["classes"]}
    assert [c["images"] for c in classes.values()] == [1, 1, 0]
    # Of two images torch has the label "cross" wrong on the second.
    assert classes["cross"]["accuracy"] == {TORCH: 0.5, TFLITE: 0.5, ONNX: 0.0}
    assert classes["bars"]["agreement"] == {TORCH: 1.0, TFLITE: 0.5, ONNX: 0.5}
    assert classes["bars"]["shipped_agreement"] == 1.0
    assert classes["cross"]["shipped_agreement"] == 0.5
    assert classes["disc"]["agreement"] == dict.fromkeys((TORCH, TFLITE, ONNX), 1.0)
    assert measured["differing_images"] == 1


# Files


def test_the_images_that_differ_are_listed_with_what_each_format_says(
    parity: Parity, tmp_path: Path
) -> None:
    write_parity(parity, tmp_path / "data", tmp_path / "report")
    first, second = rows(tmp_path / "report")
    # The cross that became bars moved 0.987 - 0.007; the disc moved from about 1/3.
    assert (first["path"], first["label"], first["differs in"]) == ("3.png", "cross", "")
    assert float(first["largest difference"]) == pytest.approx(SURE_OF[0] - SURE_OF[1], abs=1e-6)
    assert [first[name] for name in (TORCH, TFLITE, ONNX)] == ["cross", "bars", "bars"]
    assert float(first[f"{ONNX} probability"]) == pytest.approx(SURE_OF[0], abs=1e-6)
    assert second["path"] == "4.png"
    assert [second[name] for name in (TORCH, TFLITE, ONNX)] == ["not sure", "not sure", "disc"]
    best = np.exp(0.1) / (np.exp(0.1) + 2)
    assert float(second[f"{TORCH} probability"]) == pytest.approx(best, abs=1e-6)


def test_of_many_labels_those_that_differ_are_listed(many: Parity, tmp_path: Path) -> None:
    write_parity(many, tmp_path / "data", tmp_path / "report")
    (row,) = rows(tmp_path / "report")
    assert (row["path"], row["label"], row["differs in"]) == ("0.png", "bars|cross", "bars|cross")
    assert [row[name] for name in (TORCH, TFLITE, ONNX)] == ["bars|cross", "cross", "nothing"]
    given = [[float(p) for p in row[f"{n} probability"].split("|")] for n in (TORCH, TFLITE, ONNX)]
    np.testing.assert_allclose(given, [[0.9, 0.9], [0.1, 0.9], [0.1, 0.1]], atol=1e-6)
    page = (tmp_path / "report" / "parity.html").read_text()
    assert "they differ in bars, cross" in page
    assert "1 of 2 images" in page
    assert "Coverage: the images of which no label is in doubt." in page


def test_the_page_needs_no_other_file_and_shows_what_differs(
    parity: Parity, tmp_path: Path
) -> None:
    write_parity(parity, tmp_path / "data", tmp_path / "new" / "report")
    folder = tmp_path / "new" / "report"
    assert {p.name for p in folder.iterdir()} == {"parity.json", "differences.csv", "parity.html"}
    assert [p.name for p in folder.parent.iterdir()] == ["report"]
    assert json.loads((folder / "parity.json").read_text()) == measure_parity(parity)
    page = (folder / "parity.html").read_text()
    assert "shapes &lt;1&gt;" in page  # escaped
    assert page.count('<img src="data:image/jpeg;base64,') == 2
    assert "2 of 5 images" in page
    # What the columns mean is said beside them.
    assert 'Coverage: the images that get an answer; the others are "not sure".' in page
    assert page.count("<svg") == 2
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*', page) == []
    assert "Refused" not in page


def test_a_refusal_is_said_on_the_page(parity: Parity, tmp_path: Path) -> None:
    refused = Parity(
        bundle=parity.bundle,
        verified=parity.verified,
        samples=parity.samples,
        refusal="tflite int8 lost 20.00 points of accuracy",
    )
    write_parity(refused, tmp_path / "data", tmp_path / "report")
    page = (tmp_path / "report" / "parity.html").read_text()
    assert "<b>Refused.</b> tflite int8 lost 20.00 points of accuracy." in page
    values = json.loads((tmp_path / "report" / "parity.json").read_text())
    assert values["refusal"] == "tflite int8 lost 20.00 points of accuracy"


def test_of_many_images_those_that_differ_most_are_shown(tmp_path: Path) -> None:
    count = 70
    classes = np.zeros(count, np.int64)
    torch = np.tile(np.array([SURE, 0, 0], np.float32), (count, 1))
    int8 = np.zeros_like(torch)
    int8[:, 1] = np.linspace(1, 4, count)  # surer and surer of a cross
    given = bundle(threshold=0)
    parity = Parity(
        bundle=given,
        verified=verified({TORCH: torch, TFLITE: int8, ONNX: torch}, classes, given),
        samples=samples(tmp_path / "data", [("bars",)] * count),
    )
    write_parity(parity, tmp_path / "data", tmp_path / "report")
    assert [r["path"] for r in rows(tmp_path / "report")] == [f"{i}.png" for i in range(70)][::-1]
    page = (tmp_path / "report" / "parity.html").read_text()
    assert page.count("<figure>") == 60
    assert 'title="69.png"' in page
    assert 'title="9.png"' not in page
    assert "70 of 70 images, of which\nthese 60 have the largest differences" in page


def test_nothing_is_left_of_a_report_that_fails(parity: Parity, tmp_path: Path) -> None:
    (tmp_path / "data" / "4.png").unlink()
    with pytest.raises(DataError, match=r"4\.png"):
        write_parity(parity, tmp_path / "data", tmp_path / "report")
    assert {p.name for p in tmp_path.iterdir()} == {"data"}


def test_only_an_empty_folder_may_be_there(parity: Parity, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_parity(parity, tmp_path / "data", tmp_path / "empty")
    for taken in (tmp_path / "empty", tmp_path / "data" / "0.png"):
        with pytest.raises(DataError, match="exists already: choose another folder"):
            refuse_folder(taken)
        with pytest.raises(DataError, match="exists already: choose another folder"):
            write_parity(parity, tmp_path / "data", taken)


# The command


def test_a_folder_that_is_taken_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    # Of the run there is nothing: that would be said next.
    arguments = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    line = refusal([*arguments, "--report", str(tmp_path / "notes")], monkeypatch, capsys)
    assert line.endswith(f"{tmp_path / 'notes'} exists already: choose another folder (--report)")
    line = refusal([*arguments, "--report", str(tmp_path / "free")], monkeypatch, capsys)
    assert "choose another" not in line
    assert not (tmp_path / "free").exists()


def write_stripes(root: Path) -> Path:
    """Write an ONNX network, its labels, and 8 videos of one noisy picture for each label."""
    rng = np.random.default_rng(0)
    for label in tiny_models.LABELS:
        (root / "data" / label).mkdir(parents=True)
        for video in range(8):
            picture = tiny_models.stripes(label).astype(np.int64) + rng.integers(-80, 80, (8, 8))
            file = root / "data" / label / f"{video:05}_00000.png"
            assert cv2.imwrite(str(file), picture.clip(0, 255).astype(np.uint8))
    (root / "labels.txt").write_text("\n".join(tiny_models.LABELS))
    (root / "stripes.onnx").write_bytes(tiny_models.stripes_onnx())
    return root


@pytest.mark.slow
# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
@pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")
def test_a_network_from_elsewhere_gets_a_report(tmp_path: Path) -> None:
    root = write_stripes(tmp_path)
    result = invoke(
        *("export", root / "stripes.onnx", "--data", root / "data"),
        *("--labels", root / "labels.txt", "--colour", "gray", "--mean", 128, "--std", 128),
        *("--size", 8, "--out", root / "x.bundle", "--report", root / "report"),
        "--accept-untrained",  # six images cannot tell it from guessing
    )
    assert result.exit_code == 0, (result.output, result.exception)
    *_, report, made = result.stdout.splitlines()
    assert report == f"report: {root / 'report' / 'parity.html'}"
    assert made == f"bundle: {root / 'x.bundle'}"
    values = json.loads((root / "report" / "parity.json").read_text())
    kept = Bundle.load(root / "x.bundle").metrics["validation"]
    assert {key: values[key] for key in kept} == kept
    assert sum(c["images"] for c in values["classes"]) == values["images"]
    assert rows(root / "report") == []
