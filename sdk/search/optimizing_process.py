"""A process of its own for the bundle of each trial."""

from functools import partial

from leansight.runtime.errors import LeansightError
from leansight.sdk.search.bundles import Workshop, inspect, make_bundle
from leansight.sdk.search.optimizer import KilledError
from leansight.sdk.search.space import Measured, Point
from leansight.sdk.system.isolated_process import how_it_ended, run_in_own_process


def evaluate(workshop: Workshop, point: Point) -> Measured:
    """Make the bundle of a point, unless it is there, and measure it.

    Raises:
        ExportRefusedError: it was refused, now or earlier.
        LeansightError: it cannot be made, or gives something else on this machine.

    """
    workshop.require_no_refusal(point)
    if not workshop.bundle(point).exists():
        make_in_own_process(workshop, point)
    return inspect(workshop, point)


def make_in_own_process(workshop: Workshop, point: Point) -> None:
    """Make the bundle of a point where neither memory nor a crash can spoil the search.

    Raises:
        LeansightError: as `make_bundle`; of FAILURES, if this point alone is to blame.
        OSError: the disk is full, or the like.

    """
    run_in_own_process(partial(make_bundle, workshop, point), died=partial(death, point))


def death(point: Point, code: int) -> LeansightError:
    """Return the error of a process that left no answer: killed, or with a defect."""
    if code < 0:
        return KilledError(how_it_ended(code))
    return LeansightError(f"{point.bundle_name}: {how_it_ended(code)}")
