import pytest
from live.leaks import nothing_stays

from leansight.runtime.stream.capture import supervisor

__all__ = ["nothing_stays"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the next process at once."""
    monkeypatch.setattr(supervisor, "START_INTERVALS_S", (0.01,))
