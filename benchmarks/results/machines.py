"""Results of several machines: side by side, and never in one ranking."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from leansight.benchmarks.results.result import FORMAT_VERSION, Benchmark, Failure
from leansight.benchmarks.results.table import interval, tables
from leansight.benchmarks.results.texts import csv_of, markdown_text


@dataclass(frozen=True, kw_only=True)
class LostMachine:
    """A machine that gave no results, and why."""

    on: str
    reason: str

    def __str__(self) -> str:
        """Say so in one line."""
        return f"{self.on} gave no results: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class MachineBenchmarks:
    """The same models on several machines: what each found, and which were lost."""

    found: tuple[Benchmark, ...]
    lost: tuple[LostMachine, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether no machine was lost, and each measured all that was asked of it."""
        return not self.lost and all(found.is_complete for found in self.found)

    def failing(self, failures: Sequence[Failure]) -> "MachineBenchmarks":
        """Add failures to the first machine's."""
        first, *others = self.found
        first = replace(first, failures=(*first.failures, *failures))
        return replace(self, found=(first, *others))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; of one machine those of its benchmark alone."""
        if len(self.found) == 1 and not self.lost:
            return self.found[0].to_dict()
        return {
            "format_version": FORMAT_VERSION,
            "machines": [found.to_dict() for found in self.found],
            "lost": [asdict(machine) for machine in self.lost],
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each model of each machine, as plain JSON values."""
        return [result.to_dict() for found in self.found for result in found.results]

    def csv(self) -> str:
        """Return a line for each model of each machine."""
        return csv_of([result for found in self.found for result in found.results])

    def markdown(self) -> str:
        """Return a table for each machine, under its name."""
        if len(self.found) == 1 and not self.lost:
            return markdown_text(self.found[0])
        parts = [f"### {machine_of(found)}\n\n{markdown_text(found)}" for found in self.found]
        return "\n".join([*parts, *(f"- **{machine}**\n" for machine in self.lost)])

    def shown(self) -> RenderableType:
        """Return what people read: all machines in one table, then each by itself."""
        if len(self.found) == 1 and not self.lost:
            return tables(self.found[0])
        parts: list[RenderableType] = [_side_by_side(self.found)] if self.found else []
        for found in self.found:
            parts += [Rule(Text(machine_of(found))), tables(found)]
        return Group(*parts, *(Text(str(machine), style="red") for machine in self.lost))


def machine_of(found: Benchmark) -> str:
    """Name a machine by how it is reached and what it is."""
    name, on = found.conditions.facts.name, found.results[0].on
    return f"{on}: {name}" if on else name


def _side_by_side(machines: Sequence[Benchmark]) -> Table:
    """Show the undisturbed times, a column for each machine: nothing is ranked across columns."""
    table = Table(
        title="Undisturbed inference in ms (95 %)", title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("Model", overflow="fold")
    cells: dict[str, dict[int, str]] = {}
    for number, found in enumerate(machines):
        table.add_column(Text(found.results[0].on or "this machine"), justify="right")
        for result in found.results:
            time = result.undisturbed_ms
            text = f"{time.value:.3f} ({interval(time, '.3f')})"
            cells.setdefault(result.title, {})[number] = text
    for title, row in cells.items():
        times = (row.get(number, "failed") for number in range(len(machines)))
        table.add_row(Text(title), *map(Text, times))
    return table
