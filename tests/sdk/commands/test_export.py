import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes
import torch
from command_line import invoke, leansight, refusal
from tiny_run import untrained_run

from leansight.runtime.bundle import Bundle
from leansight.runtime.golden import check_golden
from leansight.sdk.commands import cli
from leansight.sdk.runs.run import Run, RunConfig


@pytest.fixture(scope="module")
def exported(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("bundle") / "shapes.bundle"
    result = leansight("export", run.path, "--out", out, "--max-drop", 5, "--threshold", 0.4)
    assert result.returncode == 0, result.stderr
    return out, result


Exported = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_export_says_what_it_verified_and_where_it_wrote(exported: Exported) -> None:
    out, result = exported
    table, last = result.stdout.split("coverage: ")
    first, *rows, agreement = table.splitlines()
    assert first == "24 validation images"
    said = "  tflite int8 and onnx int8 decide alike on 100.00%, same numbers on 100.00%"
    assert agreement == said
    # What a terminal of the usual width shows in one line.
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80
    assert last.endswith(f"\nbundle: {out}\n")
    named = [line[2:18].strip() for line in rows[1:7]]
    assert named == [
        *("torch float32", "tflite int8", "onnx int8"),
        *("points lost", "tflite int8", "onnx int8"),
    ]
    tested = " ".join(last.split())
    assert "McNemar's exact one-sided test" in tested
    assert "(p at most 0.05 after Holm's correction for the number of classes, 3)" in tested


@pytest.mark.slow
def test_the_bundle_remembers_where_it_comes_from(exported: Exported, run: Run) -> None:
    bundle = Bundle.load(exported[0])
    values = json.loads((run.path / "run.json").read_text())
    assert bundle.provenance["recipe"] == values["recipe"]
    counts = bundle.provenance["images"]
    assert counts == {"train": 48, "validation": 24, "test": 0, "calibration": 48}
    assert {"leansight", "torch", "litert-torch"} <= set(bundle.provenance["versions"])
    assert bundle.labels == shapes.LABELS
    assert bundle.decision.threshold == 0.4


@pytest.mark.slow
def test_both_formats_classify_the_photos(exported: Exported, data: Path) -> None:
    said = {}
    for model_format in ("tflite", "onnx"):
        result = leansight("classify", exported[0], data, "--format", model_format, "--json")
        assert result.returncode == 0, result.stderr
        said[model_format] = [json.loads(line) for line in result.stdout.splitlines()]
    labels = {kind: [answer["label"] for answer in answers] for kind, answers in said.items()}
    assert labels["tflite"] == labels["onnx"]
    true = [Path(answer["path"]).parent.name for answer in said["tflite"]]
    assert len(true) == 72
    assert np.mean([a == b for a, b in zip(labels["tflite"], true, strict=True)]) > 0.9


@pytest.mark.slow
# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
@pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")
def test_a_spoilt_network_is_refused_and_nothing_written(
    run: Run,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # One gray photo is all that this run was trained on: too little to find ranges with.
    photos, poor = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(data, photos)
    shutil.copytree(run.path, poor)
    cv2.imwrite(str(photos / "disc" / "gray.png"), np.full((40, 40, 3), 128, np.uint8))
    header = (run.path / "train.csv").read_text().splitlines()[0]
    (poor / "train.csv").write_text(f"{header}\ndisc/gray.png,disc,,,\n")
    out = tmp_path / "new" / "shapes.bundle"
    arguments = ["export", str(poor), "--out", str(out), "--data", str(photos), "--max-drop", "0"]
    report = tmp_path / "report"
    arguments += ["--effort", "calibration", "--report", str(report)]
    line = refusal(arguments, monkeypatch, capsys)
    assert "points of accuracy" in line
    assert "more than max_drop allows (0). Tried: calibration" in line
    assert line.endswith(f"Nothing was written but {report / 'parity.html'}")
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "run", "report"}
    values = json.loads((report / "parity.json").read_text())
    assert f"leansight: {values['refusal']} but" in line
    assert values["images"] == 24
    assert [found["name"] for found in values["formats"]] == [
        *("torch float32", "tflite float32", "onnx float32", "tflite int8", "onnx int8"),
    ]
    lost = 24 * (values["formats"][0]["accuracy"] - values["formats"][3]["accuracy"])
    with (report / "differences.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) >= round(lost) >= 1
    for row in rows:
        assert (data / row["path"]).is_file()
        assert row["label"] == Path(row["path"]).parent.name


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_a_run_that_has_learnt_nothing_is_refused_before_any_work(
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    run = untrained_run(tmp_path, shapes.RECIPE)
    monkeypatch.setattr("leansight.exporters.export.convert", lambda *_: pytest.fail("converted"))
    out, report = tmp_path / "shapes.bundle", tmp_path / "report"
    arguments = ["export", str(run.path), "--out", str(out), "--precision", precision]
    arguments += ["--report", str(report)]
    line = refusal(arguments, monkeypatch, capsys)
    assert re.fullmatch(
        r"leansight: the network seems to have learnt nothing: .*; accuracy \d+\.\d% \(\d.*%, 24 "
        r"images\); chance 33\.3%, always the commonest class 33\.3%\. Nothing was written: "
        r"train it longer, give more images, or accept it as it is \(--accept-untrained\)",
        line,
    )
    assert not out.exists()
    assert not report.exists()


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The bundle of an untrained run with a photo and words of its own, and what was said."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("accepted")
    run, photo = untrained_run(folder, shapes.RECIPE), shapes.draw("disc", np.random.default_rng(0))
    (folder / "golden").mkdir()
    assert cv2.imwrite(str(folder / "golden" / "disc.png"), photo)
    (folder / "card.md").write_text("## Data\n\nDrawn by nobody.\n")
    out, asked = folder / "shapes.bundle", ["--precision", "float32", "--accept-untrained"]
    given = ["--golden", folder / "golden", "--card", folder / "card.md"]
    done = invoke("export", run.path, "--out", out, *asked, *given)
    assert done.exit_code == 0, (done.output, done.exception)
    return out, done.stderr


@pytest.mark.slow
def test_a_run_that_has_learnt_nothing_is_exported_if_that_is_accepted(
    accepted: tuple[Path, str],
) -> None:
    out, said = accepted
    assert re.search(r"validation: accuracy \d+\.\d% \(.*chance 33\.3%", said)
    assert Bundle.load(out).metrics["validation"]["images"] == 24


@pytest.mark.slow
def test_a_bundle_travels_with_the_photos_and_words_that_were_given(
    accepted: tuple[Path, str],
) -> None:
    out, _ = accepted
    with np.load(out / "golden.npz") as golden:
        assert [name for name in golden.files if name.startswith("photo")] == ["photo_00"]
        given = cv2.imread(str(out.parent / "golden" / "disc.png"))
        np.testing.assert_array_equal(golden["photo_00"], given)
    card = (out / "README.md").read_text()
    assert card.endswith("sure of it.\n\n## Data\n\nDrawn by nobody.\n")
    assert check_golden(out).holds


@pytest.mark.slow
def test_photos_that_have_moved_are_asked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    values = json.loads(file.read_text())
    values["data"] = str(tmp_path / "gone")
    file.write_text(json.dumps(values))
    out = tmp_path / "shapes.bundle"
    arguments = ["export", str(tmp_path / "run"), "--out", str(out)]
    line = refusal(arguments, monkeypatch, capsys)
    assert f"no longer at {tmp_path / 'gone'}: say where they are now (--data)" in line
    # A folder without them is no help either.
    line = refusal([*arguments, "--data", str(tmp_path)], monkeypatch, capsys)
    assert "does not exist" in line
    assert "(and 43 more)" in line
    assert not out.exists()


@pytest.mark.slow
def test_a_run_that_has_learnt_its_validation_images_has_no_temperature_fitted(
    run: Run, tmp_path: Path
) -> None:
    path, out = tmp_path / "run", tmp_path / "shapes.bundle"
    shutil.copytree(run.path, path)
    start = RunConfig.load(path)
    replace(start, options=replace(start.options, everything=True)).save(path)
    done = invoke("export", path, "--out", out, "--temperature", "fit")
    assert "has learnt its validation images" in str(done.exception)
    assert not out.exists()
    done = invoke("export", path, "--out", out, "--precision", "float32")
    assert done.exit_code == 0, (done.output, done.exception)
    said = "scores: temperature 1, not fitted: the network has learnt its validation images"
    assert said in " ".join(done.stdout.split())
    assert Bundle.load(out).decision.temperature == 1


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "warm"])
def test_a_temperature_is_fit_or_a_number_above_0(given: str, tmp_path: Path) -> None:
    done = invoke("export", tmp_path, "--out", tmp_path / "x.bundle", "--temperature", given)
    assert done.exit_code == 2
    assert f"'{given}' is neither fit nor a number above 0" in done.stderr


@pytest.mark.parametrize("whole", [False, True])
def test_ctrl_c_ends_in_one_line_that_says_what_is_there(
    whole: bool,  # noqa: FBT001 -- a parameter of the test
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "shapes.bundle"

    def export_run(*_: object, **__: object) -> None:
        if whole:  # the report is being written
            out.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr("leansight.sdk.deployment.export_run.export_run", export_run)
    monkeypatch.setattr(sys, "argv", ["leansight", "export", str(tmp_path), "--out", str(out)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 130
    what = str(out) if whole else "nothing"
    assert capsys.readouterr().err == f"stopped: {what} was written\n"


def test_what_cannot_be_written_or_read_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # No run has been looked at yet: there is none.
    export = ["export", str(tmp_path / "run"), "--out"]
    line = refusal([*export, str(tmp_path)], monkeypatch, capsys)
    assert f"{tmp_path} exists already: choose another path, or remove it" in line
    line = refusal([*export, str(tmp_path / "out"), "--data", "nowhere"], monkeypatch, capsys)
    assert line.endswith("--data nowhere does not exist: name the folder of labelled images")
    (tmp_path / "empty").mkdir()
    data = ["--data", str(tmp_path / "empty")]
    line = refusal([*export, str(tmp_path / "out"), *data], monkeypatch, capsys)
    assert line.endswith("empty is empty: name the folder of labelled images")
    export = ["export", str(tmp_path / "missing.onnx"), "--out", str(tmp_path / "out")]
    assert refusal(export, monkeypatch, capsys).endswith("missing.onnx does not exist")


def test_a_run_that_has_not_finished_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "start.json").touch()
    arguments = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    line = refusal(arguments, monkeypatch, capsys)
    assert line.endswith("run has not finished: resume its training (it has no run.json)")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [("litert_torch", "export", "export"), ("pytorch_lightning", "train", "train")],
)
def test_a_missing_extra_is_named_with_the_line_that_brings_it(
    missing: str, command: str, extra: str, tmp_path: Path
) -> None:
    result = leansight(
        command,
        tmp_path,
        *("--out", tmp_path / "out"),
        before=f"import sys; sys.modules[{missing!r}] = None; ",
    )
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line == (
        f"leansight: {missing} is not installed. Type: pip install 'leansight[{extra}]'"
    )
