import threading
import time
from collections.abc import Iterator

import pytest

from leansight.runtime.stream import camera_stream as stream


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a lost source again at once."""
    monkeypatch.setattr(stream, "RETRY_DELAYS_S", (0.01, 0.02))


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before
