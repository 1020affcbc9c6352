import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import pytest
import shapes

from leansight.runtime.errors import DataError, MissingExtraError
from leansight.sdk.commands import cli
from leansight.sdk.studies import executors
from leansight.sdk.studies import runner as studies
from leansight.sdk.studies.executors import (
    CellTask,
    Outcome,
    ProcessExecutor,
    RayExecutor,
    run_task,
)
from leansight.sdk.studies.grid import Axis, Study
from leansight.sdk.studies.runner import StudyRunner

RATES = ("training.learning_rate=0.1,0.01",)
GRID = (*RATES, "model.width=4,8")

TRAINER = Path(__file__).parents[2] / "helpers" / "fake_trainer.py"


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


def make_study(
    data: Path,
    grid: Sequence[str] = RATES,
    *,
    folds: int = 2,
    seeds: tuple[int, ...] = (0,),
    epochs: int = 3,
) -> Study:
    return Study(
        data=data,
        recipe=str(data.parent / "mine.toml"),
        overrides=(f"training.epochs={epochs}",),
        grid=tuple(map(Axis.parse, grid)),
        folds=folds,
        seeds=seeds,
    )


def make_runner(study: Study, folder: Path, trainer: tuple[str, ...]) -> StudyRunner:
    executor = ProcessExecutor(jobs=2)
    return StudyRunner(study=study, folder=folder, executor=executor, trainer=trainer)


def run_json(folder: Path) -> dict[str, object]:
    content = json.loads((folder / "run.json").read_text())
    assert isinstance(content, dict)
    return content


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


# A study


def test_a_study_runs_every_cell_and_tests_the_winner_once(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    ended: list[Outcome] = []
    counts: list[int] = []
    runner = make_runner(make_study(data, GRID), out, trainer)
    results = replace(runner, report_outcome=ended.append, report_running=counts.append).run()

    assert results.winner is not None
    assert results.winner.name == "learning_rate=0.1 width=4"
    assert results.metrics is not None
    assert results.metrics == {"test accuracy": 0.75}  # its validation images it has learnt
    assert {path.name for path in out.iterdir()} == {
        *(
            "study.json",
            "recipe.toml",
            "cells",
            "winner",
            "winner.log",
            "winner.json",
        ),
        *("results.json", "results.png"),
    }
    runs = [run_json(folder) for folder in (out / "cells").iterdir() if folder.is_dir()]
    assert len(runs) == 8
    assert all("--no-test" in run["arguments"] for run in runs)
    assert not any("--everything" in run["arguments"] for run in runs)
    winner = run_json(out / "winner")["arguments"]
    assert "--everything" in winner
    assert "--no-test" not in winner

    scores = [
        run_json(out / "cells" / f"01-learning_rate=0.1-width=4-fold{fold}-seed0")["metrics"]
        for fold in (0, 1)
    ]
    mean = np.mean([metrics["validation accuracy"] for metrics in scores])
    assert results.candidates[0].mean == pytest.approx(mean)
    assert json.loads((out / "results.json").read_text()) == results.to_dict()
    assert len(ended) == 9
    assert max(counts) == 2


def test_the_cores_are_divided_among_the_jobs(
    data: Path, tmp_path: Path, trainer: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(executors, "available_cores", lambda: 7)
    study = make_study(data, ["model.width=4,8"], folds=0)
    study = replace(study, overrides=(*study.overrides, "training.learning_rate=0.1"))
    make_runner(study, tmp_path / "study", trainer).run()
    threads = {
        path.parent.name: run_json(path.parent)["threads"] for path in tmp_path.rglob("run.json")
    }
    assert threads == {"01-width=4-fold0-seed0": "3", "02-width=8-fold0-seed0": "3", "winner": "7"}
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # the user's own word, where it is less
    make_runner(study, tmp_path / "other", trainer).run()
    assert run_json(tmp_path / "other" / "winner")["threads"] == "2"


def test_what_is_finished_is_kept(data: Path, tmp_path: Path, trainer: tuple[str, ...]) -> None:
    runner = make_runner(make_study(data), tmp_path / "study", trainer)
    first = runner.run()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("starts.txt")}
    assert len(before) == 5
    second = replace(runner, trainer=("false",)).run()
    assert second == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("starts.txt")} == before


def test_a_failed_cell_keeps_no_other_from_running(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    study = make_study(data, ["training.learning_rate=9,0.1"])
    runner = make_runner(study, out, trainer)
    results = runner.run()
    assert results.failed == {
        f"01-learning_rate=9-fold{fold}-seed0": "the loss is not a finite number" for fold in (0, 1)
    }
    assert results.winner is None
    assert [result.missing for result in results.candidates] == [2, 0]
    assert not (out / "winner").exists()
    assert json.loads((out / "results.json").read_text())["winner"] is None

    healed = tmp_path / "healed.py"
    healed.write_text(TRAINER.read_text().replace('== "9"', '== "10"'))
    results = replace(runner, trainer=(sys.executable, "-IS", str(healed))).run()
    assert not results.failed
    assert results.winner is not None
    assert len((out / "cells/02-learning_rate=0.1-fold0-seed0/starts.txt").read_text().split()) == 1


def test_candidates_that_failed_can_be_skipped(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    study = make_study(data, ["training.learning_rate=9,0.01"])
    runner = replace(make_runner(study, out, trainer), skip_failed=True)
    results = runner.run()
    assert results.winner is not None
    assert results.winner.name == "learning_rate=0.01"
    assert results.metrics is not None

    # The one that had failed now works, and is better: the test has been looked at.
    healed = tmp_path / "healed.py"
    better = TRAINER.read_text().replace('== "9"', '== "10"').replace('== "0.1"', '== "9"')
    healed.write_text(better)
    again = replace(runner, trainer=(sys.executable, "-IS", str(healed)))
    with pytest.raises(
        DataError, match=r"winner is of learning_rate=0\.01, .* second time, delete"
    ):
        again.run()
    (out / "winner.json").unlink()
    shutil.rmtree(out / "winner")
    results = again.run()
    assert results.winner is not None
    assert results.winner.name == "learning_rate=9"


def test_a_killed_child_is_a_failed_cell_that_goes_on_later(
    data: Path, tmp_path: Path, trainer: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_runner(make_study(data, epochs=8), tmp_path / "whole", trainer).run()

    out = tmp_path / "study"
    first = out / "cells" / "01-learning_rate=0.1-fold0-seed0"
    monkeypatch.setenv("EPOCH_SECONDS", "0.05")
    killed: list[int] = []

    def kill_one(running: int) -> None:
        if running and not killed and (first / "checkpoint.json").exists():
            killed.append(int((first / "starts.txt").read_text()))
            os.kill(killed[0], signal.SIGKILL)

    runner = make_runner(make_study(data, epochs=8), out, trainer)
    # `running` is told of every look at the processes.
    results = replace(runner, report_running=kill_one).run()
    assert results.failed == {first.name: "ended by signal 9 (Killed)"}
    monkeypatch.delenv("EPOCH_SECONDS")
    assert runner.run() == expected
    assert len((first / "starts.txt").read_text().split()) == 2


def test_a_training_that_leaves_no_run_has_failed(data: Path, tmp_path: Path) -> None:
    results = make_runner(make_study(data, []), tmp_path / "study", ("true",)).run()
    assert set(results.failed.values()) == {"ended with exit code 0 but left no run"}


def test_another_study_in_the_folder_is_named(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    make_runner(make_study(data, GRID, folds=2), out, ("true",)).run()
    before = (out / "study.json").read_bytes()
    other = make_study(data, ["training.learning_rate=0.1,0.02"], folds=3, epochs=4)
    with pytest.raises(
        DataError,
        match=r"holds another study: recipe\.training\.epochs was 3, not 4; "
        r"grid\.training\.learning_rate was 0\.1,0\.01, not 0\.1,0\.02; "
        r"grid\.model\.width was 4,8, not nothing; folds was 2, not 3\. Choose another --out",
    ):
        make_runner(other, out, ("true",)).run()
    assert (out / "study.json").read_bytes() == before


def test_a_users_recipe_is_copied_and_compared_by_its_content(
    data: Path, tmp_path: Path, trainer: tuple[str, ...], recipe: Path
) -> None:
    out = tmp_path / "study"
    study = make_study(data, ["training.learning_rate=0.1,0.01"])
    make_runner(study, out, trainer).run()
    arguments = run_json(out / "winner")["arguments"]
    assert isinstance(arguments, list)
    assert arguments[arguments.index("--recipe") + 1] == str(out / "recipe.toml")
    assert (out / "recipe.toml").read_text() == shapes.RECIPE

    recipe.write_text(shapes.RECIPE.replace("batch_size = 8", "batch_size = 4"))
    with pytest.raises(
        DataError, match=r"another study: recipe\.training\.batch_size was 8, not 4"
    ):
        make_runner(study, out, trainer).run()


def test_a_folder_of_other_things_is_left_alone(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match=r"is neither empty nor a study: choose another --out"):
        make_runner(make_study(data), tmp_path, trainer).run()


def test_a_study_that_was_killed_while_it_began_begins_again(
    data: Path, tmp_path: Path, trainer: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(make_study(data), tmp_path / "study", trainer)

    def killed(file: Path, _: object) -> None:
        file.with_name(f"{file.name}.part").write_text("{")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(studies, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            runner.run()
    assert not (tmp_path / "study" / "study.json").exists()
    assert runner.run().winner


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_definition_is_named(
    data: Path, tmp_path: Path, trainer: tuple[str, ...], content: str
) -> None:
    out = tmp_path / "study"
    out.mkdir()
    (out / "study.json").write_text(content)
    with pytest.raises(DataError, match=r"study\.json is damaged: "):
        make_runner(make_study(data), out, trainer).run()


def test_two_studies_at_once_in_one_folder_are_refused(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    runner = make_runner(make_study(data), tmp_path / "study", trainer)
    messages = []

    def start_another(_: Outcome) -> None:
        with pytest.raises(DataError, match=r"study is in use: another process") as error:
            runner.run()
        messages.append(str(error.value))

    replace(runner, report_outcome=start_another).run()
    assert len(messages) == 5


# Killed, and going on

DRIVER = """
import sys
from pathlib import Path
from leansight.sdk.studies.executors import ProcessExecutor, RayExecutor
from leansight.sdk.studies.grid import Axis, Study
from leansight.sdk.studies.runner import StudyRunner

data, out, recipe, trainer, epochs, address, *grid = sys.argv[1:]
study = Study(
    data=Path(data), recipe=recipe, overrides=(f"training.epochs={epochs}",),
    grid=tuple(map(Axis.parse, grid)), folds=2,
)
executor = ProcessExecutor(jobs=2)
if address:
    executor = RayExecutor(address=address, log=Path(out, "ray.log"))
runner = StudyRunner(
    study=study, folder=Path(out), executor=executor, trainer=(sys.executable, "-IS", trainer)
)
assert runner.run().metrics
"""


def start_study(
    data: Path,
    out: Path,
    trainer: tuple[str, ...],
    *,
    epochs: int,
    address: str = "",
    grid: Sequence[str] = GRID,
) -> subprocess.Popen[bytes]:
    """Start a study in a process group of its own, with epochs of 0.1 seconds."""
    command = [sys.executable, "-P", "-c", DRIVER, data, out, data.parent / "mine.toml"]
    command += [trainer[-1], str(epochs), address, *grid]
    environment = {**os.environ, "EPOCH_SECONDS": "0.1"}
    return subprocess.Popen(command, env=environment, start_new_session=True)


def finished(out: Path) -> list[Path]:
    return sorted((out / "cells").glob("*/run.json"))


def under_way(out: Path) -> list[Path]:
    cells = {path.parent for path in (out / "cells").glob("*/checkpoint.json")}
    return sorted(cells - {path.parent for path in finished(out)})


def started(out: Path) -> list[int]:
    return [int(pid) for file in out.rglob("starts.txt") for pid in file.read_text().split()]


def state_of(runs: Sequence[Path]) -> dict[Path, tuple[int, bytes]]:
    files = (file for run in runs for file in run.parent.rglob("*") if file.is_file())
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def test_a_study_whose_process_group_is_killed_goes_on_where_it_was(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    study = make_study(data, GRID, epochs=5)
    expected = make_runner(study, tmp_path / "whole", trainer).run()

    out = tmp_path / "study"
    process = start_study(data, out, trainer, epochs=5)
    try:
        wait_until(lambda: len(finished(out)) >= 3 and len(under_way(out)) >= 1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    wait_until(lambda: not any(map(is_alive, started(out))), 5)

    kept, cut = finished(out), under_way(out)
    assert 3 <= len(kept) < 8
    assert cut
    before = state_of(kept)
    assert before
    assert make_runner(study, out, trainer).run() == expected
    assert state_of(kept) == before
    assert all(len((cell / "starts.txt").read_text().split()) == 2 for cell in cut)
    assert (out / "results.json").read_bytes() == (tmp_path / "whole/results.json").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel to end the children")
def test_no_training_outlives_a_killed_study(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    process = start_study(data, out, trainer, epochs=1000)
    try:
        wait_until(lambda: len(under_way(out)) == 2)
        assert all(map(is_alive, started(out)))
    finally:
        process.kill()  # it alone
        process.wait()
    wait_until(lambda: not any(map(is_alive, started(out))), 5)


def test_an_interrupt_ends_the_trainings(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    process = start_study(data, out, trainer, epochs=1000)
    try:
        wait_until(lambda: len(under_way(out)) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0
        assert not any(map(is_alive, started(out)))
    finally:
        process.kill()
        process.wait()


# Ray


def test_a_node_without_the_data_says_so(tmp_path: Path) -> None:
    task = CellTask(name="x", out=tmp_path / "x", arguments=(), needs=(tmp_path / "nowhere",))
    outcome = run_task(task, 1)
    assert re.fullmatch(r"\S+ sees no .*nowhere: all nodes need the same files", outcome.error)
    assert not task.log.exists()


def test_a_task_runs_on_the_node_that_has_it(tmp_path: Path, trainer: tuple[str, ...]) -> None:
    values = ("--resume", "--set", "training.learning_rate=0.1")
    arguments = (str(tmp_path), "--out", str(tmp_path / "x"), *values)
    task = CellTask(name="x", out=tmp_path / "x", arguments=arguments, trainer=trainer)
    assert run_task(task, 1).error == ""
    assert task.finished
    # Given to another node as well, since this one was thought lost: it is whole.
    assert run_task(replace(task, trainer=("false",)), 1).error == ""


def test_a_task_waits_for_a_training_that_still_runs_in_its_folder(
    tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    values = ("--resume", "--set", "training.learning_rate=0.1", "--set", "training.epochs=20")
    arguments = (str(tmp_path), "--out", str(tmp_path / "x"), *values)
    task = CellTask(name="x", out=tmp_path / "x", arguments=arguments, trainer=trainer)
    code = (
        "from pathlib import PosixPath; "
        "from leansight.sdk.studies.executors import CellTask, run_task; "
        f"assert not run_task({task!r}, 1).error"
    )
    environment = {**os.environ, "EPOCH_SECONDS": "0.1"}
    with subprocess.Popen([sys.executable, "-P", "-c", code], env=environment) as other:
        try:
            wait_until((tmp_path / "x" / "checkpoint.json").exists)
            assert run_task(task, 1).error == ""
            assert other.wait(20) == 0
        finally:
            other.kill()
    score = run_json(task.out)["metrics"]
    arguments = (str(tmp_path), "--out", str(tmp_path / "y"), *values)
    undisturbed = replace(task, out=tmp_path / "y", arguments=arguments)
    assert run_task(undisturbed, 1).error == ""
    assert run_json(undisturbed.out)["metrics"] == score


def test_what_another_training_said_while_a_task_waited_is_not_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = CellTask(name="x", out=tmp_path / "x", arguments=(), trainer=("false",))
    flock = fcntl.flock

    def wait_for_another(file: BinaryIO, how: int) -> None:
        with task.log.open("ab") as log:
            log.write(b"epoch 9\nleansight: the disk is full\n")
        flock(file, how)

    monkeypatch.setattr(executors.fcntl, "flock", wait_for_another)
    assert run_task(task, 1).error == "ended with exit code 1"


def test_ray_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"Ray is not installed.*leansight\[cluster\]"):
        next(RayExecutor(address="auto", log=tmp_path / "log").run([], print))


CLUSTER = """
import sys
from ray.cluster_utils import Cluster

node = dict(num_cpus=1, object_store_memory=80_000_000, include_dashboard=False)
cluster = Cluster(initialize_head=True, head_node_args=node)
second = cluster.add_node(**node)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
for word in sys.stdin:
    if word.strip() == "kill":
        cluster.remove_node(second, allow_graceful=False)
        print("killed", flush=True)
cluster.shutdown()
"""


@contextlib.contextmanager
def ray_cluster() -> Iterator[tuple[str, Callable[[], None]]]:
    """A cluster of two nodes with a core each: its address, and what kills the second node."""
    folder = tempfile.mkdtemp(prefix="ray-")  # not tmp_path: its sockets' names must be short
    environment = {**os.environ, "RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
    environment["EPOCH_SECONDS"] = "0.1"  # of the trainer, which the nodes start
    command = [sys.executable, "-P", "-c", CLUSTER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes, env=environment, text=True) as process:

        def kill_second() -> None:
            print("kill", file=process.stdin, flush=True)
            assert process.stdout.readline() == "killed\n"

        try:
            yield process.stdout.readline().strip(), kill_second
            process.stdin.close()
            process.wait(60)
        finally:
            process.kill()
            # None is left, unless the cluster could not end by itself.
            for path in Path("/proc").glob("[0-9]*"):
                if folder in command_line(path):
                    os.kill(int(path.name), signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)


def command_line(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_text(errors="replace")
    return ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a cluster on one machine is Ray's for Linux")
def test_a_study_on_two_ray_nodes_survives_the_loss_of_one(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    pytest.importorskip("ray")
    expected = make_runner(make_study(data, epochs=30), tmp_path / "whole", trainer).run()
    out = tmp_path / "study"
    with ray_cluster() as (address, kill_second):
        process = start_study(data, out, trainer, epochs=30, address=address, grid=RATES)
        try:
            # One on each node, which has a single core.
            wait_until(lambda: len(under_way(out)) == 2 or process.poll() is not None, 120)
            kept = state_of(finished(out))
            kill_second()
            assert process.wait(100) == 0
        finally:
            process.kill()
            process.wait()
    results = json.loads((out / "results.json").read_text())
    assert results == expected.to_dict()
    assert state_of([path for path in finished(out) if path in kept]) == kept
    starts = [len(file.read_text().split()) for file in (out / "cells").glob("*/starts.txt")]
    assert sorted(starts) == [1, 1, 1, 2]  # the one that the lost node had went on elsewhere


@pytest.mark.slow
def test_an_address_without_a_cluster_is_named() -> None:
    pytest.importorskip("ray")
    code = (
        "from leansight.sdk.studies.executors import RayExecutor\n"
        "from leansight.runtime.errors import LeansightError\n"
        "from pathlib import Path\n"
        "try: next(RayExecutor(address='auto', log=Path('/dev/null')).run([], print))\n"
        "except LeansightError as error: print(error)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # where no cluster is known
        environment["RAY_TMPDIR"] = folder
        command = [sys.executable, "-P", "-c", code]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=100, check=True, env=environment
        )
    assert re.fullmatch(
        r"no Ray cluster at auto \(.+\): start one with `ray start --head`\n", done.stdout
    )


# The command


def run_main(
    arguments: Sequence[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[int, str, str]:
    """Run `leansight study ARGUMENTS`; return its exit code, standard output and error."""
    monkeypatch.setattr(sys, "argv", ["leansight", "study", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    code = stopped.value.code or 0
    assert isinstance(code, int)
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "model.width"], r"--grid model\.width: expected KEY=V1,V2"),
        (["--seeds", "one"], r"--seeds one: expected whole numbers"),
        (["--recipe", "nothing"], r"no recipe nothing"),
        (["--set", "training.epochs=0"], r"training\.epochs must be 1 or more"),
    ],
)
def test_a_mistake_is_one_line(
    data: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [data, "--out", tmp_path / "study", *options]
    code, output, errors = run_main(arguments, monkeypatch, capsys)
    assert (code, output) == (1, "")
    assert re.fullmatch(rf"leansight: .*{message}.*\n", errors)
    assert not (tmp_path / "study").exists()


def test_absent_data_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [tmp_path / "nowhere", "--out", tmp_path / "study"]
    code, _, errors = run_main(arguments, monkeypatch, capsys)
    assert code == 1
    assert re.fullmatch(
        r"leansight: .*nowhere does not exist: expected a folder of labelled images.*\n", errors
    )
    assert not (tmp_path / "study").exists()


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shapes of two countries; the south prints them in negative."""
    root = tmp_path_factory.mktemp("signs")
    for country in ("north", "south"):
        shapes.write_data_set(root / country)
    for file in (root / "south").rglob("*.png"):
        picture = cv2.imread(str(file))
        assert picture is not None
        assert cv2.imwrite(str(file), 255 - picture)
    return root


def start_command(arguments: Sequence[object]) -> subprocess.Popen[str]:
    """Start `leansight study ARGUMENTS` in a process group of its own."""
    script = "from leansight.sdk.commands.cli import main; main()"
    command = [sys.executable, "-P", "-c", script, "study", *map(str, arguments)]
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, **pipes, text=True, start_new_session=True)


@pytest.mark.slow
def test_two_folds_of_two_rates_are_trained_chosen_killed_and_gone_on_with(
    signs: Path, tmp_path: Path, recipe: Path
) -> None:
    out = tmp_path / "study"
    arguments = [signs, "--recipe", recipe, "--out", out, "--test-on", "south", "--folds", 2]
    arguments += ["--grid", "training.learning_rate=0.05,1e-6", "--jobs", 2]
    arguments += ["--set", "training.epochs=4"]
    process = start_command(arguments)

    def midway() -> bool:
        cut = set(out.glob("cells/*/checkpoints/last.ckpt"))
        return process.poll() is not None or len(cut) > len(finished(out)) > 0

    try:
        wait_until(midway, 200)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL

    kept = finished(out)
    assert 1 <= len(kept) < 4
    before = state_of(kept)
    process = start_command(arguments)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert state_of(kept) == before
    assert re.search(r"learning_rate=0\.05 .* \*", output)
    assert "winner: learning_rate=0.05, trained on everything\ntest accuracy: 0." in output
    results = json.loads((out / "results.json").read_text())
    assert all(result["mean"] > 0 for result in results["candidates"])
    lists = {path.parent.name: path.read_text() for path in out.rglob("train.csv")}
    assert len(lists) == 5
    assert not any("south" in text for text in lists.values())
    assert lists["winner"].count(".png") == 72
    assert "test accuracy" in run_json(out / "winner")["metrics"]
    for cell in finished(out):
        assert not any(name.startswith("test") for name in run_json(cell.parent)["metrics"])


@pytest.mark.slow
def test_a_failure_is_told_with_the_last_line_of_its_log(
    signs: Path, tmp_path: Path, recipe: Path
) -> None:
    out = tmp_path / "study"
    process = start_command([signs, "--recipe", recipe, "--out", out, "--test-on", "nowhere"])
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "winner" not in output
    log = out / "cells" / "01-fold0-seed0.log"
    told, advice = errors.splitlines()
    last = log.read_text().splitlines()[-1]
    assert "nowhere" in last
    assert told == f"failed: 01-fold0-seed0: {last.removeprefix('leansight: ')} ({log})"
    assert advice.startswith("1 failed: give the same command again to retry, or add --skip-failed")


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(signs: Path, tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "study"
    arguments = [signs, "--recipe", recipe, "--out", out, "--set", "training.epochs=1000"]
    process = start_command(arguments)
    try:
        wait_until((out / "cells" / "01-fold0-seed0.log").exists, 100)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, output) == (130, "")
    assert errors == "stopped: give the same command again to go on where it was\n"
