"""Where the cells of a study run: as processes of this machine, or on a Ray cluster."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from leansight.runtime.errors import LeansightError
from leansight.runtime.extras import require
from leansight.runtime.system.parent import ends_with_us
from leansight.sdk.system.cores import available_cores
from leansight.sdk.system.locks import wait_for

# -P: a file of the current folder that is named as a library must not be imported for it.
_TRAIN: Final = ("-P", "-c", "from leansight.sdk.commands.cli import main; main()", "train")
_GRACE_SECONDS: Final = 5
_POLL_SECONDS: Final = 0.05
_RAY_POLL_SECONDS: Final = 1.0
_RAY_RETRIES: Final = 10  # of a cell whose node died


@dataclass(frozen=True, kw_only=True)
class CellTask:
    """One `leansight train` that makes the run `out`, and writes what it says to `out`.log.

    `needs` are files and folders that must be there first. `trainer` is the command that
    `arguments` are given to; empty: `leansight train` of the Python that runs the task. It is
    `alone` where no other runs beside it.
    """

    name: str
    out: Path
    arguments: tuple[str, ...]
    needs: tuple[Path, ...] = ()
    trainer: tuple[str, ...] = ()
    alone: bool = False

    @property
    def log(self) -> Path:
        """Return the file that holds what it says."""
        return self.out.with_name(f"{self.out.name}.log")

    @property
    def finished(self) -> bool:
        """Whether the run is whole; `run.json` is written last."""
        return (self.out / "run.json").is_file()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task ended: `error` is one line, "" if it finished."""

    task: CellTask
    error: str = ""


class Executor(Protocol):
    """Runs tasks, several at a time.

    `run` yields each task's outcome once, in the order in which they end, and calls `running`
    with how many are under way whenever that has changed. A task that fails does not keep the
    others from running. Closing the iterator, or an exception in it, ends what still runs.
    """

    def run(
        self, tasks: Sequence[CellTask], running: Callable[[int], None]
    ) -> Generator[Outcome, None, None]:
        """Run all tasks."""
        ...


@dataclass(frozen=True, kw_only=True)
class ProcessExecutor:
    """Runs `jobs` (1 or more) tasks at a time as processes that share this machine's cores."""

    jobs: int = 1

    def run(
        self, tasks: Sequence[CellTask], running: Callable[[int], None]
    ) -> Generator[Outcome, None, None]:
        """See Executor."""
        waiting = list(tasks)
        # The same for the last ones, too: threads change the last digits of a sum.
        share = max(1, available_cores() // self.jobs)
        under_way: list[_Process] = []
        try:
            while waiting or under_way:
                while waiting and len(under_way) < self.jobs:
                    task = waiting.pop(0)
                    under_way.append(_Process(task, available_cores() if task.alone else share))
                running(len(under_way))
                ended = [process for process in under_way if process.poll()]
                for process in ended:
                    under_way.remove(process)
                    yield process.outcome()
                if not ended:
                    time.sleep(_POLL_SECONDS)
        finally:
            for process in under_way:
                process.terminate()
            for process in under_way:
                process.end()


@dataclass(frozen=True, kw_only=True)
class RayExecutor:
    """Runs tasks on the Ray cluster at `address` ("auto" or HOST:PORT), `jobs` at a time.

    All nodes must see the same files under the same names. Without `jobs` there is one task for
    each node. Where the cluster has GPUs, each task has one. A task whose node dies runs again on
    another, where the training goes on from its last checkpoint.

    While it runs, what is printed to standard output is added to `log`: Ray prints what befalls
    the cluster there, which would be taken for results.
    """

    address: str
    log: Path
    jobs: int | None = None

    def run(
        self, tasks: Sequence[CellTask], running: Callable[[int], None]
    ) -> Generator[Outcome, None, None]:
        """See Executor.

        Raises:
            LeansightError: there is no cluster at the address.
            MissingExtraError: Ray is not installed.

        """
        ray = require("ray", package="Ray", extra="cluster")
        pending: dict[Any, CellTask] = {}
        with self.log.open("a") as log, contextlib.redirect_stdout(log):
            _connect(ray, self.address)
            try:
                jobs = 1 if all(task.alone for task in tasks) else self.jobs
                cores, gpus = _share(ray, jobs)
                remote = ray.remote(
                    num_cpus=cores,
                    num_gpus=gpus,
                    max_retries=_RAY_RETRIES,
                    scheduling_strategy="SPREAD",
                )(run_task)
                pending.update((remote.remote(task, cores), task) for task in tasks)
                while pending:
                    running(min(len(pending), int(ray.cluster_resources().get("CPU", 0)) // cores))
                    for ended in ray.wait(list(pending), timeout=_RAY_POLL_SECONDS)[0]:
                        yield _fetched(ray, ended, pending.pop(ended))
            finally:
                for reference in pending:
                    ray.cancel(reference, force=True)
                ray.shutdown()


def run_task(task: CellTask, threads: int) -> Outcome:
    """Run one task on this machine to its end, with `threads` processor threads."""
    for path in task.needs:
        if not path.exists():
            host = socket.gethostname()
            return Outcome(task=task, error=f"{host} sees no {path}: all nodes need the same files")
    process = _Process(task, threads)
    try:
        process.wait()
    finally:
        process.end()
    return process.outcome()


class _Process:
    """A task under way on this machine."""

    def __init__(self, task: CellTask, threads: int) -> None:
        self._task = task
        command = [*(task.trainer or (sys.executable, *_TRAIN)), *task.arguments]
        with task.log.open("ab") as log:
            # The training inherits the lock with the log, and gives it back when it has ended:
            # where one goes on in spite of its dead study or Ray node, this waits for it.
            wait_for(log)
            self._log_start = log.seek(0, os.SEEK_END)  # where it now ends
            self._process = subprocess.Popen(
                ends_with_us(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": str(_at_most_allowed(threads))},
            )

    def poll(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait(self) -> None:
        self._process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def end(self) -> None:
        """End it: politely, then by force; nothing if it has ended."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        self._process.kill()
        self._process.wait()

    def outcome(self) -> Outcome:
        """Return how it ended; it has."""
        code = self._process.returncode
        if self._task.finished:
            return Outcome(task=self._task)
        if code < 0:
            named = f"ended by signal {-code} ({signal.strsignal(-code)})"
            return Outcome(task=self._task, error=named)
        said = _last_line(self._task.log, self._log_start).removeprefix("leansight: ")
        ended = f"ended with exit code {code}" + (" but left no run" if code == 0 else "")
        return Outcome(task=self._task, error=said or ended)


def _last_line(log: Path, start: int) -> str:
    """Return the last line with text from byte `start` on, without a terminal's movements."""
    with log.open("rb") as file:
        file.seek(start)
        text = file.read().decode(errors="replace")
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _at_most_allowed(threads: int) -> int:
    """Return `threads`, or fewer where the user has set OMP_NUM_THREADS to fewer."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(threads, int(allowed)) if allowed.isdigit() and int(allowed) else threads


def _connect(ray: ModuleType, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise LeansightError(
            f"no Ray cluster at {address} ({reason}): start one with `ray start --head`",
            parameter="address",
        ) from error


def _share(ray: ModuleType, jobs: int | None) -> tuple[int, int]:
    """Return the cores and GPUs of a task: no more cores than every node has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [int(resources.get("CPU", 0)) for resources in nodes if resources.get("CPU", 0) >= 1]
    if not cores:
        raise LeansightError("the Ray cluster has no processor core to run on")
    share = sum(cores) // (jobs or len(cores))
    has_gpu = any(resources.get("GPU", 0) >= 1 for resources in nodes)
    return max(1, min(share, *cores)), int(has_gpu)


def _fetched(ray: ModuleType, reference: object, task: CellTask) -> Outcome:
    try:
        outcome = ray.get(reference)
    except ray.exceptions.RayError as error:  # the node is lost for good, or has no leansight
        reason = str(error).strip().splitlines()[-1]
        return Outcome(task=task, error=f"Ray gave it up: {reason}")
    assert isinstance(outcome, Outcome)
    return outcome
