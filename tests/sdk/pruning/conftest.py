from pathlib import Path

import pytest
import shapes
from tiny_run import untrained_run

from leansight.sdk.runs.run import Run


@pytest.fixture
def untrained(tmp_path: Path) -> Run:
    """A run as on disk after a training, which has not taken place."""
    return untrained_run(tmp_path, shapes.RECIPE)
