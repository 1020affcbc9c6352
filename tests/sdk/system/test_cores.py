import os
from pathlib import Path

import pytest
from tiny_run import HERE, shortened

from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.system import cores
from leansight.sdk.system.cores import crowding
from leansight.sdk.training.train import train


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Four cores, where nobody has said how many threads there are to be."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(cores, "available_cores", lambda: 4)
    return monkeypatch


@pytest.mark.parametrize(("load", "threads"), [(0.6, 4), (3.0, 2)])
def test_threads_without_a_free_core_each_are_noticed(
    load: float, threads: int, machine: pytest.MonkeyPatch
) -> None:
    machine.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert f"other programs load {load} of its 4 cores" in (crowding(threads) or "")


@pytest.mark.parametrize(
    ("load", "threads"),
    [
        (0.4, 4),  # this process has begun
        (2.1, 2),
        (9.0, 1),  # one thread waits for no other
    ],
)
def test_threads_with_a_free_core_each_are_no_news(
    load: float, threads: int, machine: pytest.MonkeyPatch
) -> None:
    machine.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert crowding(threads) is None


def test_who_has_chosen_the_threads_is_left_in_peace(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(os, "getloadavg", lambda: (9.0, 9.0, 9.0))
    machine.setenv("OMP_NUM_THREADS", "4")
    assert crowding(4) is None


@pytest.mark.slow
def test_training_on_a_busy_machine_says_so_in_one_line(
    data: Path,
    recipe: Recipe,
    tmp_path: Path,
    machine: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine.setattr("torch.get_num_threads", lambda: 4)
    machine.setattr(os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    train(data, shortened(recipe), out=tmp_path / "run", hardware=HERE)
    words = " ".join(capsys.readouterr().err.split())
    assert "other programs load 3.0 of its 4 cores, and 4 threads" in words
    assert "set OMP_NUM_THREADS=1" in words
