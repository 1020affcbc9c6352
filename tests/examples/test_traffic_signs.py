"""The programs of examples/traffic_signs on stripes of two countries, and what is shipped there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_models
import torch
from house import ROOT

from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.golden import check_golden
from leansight.runtime.preprocessing import Preprocessing

EXAMPLE = ROOT / "examples" / "traffic_signs"
SHIPPED = EXAMPLE / "signs.bundle"
PAGE = ROOT / "docs" / "results" / "traffic-signs.md"
VIDEOS, FRAMES = 4, 3


def program(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


# The page and its records


def test_the_page_has_the_figures_that_are_recorded() -> None:
    checked = program("page", "--check")
    assert checked.returncode == 0, checked.stderr


def test_a_figure_that_is_not_the_recorded_one_is_found_and_put_right(tmp_path: Path) -> None:
    text = PAGE.read_text()
    page = tmp_path / "page.md"
    page.write_text(text.replace("| 92 % |", "| 93 % |"))
    assert page.read_text() != text
    checked = program("page", "--check", "--page", page)
    assert checked.returncode == 1
    assert "page.md has other figures than" in checked.stderr
    assert program("page", "--page", page).returncode == 0
    assert page.read_text() == text


# The measurements


def write_signs(root: Path) -> None:
    """Write twelve videos a country; in Belgium the darkest of each label shows another."""
    rng = np.random.default_rng(0)
    for country in ("germany", "belgium"):
        for place, label in enumerate(tiny_models.LABELS):
            (root / country / label).mkdir(parents=True)
            for video in range(VIDEOS):
                wrong = country == "belgium" and video == VIDEOS - 1
                stripes = tiny_models.stripes(tiny_models.LABELS[(place + wrong) % 3])
                picture = stripes // (4 if wrong else 2) + rng.integers(0, 2, (8, 8), np.uint8)
                for frame in range(FRAMES):
                    picture[0, frame] ^= 1  # no photo is there twice
                    file = root / country / label / f"0000{video}_0000{frame}.png"
                    assert cv2.imwrite(str(file), picture)


def write_run(folder: Path, germany: Path) -> None:
    """Write a run that holds out all German signs."""
    from leansight.sdk.data.layouts.detect import find_samples
    from leansight.sdk.data.samples import Split
    from leansight.sdk.models.build import build_network
    from leansight.sdk.recipes.load import load_recipe
    from leansight.sdk.runs.run import Run, RunConfig, write_split

    settings = ["model.width=4", "model.blocks=[1, 1]", "preprocessing.size=16"]
    recipe = load_recipe("traffic-signs-small", settings)
    folder.mkdir()
    RunConfig(data=germany, recipe=recipe, labels=tiny_models.LABELS).save(folder)
    write_split(folder, Split(train=(), validation=tuple(find_samples(germany)), test=()))
    run = Run(path=folder, data=germany, recipe=recipe, labels=tiny_models.LABELS, metrics={})
    run.save(build_network(recipe.model, classes=3, channels=1))


@pytest.fixture(scope="module")
def records(
    tmp_path_factory: pytest.TempPathFactory, tiny_tflite: bytes, tiny_onnx: bytes
) -> Mapping[str, Sequence[dict[str, Any]]]:
    """What the three programs record of the network of stripes; accuracy.py is run twice."""
    work = tmp_path_factory.mktemp("signs")
    write_signs(work / "signs")
    write_run(work / "run", work / "signs" / "germany")
    bundle = Bundle(
        path=work / "tiny.bundle",
        name="tiny",
        labels=tiny_models.LABELS,
        preprocessing=Preprocessing(size=8, colour="gray"),
        decision=DecisionPolicy(threshold=0.5),
        precision="float32",
    )
    write_bundle(bundle, {"model.tflite": tiny_tflite, "model.onnx": tiny_onnx})
    # One process: torch is imported once.
    code = "import runpy, sys; [runpy.run_path(p, run_name='__main__') for p in PROGRAMS]"
    programs = [str(EXAMPLE / f"{name}.py") for name in ("accuracy", "light", "stream", "accuracy")]
    arguments = [work / "signs", work / "run", bundle.path, "--results", work / "results"]
    command = [sys.executable, "-c", code.replace("PROGRAMS", repr(programs)), *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(EXAMPLE), *sys.path])}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    names = ("accuracy", "light", "stream")
    return {name: json.loads((work / "results" / f"{name}.json").read_text()) for name in names}


Records = Mapping[str, Sequence[dict[str, Any]]]


@pytest.mark.slow
def test_accuracy_is_recorded_once_of_both_files_in_both_countries(records: Records) -> None:
    rows = records["accuracy"]
    found = [(row["kind"], row["country"], row["accuracy"]["mean"]) for row in rows]
    assert found == [
        ("tflite float32", "Germany", 1),
        ("tflite float32", "Belgium", 0.75),
        ("onnx float32", "Germany", 1),
        ("onnx float32", "Belgium", 0.75),
    ]
    assert {(row["network"], row["videos"]) for row in rows} == {("tiny", 12)}
    assert rows[1]["recall"] == dict.fromkeys(tiny_models.LABELS, 0.75)
    assert [at["threshold"] for at in rows[0]["thresholds"]] == [0.5, 0.75, 0.9, 0.95, 0.99]


@pytest.mark.slow
def test_the_darkest_tenth_is_told_from_the_brightest(records: Records) -> None:
    rows = records["light"]
    found = {(row["country"], row["part"]): row["accuracy"]["mean"] for row in rows}
    assert found[("Belgium", "darkest")] == 0
    assert found[("Belgium", "brightest")] == 1
    assert [row["images"] for row in rows] == [6] * 4  # two of twelve, of three classes
    assert {row["above_first"]["mean"] for row in rows} == {0}


@pytest.mark.slow
def test_signs_are_found_missed_and_made_up_alone_and_in_a_row(records: Records) -> None:
    events = {(row["country"], row["way"]): row["events"] for row in records["stream"]}
    counts = {
        key: [found[name] for name in ("shown", "found", "missed", "false")]
        for key, found in events.items()
    }
    assert counts["Belgium", "alone"] == [12, 9, 3, 3]
    assert counts["Belgium", "in a row"] == [12, 9, 3, 3]
    assert counts["Germany", "alone"] == [12, 12, 0, 0]


@pytest.mark.slow
def test_runs_are_compared_on_the_same_images(tmp_path: Path) -> None:
    from leansight.runtime import read_image
    from leansight.sdk import Run
    from leansight.sdk.models.networks import network_input

    signs, first = tmp_path / "signs", tmp_path / "first"
    write_signs(signs)
    (signs / "belgium").rename(signs / "southland")
    write_run(first, signs)
    shutil.copytree(first, tmp_path / "again")
    recipe, results = "traffic-signs-small", ("--results", tmp_path / "results")
    done = program("questions", signs, recipe, first, tmp_path / "again", *results)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "results" / "questions.json").read_text())
    assert [row["network"] for row in rows] == ["first", "again"]
    assert all(row[test]["videos"] == 12 for row in rows for test in ("Germany", "southland"))
    assert all(row["shifted"]["above_first"]["mean"] == 0 for row in rows)

    run = Run.load(first)
    network, right = run.network().eval(), []
    for file in sorted((signs / "germany").rglob("*.png")):
        pixels = run.recipe.preprocessing(read_image(file))
        logits = network(network_input(torch.from_numpy(pixels).permute(0, 3, 1, 2)))
        right.append(run.labels[int(logits.argmax())] == file.parent.name)
    assert len(right) == 36
    assert rows[0]["Germany"]["accuracy"]["mean"] == pytest.approx(np.mean(right), abs=1e-5)

    lines = (first / "validation.csv").read_text().splitlines(keepends=True)
    (tmp_path / "again" / "validation.csv").write_text("".join([lines[0], *lines[2:]]))
    done = program("questions", signs, recipe, tmp_path / "again", first, *results)
    assert done.returncode == 1
    assert "hold other images out: use --lists" in done.stderr


# The network that is shipped


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no network is shipped")
def test_the_shipped_network_is_small_and_gives_its_known_answers() -> None:
    bundle = Bundle.load(SHIPPED)
    assert bundle.precision_text == "int8"
    assert bundle.formats == ("tflite", "onnx")
    assert all(bundle.files[f"model.{kind}"].size_bytes < 200_000 for kind in bundle.formats)
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 500_000
    assert all(check_golden(SHIPPED, model_format=kind).holds for kind in bundle.formats)


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no network is shipped")
def test_the_shipped_network_says_whose_images_it_learnt_and_where_it_was_not_made() -> None:
    card = (SHIPPED / "README.md").read_text()
    assert (EXAMPLE / "card.md").read_text().strip() in card
    # The card says so: photos of others would travel as golden ones by default.
    assert "its golden photos are drawn" in card
    assert str(ROOT) not in (SHIPPED / "bundle.json").read_text()
