"""The tests are where a reader looks for them: their folders mirror the rooms."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import ROOT, file_of, name_of

TESTS = ROOT / "tests"
# What mirrors no room: what tests use, what they hold the rooms to, and what runs elsewhere.
APART = {"helpers", "architecture", "docs", "examples", "fuzz", "perf", "pi"}
FILES = sorted(
    path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] not in APART
)
MOST_FILES, MOST_LINES = 16, 500


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_test_file_is_named_after_a_file_of_the_room_that_it_mirrors(path: Path) -> None:
    """`tests/sdk/data/test_splits.py`, or `test_splits_by_video.py`, tests `sdk/data/splits.py`."""
    room = ROOT / path.relative_to(TESTS).parent
    names = {file.stem for file in room.iterdir()}
    tested = path.stem.removeprefix("test_")
    assert any(tested == name or tested.startswith(f"{name}_") for name in names)


def test_a_folder_of_tests_has_few_files() -> None:
    count = Counter(path.parent for path in TESTS.rglob("*.py"))
    assert not {name_of(folder): n for folder, n in count.items() if n > MOST_FILES}


def test_a_test_file_reads_in_one_sitting() -> None:
    lines = {name_of(path): len(path.read_text().splitlines()) for path in TESTS.rglob("*.py")}
    assert not {name: n for name, n in lines.items() if n > MOST_LINES}


def imports_in_texts(path: Path) -> Iterator[str]:
    """Yield the names of ours that programs import which a test writes and starts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for module, names in re.findall(r"from (leansight[\w.]*) import ([\w, ]+)", node.value):
                yield from (f"{module}.{name.split()[0]}" for name in names.split(","))


def is_there(name: str) -> bool:
    """Return whether a module of this name exists, or a module that has the last part of it."""
    file, last = file_of(name), name.rpartition(".")[2]
    assert file is not None, name
    words = {file.stem}
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.FunctionDef(name=word) | ast.ClassDef(name=word) | ast.alias(name=word):
                words.add(word)
            case ast.Name(id=word, ctx=ast.Store()):
                words.add(word)
    return last in words


def test_programs_that_tests_write_import_what_is_there() -> None:
    """A type checker sees no names in texts: a renamed one would fail in a slow test alone."""
    missing = {
        (name_of(path), name)
        for path in TESTS.rglob("*.py")
        for name in imports_in_texts(path)
        if not is_there(name)
    }
    assert not missing


def test_torch_takes_one_thread_for_each_worker() -> None:
    import torch

    assert torch.get_num_threads() == 1
