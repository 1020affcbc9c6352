"""What a search found: every trial in a table, the front in another and in a picture."""

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from leansight.sdk.search.objectives import Objective, pareto_front
from leansight.sdk.search.pareto_plot import PlotPoint, write_pareto_picture
from leansight.sdk.search.space import BundleMeasurement, Point
from leansight.sdk.system.files import write_text
from leansight.sdk.system.text import printable

if TYPE_CHECKING:
    from rich.table import Table

PICTURE: Final = "pareto.png"
FRONT: Final = "pareto.csv"
TRIALS: Final = "trials.csv"

State = Literal["complete", "refused", "failed"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A trial that has ended: `measured`, or the `reason` why there is no bundle.

    `number` is its number on the front and in the picture, None if it is beaten; `command` makes
    the same bundle again.
    """

    trial: int
    state: State
    point: Point
    measured: BundleMeasurement | None
    reason: str
    command: str
    number: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, in the order of the table's columns."""
        empty = dict.fromkeys(BundleMeasurement.__dataclass_fields__)
        measured = self.measured.to_dict() if self.measured else empty
        choices, own = asdict(self.point), {"front": self.number, "trial": self.trial}
        ends = {"state": self.state, "reason": self.reason, "command": self.command}
        return own | choices | measured | ends


def number_front(results: Sequence[Result], objectives: Sequence[Objective]) -> list[Result]:
    """Return the results with numbers on the front, from 1 on, the best of the first objective."""
    costs = {
        result.trial: [o.cost(result.measured.to_dict()[o.field]) for o in objectives]
        for result in results
        if result.measured
    }
    trials = list(costs)
    front = [trials[position] for position in pareto_front(list(costs.values()))] if trials else []
    front.sort(key=lambda trial: (costs[trial], trial))
    numbers = {trial: number for number, trial in enumerate(front, start=1)}
    return [replace(result, number=numbers.get(result.trial)) for result in results]


def write_results(
    folder: Path,
    results: Sequence[Result],
    objectives: Sequence[Objective],
    *,
    varied: Collection[str],
    name: str,
    note: str,
) -> list[Result]:
    """Write both tables and, if there is a bundle, the picture; return the numbered results."""
    numbered = number_front(results, objectives)
    front = front_of(numbered)
    write_text(folder / TRIALS, _csv(numbered))
    write_text(folder / FRONT, _csv(front))
    made = [result for result in numbered if result.measured]
    if made:
        bundles = f"{len(made)} bundles are" if len(made) > 1 else "1 bundle is"
        write_pareto_picture(
            [_shown(result, varied) for result in made],
            objectives,
            folder / PICTURE,
            title=f"{name}: {len(front)} of {bundles} on the Pareto front",
            note=note,
        )
    return numbered


def front_of(results: Sequence[Result]) -> list[Result]:
    """Return the front in the order of its numbers."""
    return sorted((r for r in results if r.number), key=lambda r: r.number or 0)


def table(results: Sequence[Result], objectives: Sequence[Objective]) -> "Table":
    """Return the front as a table that a person reads."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("#", justify="right")
    for objective in objectives:
        made.add_column(objective.name.capitalize(), justify="right", no_wrap=True)
    made.add_column("Threads", justify="right")
    made.add_column("Bundle", overflow="fold")
    for result in front_of(results):
        assert result.measured is not None
        values = result.measured.to_dict()
        said = [objective.say(values[objective.field]) for objective in objectives]
        name = escape(printable(result.measured.bundle))
        made.add_row(str(result.number), *said, str(result.point.threads), name)
    return made


def _shown(result: Result, varied: Collection[str]) -> PlotPoint:
    assert result.measured is not None
    values = result.measured.to_dict()
    numbers = {n: float(v) for n, v in values.items() if isinstance(v, int | float)}
    return PlotPoint(
        values=numbers,
        group=result.point.precision,
        text=result.point.describe(varied),
        number=result.number,
    )


def _csv(results: Sequence[Result]) -> str:
    columns = [
        "front",
        "trial",
        *Point.__dataclass_fields__,
        *BundleMeasurement.__dataclass_fields__,
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, "state", "reason", "command"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(result.to_dict() for result in results)
    return text.getvalue()
