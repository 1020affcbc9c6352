"""Which images a data set has and what they show, from the layouts that data sets come in."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from leansight.runtime.errors import DataError
from leansight.runtime.image_files import FoundFiles, find_image_files
from leansight.sdk.data.class_names import normalise_labels
from leansight.sdk.data.dataset import DataSet
from leansight.sdk.data.duplicates import find_copies, require_one_class
from leansight.sdk.data.image_kinds import special_images
from leansight.sdk.data.images import images_folder
from leansight.sdk.data.layouts.bdd100k import driving_weather
from leansight.sdk.data.layouts.csv_table import csv_file, listed_samples, path_column, read_table
from leansight.sdk.data.layouts.folders import class_folders, describe_folders
from leansight.sdk.data.layouts.gtsrb import numbered_folders
from leansight.sdk.data.layouts.videos import VideoNames, with_videos
from leansight.sdk.data.samples import MIN_CLASSES, Sample
from leansight.sdk.recipes.schema import DataRecipe, Layout
from leansight.sdk.system.text import first_five

_AS_IT_COMES: Final = DataRecipe()
_TWICE: Final = "rows of a table that are there twice"
_UNLISTED: Final = "images that the table does not name"


class _Layout(NamedTuple):
    name: Layout
    why: str


def find_samples(root: Path, recipe: DataRecipe = _AS_IT_COMES) -> list[Sample]:
    """Return the samples of the data set `root`, a folder or a CSV file; see `find_data`.

    Raises:
        DataError: as `find_data`.

    """
    return list(find_data(root, recipe).samples)


def find_data(root: Path, recipe: DataRecipe = _AS_IT_COMES) -> DataSet:
    """Return the samples of the data set `root`, a folder or a CSV file, and how they were found.

    Layouts: "folders" (CLASS/IMAGE or COUNTRY/CLASS/IMAGE), "gtsrb" and "belgiumts" (numbered
    folders with `GT-*.csv`), "bdd100k" (weather, from `labels/*_{train,val}.json`), "csv" (the
    file itself, or `labels.csv` or the only CSV file in the folder), or "auto". Boxes are given
    where the recipe wants regions.

    Folders train, valid or val, and test are splits (`Sample.part`), around the other folders or
    inside of them. Class names come in Unicode's form NFC.

    A CSV file has a column `path` (or file, filename, image), relative to the file's folder, and
    either `label`, or `labels` parted by "|" or ";", or a column of 0 and 1 for each label. Also
    read are `country`, `video`, `split`, `box` (x1 y1 x2 y2) or the columns x1, y1, x2, y2.

    Raises:
        DataError: nothing is there, it is not of the layout, or its labels name absent images;
            two spellings of one class name; a photo in two classes.

    """
    if not root.exists():
        raise DataError(f"{root} is not a folder of labelled images: it does not exist")
    layout = (
        _layout(root) if recipe.layout == "auto" else _Layout(recipe.layout, "as was asked for")
    )
    if layout.name != "csv" and not root.is_dir():
        raise DataError(f'{root} is not a folder, which data.layout = "{layout.name}" needs')
    found: FoundFiles | None = None
    match layout.name:
        case "gtsrb" | "belgiumts":
            samples = numbered_folders(root, recipe.videos)
        case "bdd100k":
            samples = driving_weather(root)
        case "csv":
            samples = with_videos(listed_samples(csv_file(root)), recipe.videos)
            found = find_image_files(root) if root.is_dir() else None
        case "folders":
            samples, found = class_folders(root, VideoNames(pattern=recipe.videos))
            layout = layout._replace(why=f"{layout.why} ({describe_folders(samples)})")
    if layout.name != "folders":
        _require_files(root, samples)
    if recipe.regions and not any(s.box for s in samples):
        raise DataError(
            f"the labels of {root} give no regions: set data.regions=false", parameter="overrides"
        )
    if not recipe.regions:
        samples = [replace(s, box=None) if s.box else s for s in samples]
    return _checked(root, layout, normalise_labels(samples), found, recipe.videos)


def _checked(
    root: Path, layout: _Layout, samples: Sequence[Sample], found: FoundFiles | None, videos: str
) -> DataSet:
    """Return the data set without rows that are there twice; DataError for contradictions."""
    folder = images_folder(root)
    table = csv_file(root) if layout.name == "csv" else None
    rows = Counter((s, s.part) for s in samples)
    unique = [sample for sample, _ in rows]
    require_one_class(find_copies(folder, unique))
    paths = dict.fromkeys(s.path for s in unique)
    left_out = {_TWICE: [sample.path for sample, _ in (rows - Counter(rows.keys())).elements()]}
    if found is not None:
        for reason, others in found.left_out.items():
            left_out[reason] = [p.relative_to(root) for p in others if p != table]
    if table is not None and found is not None:
        named = {folder / path for path in paths}
        left_out[_UNLISTED] = [p.relative_to(root) for p in found.images if p not in named]
    return DataSet(
        root=root,
        layout=layout.name,
        why=layout.why,
        samples=tuple(unique),
        videos_from=_tell_videos(unique, layout.name, videos),
        special=special_images(folder, paths),
        left_out={reason: others for reason, others in sorted(left_out.items()) if others},
    )


def _tell_videos(samples: Sequence[Sample], layout: Layout, videos: str) -> str:
    example = next((s.path.name for s in samples if s.video), "")
    if videos != "auto":
        return f'as said: "{videos}"'
    if not example:
        return ""
    guess = f"guessed from names such as {example}; if wrong: videos=none"
    return {"csv": "a column of the table", "folders": guess}.get(
        layout, f"names such as {example}"
    )


def find_labels(samples: Iterable[Sample]) -> tuple[str, ...]:
    """Return the class names in alphabetical order; DataError if there are fewer than two."""
    labels = tuple(sorted({label for s in samples for label in s.labels}))
    if len(labels) < MIN_CLASSES:
        found = f"one class only ({labels[0]})" if labels else "no class"
        raise DataError(f"found {found}: put the images of each class in their own folder")
    return labels


def _layout(root: Path) -> _Layout:
    if root.is_file():
        return _Layout("csv", "because it is a file")
    if (root / "images" / "100k").is_dir() and (root / "labels").is_dir():
        return _Layout("bdd100k", "because there are images/100k/ and labels/")
    if any(next(root.glob(f"{at}GT-*.csv"), None) for at in ("", "*/", "*/*/")):
        return _Layout("gtsrb", "because there are lists GT-*.csv")
    if (root / "labels.csv").is_file():
        return _Layout("csv", "because there is a labels.csv")
    lists = list(root.glob("*.csv"))
    if len(lists) == 1 and _names_images(lists[0]):
        return _Layout("csv", f"because {lists[0].name} is a table with a column of images")
    return _Layout("folders", "because images lie in folders")


def _names_images(table: Path) -> bool:
    """Tell whether a table beside the images is their list; one beside class folders need not be.

    Raises:
        DataError: it cannot be read, and nothing but itself can say what the images show.

    """
    try:
        return path_column(read_table(table).names) is not None
    except DataError:
        if any(path.is_dir() and not path.name.startswith(".") for path in table.parent.iterdir()):
            return False
        raise


def _require_files(root: Path, samples: Sequence[Sample]) -> None:
    folder = images_folder(root)
    absent = [str(s.path) for s in samples if not (folder / s.path).is_file()]
    if absent:
        raise DataError(
            f"the labels of {root} name {len(absent)} images (of {len(samples)}) that do not "
            f"exist: {first_five(absent)}"
        )
