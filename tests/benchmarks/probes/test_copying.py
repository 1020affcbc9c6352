import numpy as np
import pytest

from leansight.benchmarks.probes import copying
from leansight.benchmarks.probes.copying import copy_seconds


def test_the_fastest_of_five_copies_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter([0, 5, 10, 13, 20, 22, 30, 34, 40, 49])
    monkeypatch.setattr(copying.time, "thread_time", lambda: next(ends))
    copied: list[int] = []
    monkeypatch.setattr(copying.np, "copyto", lambda to, of: copied.append(to.size + of.size))
    assert copy_seconds(1000) == 2
    assert copied == [2000] * 5


def test_more_bytes_take_longer() -> None:
    assert copy_seconds(1 << 25) > copy_seconds(1 << 15)
    assert np.isfinite(copy_seconds(1))
