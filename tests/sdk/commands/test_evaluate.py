"""`leansight evaluate` judges by every good image and names every bad one."""

import json
from pathlib import Path

import cv2
import pytest
import tiny_models
from command_line import invoke


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pictures of each of two classes, and a file that is none."""
    for label in ("plain", "level"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(3):
            file = tmp_path / "data" / label / f"{number}.png"
            cv2.imwrite(str(file), tiny_models.stripes(label))
    (tmp_path / "data" / "level" / "1b.png").write_bytes(b"not a picture")
    return tmp_path / "data"


@pytest.mark.parametrize(("options", "code"), [((), 1), (("--skip-bad",), 0)])
def test_one_bad_file_is_named_and_the_report_is_of_the_others(
    options: tuple[str, ...], code: int, tiny_bundle: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    done = invoke("evaluate", tiny_bundle, data, "--out", out, "--against", tiny_bundle, *options)
    assert done.exit_code == code
    bad = f"leansight: {data / 'level' / '1b.png'} is not an image that OpenCV can read"
    assert bad in done.stderr.splitlines()
    report = json.loads((out / "report.json").read_text())
    assert report["images"] == 6
    assert report["metrics"]["accuracy"] == 1


def test_without_a_good_image_there_is_no_report(
    tiny_bundle: Path, data: Path, tmp_path: Path
) -> None:
    for number, file in enumerate(data.rglob("*.png")):
        file.write_bytes(b"not a picture %d" % number)
    out = tmp_path / "report"
    done = invoke("evaluate", tiny_bundle, data, "--out", out)
    assert "7 of 7 images cannot be used" in str(done.exception)
    assert not out.exists()


@pytest.mark.parametrize("place", ["a file", "/proc"])
def test_where_nothing_can_be_written_nothing_is_judged(
    place: str, tiny_bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setattr("leansight.sdk.evaluation.answers.ask", lambda *_: pytest.fail("it asked"))
    out = tmp_path / place / "report"
    done = invoke("evaluate", tiny_bundle, data, "--out", out)
    assert str(done.exception).startswith(f"{out} cannot be written: ")
