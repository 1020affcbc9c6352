import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fake_search import OWN, SPACE, optimizer
from search_folder import trials_of

from leansight.runtime.errors import DataError

WORKER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import fake_search
from leansight.sdk.search import results as optimizing_results

optimizing_results.write_picture = lambda *_, **__: None
folder, log, seconds, storage = sys.argv[2:]

def evaluate(point):
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {point.bundle_name}\\n")
    time.sleep(float(seconds))
    return fake_search.measure(point)

fake_search.optimizer(Path(folder), evaluate, storage=storage or None).run(trials=12, hours=None)
"""


@contextmanager
def searching(
    folder: Path, log: Path, seconds: float, storage: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Search in a process of its own, which is there until the end of the `with`."""
    arguments = [
        str(Path(__file__).parents[2] / "helpers"),
        str(folder),
        str(log),
        str(seconds),
        storage,
    ]
    process = subprocess.Popen([sys.executable, "-c", WORKER, *arguments])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_two_processes_share_a_search(tmp_path: Path, kind: str) -> None:
    folder, log = tmp_path / "search", tmp_path / "log"
    storage = "" if kind == "journal" else f"sqlite:///{tmp_path}/trials.db"
    with (
        searching(folder, log, 0.5, storage) as first,
        searching(folder, log, 0.5, storage) as second,
    ):
        assert [process.wait(240) for process in (first, second)] == [0, 0]
    tried = [line.split() for line in log.read_text().splitlines()]
    assert len(tried) == len({name for _, name in tried}) == 12
    assert {int(pid) for pid, _ in tried} == {first.pid, second.pid}
    rows = trials_of(folder)
    assert sorted(int(row["trial"]) for row in rows) == list(range(12))
    assert {row["bundle"] for row in rows} == {name for _, name in tried}


@pytest.mark.usefixtures("no_picture")
def test_the_trial_of_a_killed_process_goes_on_in_another(tmp_path: Path) -> None:
    folder, log = tmp_path / "search", tmp_path / "log"
    with searching(folder, log, 600):
        end = time.monotonic() + 240
        while not log.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        others = optimizer(folder).run(trials=3, hours=None)  # while it is at work
        assert [r.trial for r in others] == [1, 2]
    told: list[str] = []
    results = optimizer(folder, report_line=told.append).run(trials=3, hours=None)
    assert told[0].startswith("trial 0 (of 3) goes on")
    assert [r.trial for r in results] == [0, 1, 2]
    assert results[0].point == OWN


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    with pytest.raises(DataError, match="neither empty nor a search: choose another --out"):
        optimizer(tmp_path).run(trials=1, hours=None)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.usefixtures("no_picture")
def test_a_search_that_another_process_is_about_to_begin_is_no_foreign_folder(
    tmp_path: Path,
) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "optimize.json.part").write_text("{")  # or was killed while it did
    assert len(optimizer(tmp_path).run(trials=1, hours=None)) == 1
    assert not (tmp_path / "optimize.json.part").exists()


@pytest.mark.usefixtures("no_picture")
def test_another_search_is_refused_and_what_differs_is_said(tmp_path: Path) -> None:
    optimizer(tmp_path).run(trials=1, hours=None)
    changed = replace(SPACE, sizes=(64,))
    with pytest.raises(DataError, match=r"another search: sizes was 32,48, not 64. Choose"):
        optimizer(tmp_path, space=changed).run(trials=1, hours=None)
    with pytest.raises(DataError, match=r"storage was nothing, not sqlite:///x\.db"):
        optimizer(tmp_path, storage="sqlite:///x.db").run(trials=1, hours=None)


@pytest.mark.usefixtures("no_picture")
def test_a_database_that_cannot_be_opened_is_said_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://me:secret@nowhere.invalid/trials"
    with pytest.raises(DataError, match=r"--storage postgresql.* cannot be opened") as caught:
        optimizer(tmp_path, storage=url).run(trials=1, hours=None)
    assert "secret" not in str(caught.value)
    assert "secret" not in (tmp_path / "optimize.json").read_text()
    with pytest.raises(DataError, match="--storage"):
        optimizer(tmp_path / "b", storage="://").run(trials=1, hours=None)
