"""BDD100K: the weather of each image in JSON label files."""

import json
from pathlib import Path
from typing import Any

from leansight.runtime.errors import DataError
from leansight.sdk.data.samples import Sample

# BDD100K


def driving_weather(root: Path) -> list[Sample]:
    """Read each image's `attributes.weather`; the "countries" are train and val (S3)."""
    samples = []
    for part in ("train", "val"):
        files = sorted((root / "labels").glob(f"*_{part}.json"))
        if len(files) > 1:
            raise DataError(f"{files[0]} and {files[1]} both label the same images: keep one")
        for file in files:
            folder = Path("images", "100k", part)
            for name, weather in _weather(file):
                samples.append(Sample(path=folder / name, labels=(weather,), country=part))
    if not samples:
        raise DataError(f"{root}/labels holds no image in *_train.json or *_val.json")
    return samples


def _weather(file: Path) -> list[tuple[str, str]]:
    def kept(values: dict[str, Any]) -> dict[str, Any]:
        # Boxes are forgotten while they are read: BDD100K's own file has a gigabyte of them.
        return {key: values[key] for key in ("name", "attributes", "weather") if key in values}

    try:
        entries = json.loads(file.read_bytes(), object_hook=kept)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    found = []
    for number, entry in enumerate(entries if isinstance(entries, list) else [None], 1):
        match entry:
            case {"name": str(name), "attributes": {"weather": str(weather)}}:
                found.append((name, weather))
            case _:
                raise DataError(f"{file}: entry {number} has no name with an attributes.weather")
    return found
