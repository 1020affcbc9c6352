"""Which room may import which, and how large a room may be."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from house import (
    FILES,
    FOLDERS,
    PACKAGES,
    STOREYS,
    file_of,
    imports_of,
    name_of,
    room_of,
    storey_of,
)

MOST_FILES = 16
JUNK_DRAWERS = {"base", "common", "helpers", "misc", "shared", "util", "utils"}
MODULES = [path for path in FILES if path.name != "__init__.py"]
COMMANDS = [path for path in MODULES if room_of(path) == "sdk/commands"]
# They start the others: the table of commands imports each by its name when it is called.
SHARED_BY_COMMANDS = {"cli.py", "ending.py", "interruption.py"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_folder_imports_only_the_folders_below_it(path: Path) -> None:
    folder = name_of(path).split("/")[0]
    for name, dots, line in imports_of(path):
        assert dots == 0, f"{name_of(path)}:{line} imports relatively: {name}"
        parts = name.split(".")
        assert parts[0] not in FOLDERS, f"{name_of(path)}:{line} imports {name} without leansight"
        if parts[0] == "leansight":
            allowed = FOLDERS[folder] | {folder}
            assert parts[1] in allowed, f"{name_of(path)}:{line} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_room_imports_only_rooms_of_lower_storeys(path: Path) -> None:
    room = room_of(path)
    for name, _, line in imports_of(path):
        file = file_of(name)
        if file is None or name_of(file).split("/")[0] != room.split("/")[0]:
            continue
        other = room_of(file)
        if other != room:
            assert storey_of(other) > storey_of(room), (
                f"{name_of(path)}:{line} imports {name} upward"
            )


def test_every_room_has_a_storey_and_every_storey_its_rooms() -> None:
    placed = [room for storeys in STOREYS.values() for rooms in storeys for room in rooms]
    assert sorted(placed) == sorted({room_of(path) for path in MODULES})


def test_a_folder_has_few_files() -> None:
    count = Counter(path.parent for path in MODULES)
    assert not {name_of(folder): n for folder, n in count.items() if n > MOST_FILES}


def test_there_is_no_junk_drawer() -> None:
    assert not [name_of(path) for path in FILES if {path.stem, path.parent.name} & JUNK_DRAWERS]


@pytest.mark.parametrize("folder", PACKAGES, ids=name_of)
def test_a_room_says_in_one_line_what_it_is(folder: Path) -> None:
    tree = ast.parse((folder / "__init__.py").read_text())
    caption = ast.get_docstring(tree)
    assert caption
    if name_of(folder) not in FOLDERS:
        assert len(tree.body) == len(caption.splitlines()) == 1


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_command_is_imported_by_nobody(path: Path) -> None:
    for name, _, line in imports_of(path):
        file = file_of(name)
        if file in COMMANDS and file != path:
            allowed = room_of(path) == "sdk/commands" and file.name in SHARED_BY_COMMANDS
            assert allowed, f"{name_of(path)}:{line} imports {name}"


# The command line says which of its options a parameter is.
