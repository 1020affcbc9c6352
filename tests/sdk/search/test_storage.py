import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path

import pytest
from fake_search import OWN, SPACE, measure, optimizer
from search_folder import trials_of

from leansight.runtime.errors import DataError
from leansight.sdk.search import optimizer as optimizing
from leansight.sdk.search.space import BundleMeasurement, Point
from leansight.sdk.search.storage import refuse_foreign
from leansight.sdk.system.locks import try_lock

WORKER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import fake_search
from leansight.sdk.search import results as optimizing_results

optimizing_results.write_pareto_picture = lambda *_, **__: None
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
    with pytest.raises(DataError, match="neither empty nor a search: choose another folder"):
        optimizer(tmp_path).run(trials=1, hours=None)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.usefixtures("no_picture")
def test_a_search_that_another_process_is_about_to_begin_is_no_foreign_folder(
    tmp_path: Path,
) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / ".optimize.json.part").write_text("{")  # or was killed while it did
    assert len(optimizer(tmp_path).run(trials=1, hours=None)) == 1
    assert not (tmp_path / ".optimize.json.part").exists()


@pytest.mark.usefixtures("no_picture")
def test_another_search_is_refused_and_what_differs_is_said(tmp_path: Path) -> None:
    optimizer(tmp_path).run(trials=1, hours=None)
    changed = replace(SPACE, sizes=(64,))
    with pytest.raises(DataError, match=r"other settings: sizes was 32,48, not 64. Repeat"):
        optimizer(tmp_path, space=changed).run(trials=1, hours=None)
    with pytest.raises(DataError, match=r"storage was nothing, not sqlite:///x\.db"):
        optimizer(tmp_path, storage="sqlite:///x.db").run(trials=1, hours=None)


@pytest.mark.usefixtures("no_picture")
def test_a_database_that_cannot_be_opened_is_said_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://me:secret@nowhere.invalid/trials"
    with pytest.raises(DataError, match=r"postgresql.* cannot be opened") as caught:
        optimizer(tmp_path, storage=url).run(trials=1, hours=None)
    assert "secret" not in str(caught.value)
    assert "secret" not in (tmp_path / "optimize.json").read_text()
    with pytest.raises(DataError, match="Could not parse"):
        optimizer(tmp_path / "b", storage="://").run(trials=1, hours=None)


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_trial_that_ends_while_another_process_looks_is_left_alone(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other lists the trial as running, its owner ends it, the other takes its lock."""
    folder = tmp_path / "search"
    storage = None if kind == "journal" else f"sqlite:///{tmp_path}/trials.db"
    begun, listed = threading.Event(), threading.Event()

    def evaluate(point: Point) -> BundleMeasurement:
        begun.set()
        assert listed.wait(60)
        return measure(point)

    def lock_once_free(file: Path) -> TextIOWrapper:
        listed.set()
        end = time.monotonic() + 60
        while not (lock := try_lock(file)):
            assert time.monotonic() < end
            time.sleep(0.01)
        return lock

    first = optimizer(folder, evaluate, storage=storage)
    owner = threading.Thread(target=lambda: first.run(trials=1, hours=None))
    owner.start()
    assert begun.wait(60)
    monkeypatch.setattr(optimizing, "try_lock", lock_once_free)
    told: list[str] = []
    results = optimizer(folder, storage=storage, report_line=told.append).run(trials=2, hours=None)
    owner.join(60)
    assert told[0].startswith("trial 1 (of 2) begins")
    assert [(r.trial, r.state) for r in results] == [(0, "complete"), (1, "complete")]


def test_a_folder_that_is_listed_while_a_search_begins_in_it_is_no_foreign_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing need not show what is made while it is read (readdir), here the definition."""
    (tmp_path / ".start.x.part").mkdir()

    def listing_of_before(folder: Path) -> list[Path]:
        (folder / "optimize.json").write_text("{}")
        return [folder / "locks", folder / ".start.x.part"]

    with pytest.raises(DataError, match="neither empty nor a search"):
        refuse_foreign(tmp_path)
    monkeypatch.setattr(Path, "iterdir", listing_of_before)
    refuse_foreign(tmp_path)


OPENER = """
import sys
from leansight.sdk.search.storage import open_storage
print("ready", flush=True)
sys.stdin.readline()
open_storage(sys.argv[1])
"""


def test_searches_that_begin_at_once_share_a_new_database(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENER, f"sqlite:///{tmp_path}/trials.db"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(command, **pipes, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0, 0, 0]


KILLED_AS_IT_WRITES = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import fake_search

os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
fake_search.optimizer(Path(sys.argv[2])).run(trials=1, hours=None)
"""


@pytest.mark.usefixtures("no_picture")
def test_a_journal_that_a_killed_process_was_writing_is_free_at_once(tmp_path: Path) -> None:
    helpers = Path(__file__).parents[2] / "helpers"
    command = [sys.executable, "-c", KILLED_AS_IT_WRITES, helpers, tmp_path / "search"]
    killed = subprocess.run(command, check=False, timeout=240)
    assert killed.returncode == -signal.SIGKILL
    start = time.monotonic()
    assert len(optimizer(tmp_path / "search").run(trials=1, hours=None)) == 1
    assert time.monotonic() - start < 25  # Optuna's own lock is kept for 30 seconds
