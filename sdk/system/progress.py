"""Progress bars: of one step, and of steps that are named while they run."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import rich.progress
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn

from leansight.sdk.system.console import console

T = TypeVar("T")


def track(items: Iterable[T], step: str, total: int) -> Iterable[T]:
    """Return the items, with a bar while they are taken; where no terminal looks on, without."""
    hidden = not console().is_terminal  # a bar that goes away would leave an empty line in a file
    return rich.progress.track(
        items, step, total, console=console(), transient=True, disable=hidden
    )


@contextmanager
def step_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show each named step as a bar of its own: yield what takes its name, images done, of all."""
    columns = (
        TextColumn("{task.description:32}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with rich.progress.Progress(*columns, console=console()) as bar:

        def progress(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            if done < total and bar.tasks[tasks[step]].finished:  # the same, of other images
                bar.reset(tasks[step], total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield progress
