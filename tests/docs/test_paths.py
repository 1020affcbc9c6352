"""A page that names a file of ours names one that is there."""

import re
from pathlib import Path

import pytest
from house import FOLDERS, ROOT, name_of

PATH = re.compile(
    rf"(?<![\w./-])((?:{'|'.join(FOLDERS)}|tests|scripts|examples)/[\w./-]*\w\.(?:py|toml|html|txt|svg))\b"
)
# What stands for any name.
PLACEHOLDERS = {"examples/NN_what_it_shows.py", "exporters/NAME.py"}
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]


@pytest.mark.parametrize("page", sorted(PAGES), ids=name_of)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = set(PATH.findall(page.read_text())) - PLACEHOLDERS
    # What an old version of leansight had is told as it was.
    if page.name != "CHANGELOG.md":
        assert not sorted(path for path in named if not (ROOT / path).is_file())


def test_paths_are_found_in_a_text() -> None:
    text = "`sdk/gone.py` and (tests/sdk/data/test_splits.py), not a/sdk/x.py nor sdk/models/"
    assert PATH.findall(text) == ["sdk/gone.py", "tests/sdk/data/test_splits.py"]
