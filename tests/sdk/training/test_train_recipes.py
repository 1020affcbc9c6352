"""Each shipped recipe learns from data in its own layout, and what it learnt can be exported."""

import csv
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes
import timm
from networks import with_fewer_layers
from numpy.typing import NDArray

from leansight.exporters.options import Promise
from leansight.runtime.classifier import Classifier
from leansight.sdk.deployment.export_run import export_run
from leansight.sdk.deployment.options import DeploymentOptions
from leansight.sdk.recipes.load import load_recipe, recipe_names
from leansight.sdk.runs.run import TrainingOptions
from leansight.sdk.training.train import train
from leansight.sdk.training.trainer import Hardware

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


@dataclass(frozen=True)
class Source:
    """Pictures of three classes: `picture(label, n)` is (H, W, 3) uint8 BGR or (H, W) gray."""

    labels: tuple[str, ...]
    picture: Callable[[str, int], NDArray[np.uint8]]


def drawn() -> Source:
    return Source(
        shapes.LABELS, lambda label, n: shapes.draw(label, np.random.default_rng([n, len(label)]))
    )


def photos(folder: str) -> Source:
    """Real ones; the same n may be the same photo, but neighbours are not."""
    if "LEANSIGHT_DATA" not in os.environ:
        pytest.skip("set LEANSIGHT_DATA to a folder with signs/, flowers/ and weather/")
    root = Path(os.environ["LEANSIGHT_DATA"]) / folder
    files = {p.name: sorted(p.iterdir()) for p in sorted(root.iterdir())[:3]}

    def picture(label: str, n: int) -> NDArray[np.uint8]:
        found = cv2.imread(str(files[label][97 * n % len(files[label])]))
        assert found is not None
        return found

    return Source(tuple(files), picture)


def write(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def countries(root: Path, source: Source) -> TrainingOptions:
    """S1: COUNTRY/CLASS/VIDEO_FRAME."""
    for place, country in enumerate(("germany", "belgium")):
        for label in source.labels:
            for video in range(4):
                pixels = source.picture(label, 10 * place + video)
                write(root / country / label / f"{video:05}_00000.png", pixels)
    return TrainingOptions(test_on="belgium")


def classes(root: Path, source: Source) -> TrainingOptions:
    """S2, photos: CLASS/IMAGE."""
    for label in source.labels:
        for n in range(10):
            write(root / label / f"photo-{n}.jpg", source.picture(label, n))
    return TrainingOptions()


def driving(root: Path, source: Source) -> TrainingOptions:
    """S3: BDD100K's images and label files."""
    entries = []
    for n in range(30):
        label, name = source.labels[n % 3], f"{n:04}.jpg"
        write(root / "images" / "100k" / "train" / name, source.picture(label, n))
        entries.append({"name": name, "attributes": {"weather": label}, "labels": []})
    (root / "labels").mkdir()
    (root / "labels" / "bdd100k_labels_images_train.json").write_text(json.dumps(entries))
    return TrainingOptions()


def train_and_test(root: Path, source: Source) -> TrainingOptions:
    """S4: Linnaeus 5's train/CLASS and test/CLASS."""
    for place, part in enumerate(("train", "test")):
        for label in source.labels:
            for n in range(8):
                write(root / part / label / f"{n}_256.jpg", source.picture(label, 20 * place + n))
    return TrainingOptions()  # folders with these names are splits


def many_labels(root: Path, source: Source) -> TrainingOptions:
    """S5: a CSV with a column for each label; some images have none, some show two halves."""
    root.mkdir()
    with (root / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", *source.labels])
        for n in range(30):
            shown = source.labels[: n % 4]
            halves = [cv2.resize(source.picture(label, n), (64, 96)) for label in shown]
            noise = np.random.default_rng(n).integers(0, 256, (96, 64), dtype=np.uint8)
            gray = [half if half.ndim == 2 else half.mean(axis=2) for half in [*halves, noise]]
            write(root / f"{n:03}.jpg", np.concatenate(gray, axis=1).astype(np.uint8))
            rows.writerow([f"{n:03}.jpg", *(int(label in shown) for label in source.labels)])
    return TrainingOptions()


@dataclass(frozen=True)
class Case:
    layout: Callable[[Path, Source], TrainingOptions]
    photos: str  # the folder of real ones
    overrides: tuple[str, ...] = ()
    exported: bool = True  # of drawn pictures: the big bodies take minutes to convert


RESNET = ("preprocessing.size=32",)
CASES = {
    "traffic-signs-small": Case(
        countries, "signs/germany", ("model.width=4", "preprocessing.size=32")
    ),
    "traffic-signs-tiny": Case(countries, "signs/germany", ("model.widths=[4, 4, 8]",)),
    "traffic-signs-resnet50": Case(countries, "signs/germany", RESNET, exported=False),
    "traffic-signs-resnet50-scratch": Case(countries, "signs/germany", RESNET, exported=False),
    "masks-cnn": Case(classes, "flowers", ("preprocessing.size=64", "model.width=8")),
    "masks-cnn-published": Case(classes, "flowers", ("preprocessing.size=64",)),
    "masks-transfer": Case(classes, "flowers", ("preprocessing.size=75",), exported=False),
    # Its head on a smaller body: the body is that of masks-transfer.
    "masks-transfer-published": Case(
        classes, "flowers", ("preprocessing.size=64", "model.name=mobilenetv1_100")
    ),
    "driving-weather": Case(driving, "weather", RESNET, exported=False),
    # Without weights nothing is normalised: test_normalisation.py gives some.
    "driving-weather-published": Case(
        driving, "weather", (*RESNET, "model.data_normalisation=false"), exported=False
    ),
    "symbols-mobilenet": Case(train_and_test, "flowers", RESNET),
    "symbols-resnet50": Case(train_and_test, "flowers", RESNET, exported=False),
    "multilabel-frozen": Case(many_labels, "weather", RESNET, exported=False),
    "multilabel-hidden": Case(many_labels, "weather", RESNET, exported=False),
    "multilabel-ensemble": Case(many_labels, "flowers", RESNET, exported=False),
    "multilabel-scratch": Case(
        many_labels, "weather", (*RESNET, "model.width=4", "model.blocks=[1,1,1]")
    ),
    "photos": Case(classes, "flowers", RESNET),
}


def test_every_shipped_recipe_is_tried() -> None:
    assert set(CASES) == set(recipe_names())


@pytest.mark.parametrize("kind", ["drawn", "photos"])
@pytest.mark.parametrize("name", CASES)
def test_a_recipe_learns_from_its_own_layout(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    if kind == "drawn":
        monkeypatch.setattr(timm, "create_model", with_fewer_layers)
    source = photos(case.photos) if kind == "photos" else drawn()
    data = tmp_path / "data"
    options = case.layout(data, source)
    recipe = load_recipe(name, [*SHORT, *case.overrides])
    run = train(data, recipe, out=tmp_path / "run", options=options, hardware=HERE)
    assert set(run.labels) == set(source.labels)
    assert 0 <= run.metrics["validation accuracy"] <= 1
    assert ("test accuracy" in run.metrics) == bool(run.split().test)
    if not case.exported and kind == "drawn":
        return
    # One step teaches nothing: what is asked is that the formats decide alike.
    reports = export_run(
        run.path,
        DeploymentOptions(
            promise=Promise(max_drop=100, max_class_drop=100),
            calibration_images=16,
            accept_untrained=True,
        ),
        out=tmp_path / "bundle",
    )
    assert reports["validation"].agreement >= 0.995
    classifier = Classifier.load(tmp_path / "bundle")
    prediction = classifier(source.picture(source.labels[0], 1))
    assert {label for label, _ in prediction.top} <= set(source.labels)
