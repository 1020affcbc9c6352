import sys
from pathlib import Path

import pytest
import shapes
from fake_study import TRAINER


@pytest.fixture
def trainer() -> tuple[str, ...]:
    return (sys.executable, "-IS", str(TRAINER))  # it starts fast: it imports no library


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder for the trainer above, which does not look into it."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(shapes.RECIPE)
    return file
