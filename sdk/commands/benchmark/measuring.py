"""Models are measured on this machine, or on others at the same time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from rich.progress import Progress

from leansight.benchmarks.boards.wheel import pack_wheel
from leansight.benchmarks.machines import Machine
from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import Model
from leansight.benchmarks.peers.catalogue import PEERS, PeerError, peer_python
from leansight.benchmarks.remote import RemoteMachine, machine_at
from leansight.benchmarks.results.machines import LostMachine, MachineBenchmarks
from leansight.benchmarks.results.result import Benchmark, Failure
from leansight.benchmarks.ssh import RemoteError
from leansight.runtime.errors import LeansightError
from leansight.sdk.commands.benchmark.options import PlaceOptions
from leansight.sdk.system.console import console, tell

if TYPE_CHECKING:
    from leansight.sdk.commands.benchmark.pictures import Pictures
    from leansight.sdk.data.samples import Sample

Advanced = Callable[[int, int], None]


def measure(
    models: Sequence[Model],
    pictures: "Pictures",
    settings: Settings,
    places: PlaceOptions,
    scratch: Path,
) -> MachineBenchmarks:
    """Measure where the options say, with a bar for each machine.

    Raises:
        BundleError: no model can be run on the one machine.
        RemoteError: the one machine cannot measure.

    """
    carried = _wheel(places, scratch)
    if len(places.on) <= 1:
        on = places.on[0] if places.on else None
        with machine_at(on, places.remote_python, carried) as machine, _bars() as bar:
            found = _benchmark(models, pictures, settings, machine, bar("Measuring"))
        return MachineBenchmarks(found=(found,))
    return _on_several(models, pictures, settings, places, carried)


def with_peers(models: Sequence[Model], peers: Sequence[str]) -> tuple[list[Model], list[Failure]]:
    """Return the models and the same files in other runtimes, and which of these cannot be."""
    chosen, failures = list(models), list[Failure]()
    for name in dict.fromkeys(peers):
        wanted = list[Model]()
        try:
            readable = [model for model in models if model.format in PEERS[name].formats]
            if not readable:
                PEERS[name].require(models[0].format)
            peer_python(PEERS[name], tell)
            wanted = [model.in_peer(name) for model in readable]
        except PeerError as error:
            failed = Failure(name=name, format=models[0].format, reason=str(error), peer=name)
            failures.append(failed)
        chosen += wanted
    return chosen, failures


def judged(
    measured: MachineBenchmarks,
    models: Sequence[Model],
    data: Path,
    samples: "Sequence[Sample]",
    settings: Settings,
) -> MachineBenchmarks:
    """Add how often the timed files are right on labelled images, which this machine finds out."""
    from leansight.sdk.evaluation.timed_files import with_accuracy

    first, *others = (
        with_accuracy(
            found, models, data, samples, threads=settings.threads, hang_s=settings.hang_s
        )
        for found in measured.found
    )
    return replace(measured, found=(first, *others))


def emulated(
    measured: MachineBenchmarks, models: Sequence[Model], places: PlaceOptions
) -> MachineBenchmarks:
    """Add the instructions of a frame in emulated Pis."""
    from leansight.benchmarks.emulation.emulated_pi import count_work

    with _bars() as bar:
        work = count_work(
            models,
            places.emulate,
            wheel=places.wheel,
            tell=tell,
            advanced=bar("Counting in an emulated Pi"),
        )
    first, *others = measured.found
    return replace(measured, found=(replace(first, work=tuple(work)), *others))


def _wheel(places: PlaceOptions, scratch: Path) -> Path | None:
    if not places.install:
        return None
    tell(f"An environment is made on {', '.join(places.on)}, which takes minutes, and removed.")
    return places.wheel or pack_wheel(scratch)


def _benchmark(
    models: Sequence[Model],
    pictures: "Pictures",
    settings: Settings,
    machine: Machine,
    advanced: Advanced,
) -> Benchmark:
    """Measure on one machine."""
    return benchmark(
        models,
        pictures.images,
        settings,
        frames=pictures.description,
        capture=pictures.capture,
        on=machine,
        advanced=advanced,
    )


def _on_several(
    models: Sequence[Model],
    pictures: "Pictures",
    settings: Settings,
    places: PlaceOptions,
    carried: Path | None,
) -> MachineBenchmarks:
    """Measure on all machines at the same time; one that is lost does not stop the others."""
    python, open_machines = places.remote_python or "python3", list[RemoteMachine]()

    def one(on: str, advanced: Advanced) -> Benchmark | LostMachine:
        try:
            with RemoteMachine(on, remote_python=python, carried=carried) as machine:
                open_machines.append(machine)
                return _benchmark(models, pictures, settings, machine, advanced)
        except LeansightError as error:
            reason = str(error).removeprefix(f"{on}: ").removeprefix(f"{on} ")
            tell(f"{on}: {reason}")
            return LostMachine(on=on, reason=reason)

    with _bars() as bar, ThreadPoolExecutor(len(places.on)) as pool:
        try:
            ends = list(pool.map(one, places.on, [bar(on) for on in places.on]))
        except BaseException:  # Ctrl-C: threads that wait for a machine would go on waiting
            for machine in open_machines:
                machine.abandon()
            raise
    found = tuple(end for end in ends if isinstance(end, Benchmark))
    lost = tuple(end for end in ends if isinstance(end, LostMachine))
    if not found:
        raise RemoteError("; ".join(map(str, lost)), parameter="on")
    return MachineBenchmarks(found=found, lost=lost)


@contextmanager
def _bars() -> Iterator[Callable[[str], Advanced]]:
    """Yield what begins a bar and returns what moves it on."""
    lock = Lock()
    progress = Progress(
        console=console(),
        transient=True,
        disable=not console().is_terminal,
        auto_refresh=False,  # no thread that draws while a model is timed
    )

    def begin(what: str) -> Advanced:
        task = progress.add_task(what, total=None)

        def advanced(done: int, planned: int) -> None:
            with lock:
                progress.update(task, completed=done, total=planned, refresh=True)

        return advanced

    with progress:
        yield begin
