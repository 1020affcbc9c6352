"""What a model says of labelled images, told in a page, in JSON, and as a guarantee."""

import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models
from command_line import invoke

from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.data.samples import Split
from leansight.sdk.evaluation.answers import ask, load_model
from leansight.sdk.evaluation.evaluate import measure_report
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.runs.run import Run, RunConfig, write_split


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
    done = invoke("evaluate", tiny_bundle, data, "--against", tiny_bundle, "--out", out)
    assert done.exit_code == 0, done.output
    assert "accuracy: 0.9167" in done.stdout
    assert "36 videos); chance 0.3333, always the commonest class 0.3333\n" in done.stdout
    assert "learnt" not in done.stdout
    report = json.loads((out / "report.json").read_text())
    assert report["metrics"]["accuracy"] == pytest.approx(11 / 12)
    assert (report["images"], report["videos"]) == (108, 36)
    assert np.trace(report["confusion"]) == 99
    assert report["comparison"]["better"] == ""
    low, high = (report["accuracy_interval"]["all"][k] for k in ("low", "high"))
    assert low < 11 / 12 < high
    for kept in report["selective"]["all"]:
        assert kept["share_interval"]["mean"] == pytest.approx(kept["share"])
        assert kept["accuracy_interval"]["mean"] == pytest.approx(kept["accuracy"])
        # Frames of a video are alike: as wide as 36 answers, which are fewer than 108 images.
        apart = kept["share_interval"]["high"] - kept["share_interval"]["low"]
        assert 0.05 < apart < 0.5
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
    done = invoke("evaluate", folder, data, "--lists", folder, "--out", out)
    assert done.exit_code == 0, done.output
    page = (out / "report.html").read_text()
    for heading in ("First filters", "after the first convolution", "Features of 40 images"):
        assert heading in page
    assert json.loads((out / "report.json").read_text())["images"] == 40


@pytest.mark.parametrize(
    ("shown", "doubt"),
    [
        (
            ("level", "plain"),
            "the network seems to have learnt nothing: it says plain of 100.0% of",
        ),
        (("plain",), "whether the network has learnt anything cannot be told: the images show one"),
    ],
)
def test_a_network_that_is_no_better_than_guessing_is_called_that(
    shown: tuple[str, ...], doubt: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for label in shown:
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(10):
            picture = tiny_models.stripes("plain") // 2 + rng.integers(0, 2, (8, 8), np.uint8)
            assert cv2.imwrite(str(tmp_path / "data" / label / f"{number}.png"), picture)
    samples = find_samples(tmp_path / "data")
    report = measure_report(ask(load_model(tiny_bundle), tmp_path / "data", samples))
    assert report["skill"]["doubt"].startswith(doubt)


def test_countries_are_told_apart(tiny_bundle: Path, tmp_path: Path) -> None:
    for country, shown in (("here", "level"), ("there", "upright")):
        for label in ("level", "upright"):
            for video in range(5):
                file = tmp_path / "data" / country / label / f"{video}_0.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                picture = tiny_models.stripes(shown if video else label).copy()
                picture[0, video] ^= label == "level"  # no photo is in two classes
                cv2.imwrite(str(file), picture)
    data = tmp_path / "data"
    answers = ask(load_model(tiny_bundle), data, find_samples(data))
    report = measure_report(answers)
    assert set(report["selective"]) == {"all", "here", "there"}
    assert report["accuracy_interval"]["here"]["mean"] == 0.6
    done = invoke(
        *("evaluate", tiny_bundle, data, "--country", "here", "--out", tmp_path / "report")
    )
    assert "accuracy: 0.6000" in done.stdout
    done = invoke("evaluate", tiny_bundle, data, "--country", "moon", "--out", tmp_path / "r")
    assert "no image is left to judge by (countries there: here, there)" in str(done.exception)


def test_a_report_overwrites_nothing(tiny_bundle: Path, data: Path) -> None:
    done = invoke("evaluate", tiny_bundle, data, "--out", data)
    assert "exists already: choose another --out" in str(done.exception)


def test_too_few_videos_certify_nothing_and_nothing_is_written(
    tiny_bundle: Path, data: Path, tmp_path: Path
) -> None:
    done = invoke("certify", tiny_bundle, data, "--out", tmp_path / "certified.bundle")
    assert done.exit_code == 1
    assert "needs 59 accepted videos" in str(done.exception)
    assert not (tmp_path / "certified.bundle").exists()
