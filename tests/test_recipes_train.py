"""Each shipped recipe learns from data in its own layout, and what it learnt can be exported."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes
from numpy.typing import NDArray

from leansight.runtime.classifier import Classifier
from leansight.sdk.exporting import export_run
from leansight.sdk.recipe import load_recipe, recipe_names
from leansight.sdk.run import Options
from leansight.sdk.training import Hardware, train

pytestmark = pytest.mark.slow

HERE = Hardware(accelerator="cpu", workers=0)
# As authors trained them but for what makes them long: sizes, epochs, downloads.
SHORT = (
    "model.pretrained=false",
    "training.epochs=1",
    "training.batch_size=6",
    "training.find_learning_rate=false",
    "training.patience=0",
    "training.half_size_share=0",
    "training.trainable_layers=-1",
    "decision.threshold=0",
)


def picture(label: str, seed: int) -> NDArray[np.uint8]:
    return shapes.draw(label, np.random.default_rng(seed))


def write(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def countries(root: Path) -> Options:
    """S1: COUNTRY/CLASS/VIDEO_FRAME."""
    for n, country in enumerate(("germany", "belgium")):
        for label in shapes.LABELS:
            for video in range(4):
                seed = 100 * n + 10 * video + shapes.LABELS.index(label)
                write(root / country / label / f"{video:05}_00000.png", picture(label, seed))
    return Options(test_on="belgium")


def classes(root: Path) -> Options:
    """S2, photos: CLASS/IMAGE."""
    for label in shapes.LABELS:
        for n in range(10):
            seed = 10 * n + shapes.LABELS.index(label)
            write(root / label / f"photo-{n}.jpg", picture(label, seed))
    return Options()


def driving(root: Path) -> Options:
    """S3: BDD100K's images and label files."""
    entries = []
    for n in range(30):
        label, name = shapes.LABELS[n % 3], f"{n:04}.jpg"
        write(root / "images" / "100k" / "train" / name, picture(label, n))
        entries.append({"name": name, "attributes": {"weather": label}, "labels": []})
    (root / "labels").mkdir()
    (root / "labels" / "bdd100k_labels_images_train.json").write_text(json.dumps(entries))
    return Options()


def train_and_test(root: Path) -> Options:
    """S4: Linnaeus 5's train/CLASS and test/CLASS."""
    for n, part in enumerate(("train", "test")):
        for label in shapes.LABELS:
            for image in range(8):
                seed = 200 * n + 10 * image + shapes.LABELS.index(label)
                write(root / part / label / f"{image}_256.jpg", picture(label, seed))
    return Options(test_on="test")


def many_labels(root: Path) -> Options:
    """S5: a CSV with a column for each label; some images have none."""
    rng = np.random.default_rng(0)
    root.mkdir()
    with (root / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", *shapes.LABELS])
        for n in range(30):
            marks = rng.integers(0, 2, 3)
            pixels = picture("bars", n) // 2
            for mark, label in zip(marks, shapes.LABELS, strict=True):
                if mark:
                    pixels = np.maximum(pixels, picture(label, n))
            write(root / f"{n:03}.jpg", pixels)
            rows.writerow([f"{n:03}.jpg", *marks])
    return Options()


@dataclass(frozen=True)
class Case:
    layout: Callable[[Path], Options]
    overrides: tuple[str, ...] = ()
    exported: bool = True  # the big bodies take minutes to convert; test_export_networks has kin


RESNET = ("preprocessing.size=32",)
CASES = {
    "traffic-signs-small": Case(countries, ("model.width=4", "preprocessing.size=32")),
    "traffic-signs-resnet50": Case(countries, RESNET, exported=False),
    "traffic-signs-resnet50-scratch": Case(countries, RESNET, exported=False),
    "masks-cnn": Case(classes, ("preprocessing.size=64",)),
    "masks-transfer": Case(classes, ("preprocessing.size=75",), exported=False),
    "driving-weather": Case(driving, RESNET, exported=False),
    "symbols-mobilenet": Case(train_and_test, RESNET),
    "symbols-resnet50": Case(train_and_test, RESNET, exported=False),
    "multilabel-frozen": Case(many_labels, RESNET, exported=False),
    "multilabel-ensemble": Case(many_labels, RESNET, exported=False),
    "multilabel-scratch": Case(many_labels, RESNET),
    "photos": Case(classes, RESNET),
}


def test_every_shipped_recipe_is_tried() -> None:
    assert set(CASES) == set(recipe_names())


@pytest.mark.parametrize("name", CASES)
def test_a_recipe_learns_from_its_own_layout(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    data = tmp_path / "data"
    options = case.layout(data)
    recipe = load_recipe(name, [*SHORT, *case.overrides])
    run = train(data, recipe, out=tmp_path / "run", options=options, hardware=HERE)
    assert set(run.labels) == set(shapes.LABELS)
    assert 0 <= run.metrics["validation accuracy"] <= 1
    assert ("test accuracy" in run.metrics) == bool(run.split().test)
    if not case.exported:
        return
    # One step teaches nothing: what is asked is that the formats decide alike.
    reports = export_run(
        run.path,
        out=tmp_path / "bundle",
        precision="int8",
        max_drop=100,
        data=None,
        calibration_images=16,
        threshold=None,
    )
    assert reports["validation"].agreement >= 0.995
    classifier = Classifier.load(tmp_path / "bundle")
    prediction = classifier(picture("disc", 1))
    assert {label for label, _ in prediction.top} <= set(shapes.LABELS)
