"""Folders of hard examples, as a stream writes them."""

import json
from pathlib import Path
from typing import Final

from streams import numbered

from leansight.runtime.stream.hard_example_folder import HardExampleFolder
from leansight.runtime.stream.jpeg import encode_jpeg

LABELS: Final = ("children", "cyclists", "roundabout", "stop", "yield")
_TOPS: Final = (("stop", "yield"), ("yield", "stop"), ("children", "stop"))


def hard_examples(
    folder: Path,
    doubts: list[float],
    *,
    labels: tuple[str, ...] = LABELS,
    task: str = "classification",
) -> list[str]:
    """Write pictures that show 0, 1, ... with these doubts; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    bundle = {"bundle": "signs", "digest": "d1", "task": task, "labels": labels}
    (folder / "bundle-d1.json").write_text(json.dumps(bundle))
    stored = HardExampleFolder(folder, most_bytes=10**9, most_days=1e6)
    for number, doubt in enumerate(doubts):
        first, second = _TOPS[number % len(_TOPS)]
        top = [[first, 0.5], [second, 0.5 - (1 - doubt)], ["roundabout", 0.01]]
        record = {"label": None, "status": "not sure", "top": top}
        jpeg = encode_jpeg(numbered(number), quality=95)
        assert stored.add(jpeg, record, doubt=doubt, time_s=1.7e9 + number)
    return [picture.stem for picture in sorted(folder.glob("*_*.jpg"))]


def files_below(folder: Path) -> set[str]:
    return {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}
