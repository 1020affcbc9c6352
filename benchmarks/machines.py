"""Where a measurement takes place: this machine, as a `Machine`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from leansight.benchmarks.models import Model
from leansight.benchmarks.peer_launch import PeerLaunch, prepare_peer
from leansight.benchmarks.probes.conditions import (
    MachineFacts,
    MachineState,
    read_facts,
    read_state,
)
from leansight.benchmarks.probes.memory import empty_process_bytes
from leansight.benchmarks.worker_process import WorkerProcess
from leansight.runtime.system.whole_files import scratch_folder


@dataclass(frozen=True, kw_only=True)
class RunningModel:
    """A model that has given its first results; `ask` is answered by the worker (see worker.py).

    `start` is what the worker said of its start.
    """

    start: Mapping[str, Any]
    ask: Callable[[Mapping[str, Any]], dict[str, Any]]


# Starts a process of a model that has been brought to a machine; it ends after the `with`.
Launch = Callable[[], AbstractContextManager[RunningModel]]


class Machine(Protocol):
    """What models run on."""

    @property
    def on(self) -> str:
        """How it is reached: what `ssh` takes; "" for this one."""

    @property
    def facts(self) -> MachineFacts:
        """What the machine is."""

    @property
    def empty_bytes(self) -> dict[str, int | None]:
        """The memory of a process that has only imported numpy (see `memory_bytes`)."""

    def state(self) -> MachineState:
        """Return how the machine is now."""

    def bring(
        self, model: Model, pictures: Path, *, threads: int, hang_s: float, capture: str = ""
    ) -> AbstractContextManager[Launch]:
        """Bring a model and pictures (.npz) there, to launch it any number of times.

        `capture` is a video here, which is brought as well, or a camera there, whose frames are
        captured in the pictures' place; "" for none.

        A launch raises BundleError where the model cannot be run, its process died, or it was
        silent for `hang_s` seconds; so does asking it.
        """


def worker_arguments(model: Model, pictures: Path, *, threads: int, capture: str = "") -> list[str]:
    """Return the words with which a worker is started; the time of the start follows them."""
    labels = str(len(model.labels))
    return [str(model.path), model.format, str(threads), labels, str(pictures), capture]


class ThisMachine:
    """A `Machine`: the one that asks."""

    on = ""

    @cached_property
    def facts(self) -> MachineFacts:
        """See `Machine`."""
        return read_facts()

    @cached_property
    def empty_bytes(self) -> dict[str, int | None]:
        """See `Machine`."""
        return empty_process_bytes()

    def state(self) -> MachineState:
        """See `Machine`."""
        return read_state()

    @contextmanager
    def bring(
        self, model: Model, pictures: Path, *, threads: int, hang_s: float, capture: str = ""
    ) -> Iterator[Launch]:
        """See `Machine`."""
        words = worker_arguments(model, pictures, threads=threads, capture=capture)
        own = WorkerProcess(model.name, words, hang_s)
        with scratch_folder() as folder:
            found: list[PeerLaunch] = []

            @contextmanager
            def launch() -> Iterator[RunningModel]:
                if model.peer and not found:
                    found.append(prepare_peer(model, own, pictures, folder, threads=threads))
                with found[0].process() if found else own as process:
                    start = process.answer()
                    if found:
                        found[0].check(start)
                    yield RunningModel(start=start, ask=process.ask)

            yield launch
