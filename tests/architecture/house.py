"""The house as it is built: its rooms, what each imports, and the order that is allowed.

Read by the tests beside this file and by scripts/draw-architecture.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
# Each top-level folder, and the ones that it may import.
FOLDERS = {
    "runtime": set[str](),
    "exporters": {"runtime"},
    "benchmarks": {"runtime"},
    "sdk": {"runtime", "exporters", "benchmarks"},
}
# Inside a folder, from the roof to the ground: a room imports only rooms of lower storeys.
# `exporters/NAME.py` is a file that stands for itself.
STOREYS = {
    "runtime": [
        ["runtime/service/files", "runtime/service/mqtt"],
        ["runtime/service/screen"],
        ["runtime/service"],
        ["runtime/service/web"],
        ["runtime/installation"],
        ["runtime/stream"],
        ["runtime/stream/capture"],
        ["runtime/stream/sources"],
        ["runtime"],
        ["runtime/model_files", "runtime/pixels", "runtime/trust"],
        ["runtime/system"],
    ],
    "exporters": [
        ["exporters/export.py"],
        ["exporters/int8/efforts", "exporters/packaging"],
        ["exporters/int8"],
        ["exporters/verification"],
        ["exporters/importers", "exporters/pruning"],
        ["exporters/importers/operators", "exporters/importers/preparation"],
        ["exporters/conversion", "exporters/tflite"],
        ["exporters/options.py", "exporters/errors.py"],
    ],
    "benchmarks": [
        ["benchmarks/emulation"],
        ["benchmarks"],
        ["benchmarks/boards", "benchmarks/peers", "benchmarks/results"],
        ["benchmarks/probes"],
    ],
    "sdk": [
        ["sdk/commands"],
        [
            "sdk/commands/benchmark",
            "sdk/commands/exporting",
            "sdk/commands/camera",
            "sdk/commands/device",
        ],
        ["sdk/commands/options", "sdk/search"],
        ["sdk/pruning"],
        ["sdk/deployment"],
        ["sdk/evaluation", "sdk/training", "sdk/studies"],
        ["sdk/labelling", "sdk/runs"],
        ["sdk/data/layouts", "sdk/data/synthetic", "sdk/models"],
        ["sdk/data"],
        ["sdk/recipes"],
        ["sdk/augmentation"],
        ["sdk/system"],
    ],
}
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
PACKAGES = [path.parent for path in FILES if path.name == "__init__.py"]


class Import(NamedTuple):
    """A module or a name that a file imports, with the number of dots before it."""

    name: str
    dots: int
    line: int


def name_of(path: Path) -> str:
    """Return the path from the root of the checkout."""
    return str(path.relative_to(ROOT))


def package_of(folder: Path) -> str:
    """Return the name under which the folder is imported."""
    return ".".join(["leansight", *folder.relative_to(ROOT).parts])


def imports_of(path: Path) -> Iterator[Import]:
    """Yield what a file imports anywhere in it, also inside of functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                yield from (Import(alias.name, 0, node.lineno) for alias in node.names)
            case ast.ImportFrom():
                for alias in node.names:
                    yield Import(f"{node.module}.{alias.name}", node.level, node.lineno)


def room_of(path: Path) -> str:
    """Return the room of a file of ours; a file of `exporters/` itself is a room of its own."""
    name = name_of(path.parent)
    return name_of(path) if name == "exporters" else name


def file_of(name: str) -> Path | None:
    """Return the file of an imported module, or of a module that holds the imported name."""
    parts = name.split(".")
    if parts[0] != "leansight":
        return None
    for end in (len(parts), len(parts) - 1):
        path = ROOT.joinpath(*parts[1:end])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def storey_of(room: str) -> int:
    """Return how many storeys are above a room in its folder."""
    storeys = STOREYS[room.split("/", maxsplit=1)[0]]
    return next(number for number, rooms in enumerate(storeys) if room in rooms)
