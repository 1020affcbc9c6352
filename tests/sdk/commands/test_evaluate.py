"""`leansight evaluate` judges by every good image and names every bad one."""

import json
from pathlib import Path

import cv2
import numpy as np
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


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos of ten frames of each of two classes; in one, the label flickers."""
    rng = np.random.default_rng(0)
    for label, other in (("plain", "level"), ("level", "plain")):
        (tmp_path / "videos" / label).mkdir(parents=True)
        for video in range(2):
            for number in range(10):
                shown = other if video and number % 2 else label
                file = tmp_path / "videos" / label / f"0000{video}_{number}.png"
                picture = tiny_models.stripes(shown) // 2 + rng.integers(0, 2, (8, 8), np.uint8)
                cv2.imwrite(str(file), picture)
    return tmp_path / "videos"


def test_the_events_of_videos_are_in_the_table_the_report_and_the_page(
    tiny_bundle: Path, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    options = ("--per-video", "--event-begin-share", "0.8")
    done = invoke("evaluate", tiny_bundle, videos, "--out", out, *options)
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["plain", "2", "1", "1", "0", "2"] in rows
    assert ["all", "4", "2", "2", "0", "2"] in rows
    events = json.loads((out / "report.json").read_text())["events"]
    assert events["smoothing"]["begin_share"] == 0.8
    assert events["all"]["missed"] == 2
    assert "<h2>Events of videos</h2>" in (out / "report.html").read_text()


def test_the_report_is_printed_as_json(tiny_bundle: Path, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = invoke("evaluate", tiny_bundle, videos, "--out", out, "--per-video", "--json")
    assert json.loads(done.stdout) == json.loads((out / "report.json").read_text())


def test_shares_that_contradict_each_other_are_refused(
    tiny_bundle: Path, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    done = invoke("evaluate", tiny_bundle, videos, "--out", out, "--event-begin-share", "0.1")
    assert done.exit_code == 2
    assert "end_share must be above 0 and at most begin_share" in done.stderr
    assert not out.exists()


def test_a_shifted_copy_is_judged_and_the_page_says_so(
    tiny_bundle: Path, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    done = invoke("evaluate", tiny_bundle, videos, "--out", out, "--shifted", "traffic-signs-tiny")
    assert done.exit_code == 0, done.output
    assert json.loads((out / "report.json").read_text())["shifted"] == "traffic-signs-tiny"
    assert (
        "changed as [[shift]] of the recipe traffic-signs-tiny says"
        in (out / "report.html").read_text()
    )


def test_a_recipe_without_a_shift_is_refused(
    tiny_bundle: Path, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    done = invoke("evaluate", tiny_bundle, videos, "--out", out, "--shifted", "photos")
    assert done.exit_code == 1
    assert str(done.exception) == "recipe photos has no [[shift]]"
    assert not out.exists()
