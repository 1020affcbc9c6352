"""Which images a data set has and what they show, from the layouts that data sets come in."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.sdk.data.images import images_folder
from leansight.sdk.data.layouts.bdd100k import driving_weather
from leansight.sdk.data.layouts.csv_table import csv_file, listed_samples, path_column, read_table
from leansight.sdk.data.layouts.folders import class_folders
from leansight.sdk.data.layouts.gtsrb import numbered_folders
from leansight.sdk.data.samples import MIN_CLASSES, Sample
from leansight.sdk.recipes.schema import DataRecipe, Layout
from leansight.sdk.system.text import first_five

_AS_IT_COMES: Final = DataRecipe()


def find_samples(root: Path, recipe: DataRecipe = _AS_IT_COMES) -> list[Sample]:
    """Return the samples of the data set `root`, a folder or a CSV file.

    Layouts: "folders" (CLASS/IMAGE or COUNTRY/CLASS/IMAGE), "gtsrb" and "belgiumts" (numbered
    folders with `GT-*.csv`), "bdd100k" (weather, from `labels/*_{train,val}.json`), "csv" (the
    file itself, or `labels.csv` or the only CSV file in the folder), or "auto". Boxes are given
    where the recipe wants regions.

    A CSV file has a column `path` (or file, filename, image), relative to the file's folder, and
    either `label`, or `labels` parted by "|" or ";", or a column of 0 and 1 for each label. Also
    read are `country`, `video`, `box` (x1 y1 x2 y2) or the columns x1, y1, x2, y2.

    Raises:
        DataError: nothing is there, it is not of the layout, or its labels name absent images.

    """
    if not root.exists():
        raise DataError(f"{root} is not a folder of labelled images: it does not exist")
    layout = _layout(root) if recipe.layout == "auto" else recipe.layout
    if layout != "csv" and not root.is_dir():
        raise DataError(f'{root} is not a folder, which data.layout = "{layout}" needs')
    match layout:
        case "gtsrb" | "belgiumts":
            samples = numbered_folders(root)
        case "bdd100k":
            samples = driving_weather(root)
        case "csv":
            samples = listed_samples(csv_file(root))
        case "folders":
            samples = class_folders(root)
    if layout != "folders":
        _require_files(root, samples)
    if recipe.regions and not any(s.box for s in samples):
        raise DataError(
            f"the labels of {root} give no regions: set data.regions=false", parameter="overrides"
        )
    return samples if recipe.regions else [replace(s, box=None) if s.box else s for s in samples]


def find_labels(samples: Iterable[Sample]) -> tuple[str, ...]:
    """Return the class names in alphabetical order; DataError if there are fewer than two."""
    labels = tuple(sorted({label for s in samples for label in s.labels}))
    if len(labels) < MIN_CLASSES:
        found = f"one class only ({labels[0]})" if labels else "no class"
        raise DataError(f"found {found}: put the images of each class in their own folder")
    return labels


def _layout(root: Path) -> Layout:
    if root.is_file():
        return "csv"
    if (root / "images" / "100k").is_dir() and (root / "labels").is_dir():
        return "bdd100k"
    if any(next(root.glob(f"{at}GT-*.csv"), None) for at in ("", "*/", "*/*/")):
        return "gtsrb"
    if (root / "labels.csv").is_file():
        return "csv"
    lists = list(root.glob("*.csv"))
    if len(lists) == 1 and path_column(read_table(lists[0]).names):
        return "csv"
    return "folders"


def _require_files(root: Path, samples: Sequence[Sample]) -> None:
    folder = images_folder(root)
    absent = [str(s.path) for s in samples if not (folder / s.path).is_file()]
    if absent:
        raise DataError(
            f"the labels of {root} name {len(absent)} images (of {len(samples)}) that do not "
            f"exist: {first_five(absent)}"
        )
