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
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from fake_study import (
    RATES,
    finished,
    make_runner,
    make_study,
    run_json,
    start_study,
    state_of,
    under_way,
    wait_until,
)

from leansight.runtime.errors import MissingExtraError
from leansight.sdk.studies.executors import (
    CellTask,
    RayExecutor,
    run_task,
)


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


def test_what_another_training_said_while_a_task_waited_is_not_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = CellTask(name="x", out=tmp_path / "x", arguments=(), trainer=("false",))
    flock = fcntl.flock

    def wait_for_another(file: BinaryIO, how: int) -> None:
        with task.log.open("ab") as log:
            log.write(b"epoch 9\nleansight: the disk is full\n")
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", wait_for_another)
    assert run_task(task, 1).error == "ended with exit code 1"
