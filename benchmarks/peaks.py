"""What the machine can do at most, measured in the run that it is compared with."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

import numpy as np

from leansight.benchmarks.machines import Machine, RunningModel
from leansight.benchmarks.models import Model
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.probes.peak_graphs import PEAK_MACS, peak_graph
from leansight.benchmarks.results.resources import MachinePeaks
from leansight.runtime.errors import LeansightError
from leansight.runtime.interpreter import Format

_WARM_UP_S: Final = 2.0  # at most
_BLOCKS: Final = 4
_BLOCK_FRAMES: Final = 5
_COPY_BYTES: Final = 64 << 20  # no cache of a board or a desktop holds it twice


def measure_peaks(
    formats: Collection[Format],
    place: Machine,
    folder: Path,
    *,
    threads: int,
    hang_s: float,
) -> tuple[MachinePeaks, str]:
    """Return what the machine can do at most, and why it has no meter of energy, "" if it has.

    That is the speed of int8 products in each format's interpreter, and of a large copy.

    The fastest of 20 runs and of 5 copies, on the clock that ranks models: the thread's own, or
    with several threads the wall's. A copy is always made by one thread. What cannot be measured
    is left out, and `failure` says why.
    """
    macs_per_s: dict[str, float] = {}
    copy_bytes_per_s, failure, no_meter = None, "", ""
    np.savez(pictures := folder / "peak.npz", synthetic_image())
    for chosen in sorted(set(formats)):
        file = folder / f"peak.{chosen}"
        file.write_bytes(peak_graph(chosen))
        model = Model(name="int8 peak", path=file, format=chosen, digest=None)
        brought = place.bring(model, pictures, threads=threads, hang_s=hang_s)
        try:
            with brought as launch, launch() as running:
                macs_per_s[chosen] = _macs_per_s(running, threads)
                if copy_bytes_per_s is None:
                    copied = running.ask({"copy_bytes": _COPY_BYTES})
                    copy_bytes_per_s = 2 * _COPY_BYTES / copied["seconds"]
                    no_meter = running.ask({"meter": True})["reason"]
        except LeansightError as error:
            failure = str(error)
    peaks = MachinePeaks(
        int8_macs_per_s=macs_per_s,
        copy_bytes_per_s=copy_bytes_per_s,
        threads=threads,
        failure=failure,
    )
    return peaks, no_meter


def _macs_per_s(running: RunningModel, threads: int) -> float:
    """Return the multiply-adds a second of a peak graph's fastest run."""
    running.ask({"warm_up_s": _WARM_UP_S})
    asked = {"frames": _BLOCK_FRAMES, "first": 0, "real_time": True}
    blocks = [running.ask(asked)["times_ns"] for _ in range(_BLOCKS)]
    clock = "processor" if threads == 1 else "inference"
    fastest_ns: int = min(time_ns for block in blocks for time_ns in block[clock])
    return PEAK_MACS / (fastest_ns / 1e9)
