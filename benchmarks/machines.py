"""Where a measurement takes place: this machine, as a `Machine`."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from leansight.benchmarks.memory import empty_process_bytes
from leansight.benchmarks.models import Model
from leansight.benchmarks.worker_process import WorkerProcess
from leansight.runtime.system.kernel import board_or_processor


@dataclass(frozen=True, kw_only=True)
class RunningModel:
    """A model that has given its first result; `ask` is answered by the worker (see worker.py)."""

    start_ms: float
    ask: Callable[[Mapping[str, int]], dict[str, Any]]


class Machine(Protocol):
    """What models run on."""

    @property
    def name(self) -> str:
        """The board or the processor, and how many cores it has."""

    @property
    def empty_bytes(self) -> int | None:
        """The peak memory of a process that has only imported numpy, None if it is not told."""

    def start(
        self, model: Model, picture: Path, threads: int
    ) -> AbstractContextManager[RunningModel]:
        """Run a model on a picture (.npy) in a process of its own that ends after the `with`.

        Raises:
            BundleError: the model cannot be run, or its process died; so does asking it.

        """


class ThisMachine:
    """A `Machine`: the one that asks."""

    @property
    def name(self) -> str:
        """See `Machine`."""
        return machine()

    @property
    def empty_bytes(self) -> int | None:
        """See `Machine`."""
        return empty_process_bytes()

    @contextmanager
    def start(self, model: Model, picture: Path, threads: int) -> Iterator[RunningModel]:
        """See `Machine`."""
        arguments = [str(model.path), model.format, str(threads), str(picture)]
        with WorkerProcess(model.name, arguments) as process:
            yield RunningModel(start_ms=process.answer()["start_ms"], ask=process.ask)


def machine() -> str:
    """Name the board or the processor, and how many cores it has."""
    return f"{board_or_processor()}, {os.cpu_count()} cores"
