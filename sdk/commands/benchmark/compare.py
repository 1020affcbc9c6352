"""`leansight bench compare`: whether a newer benchmark is worse than an older one."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from leansight.sdk.commands.options.images import PATH
from leansight.sdk.commands.options.percent import Percent
from leansight.sdk.system.text import echo


@click.command(
    "leansight bench compare", epilog="Example: leansight bench compare old.json new.json"
)
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
@click.option(
    "--allow",
    type=Percent(),
    default="5%",
    show_default=True,
    help="How much longer, larger or heavier a model may have become.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of all changes.")
def compare(*, old: Path, new: Path, allow: float, as_json: bool) -> None:
    """Compare two files of `leansight bench --out`; exit code 1 if a model has become worse.

    A time is worse if it is longer by more than --allow, also beside the machine's own speed in
    each run (its int8 peak), and the intervals do not overlap; a size or a count if it is larger
    by more; an accuracy if the intervals do not overlap. Of several machines, each is compared
    with itself.
    """
    from leansight.benchmarks.results.regression import (
        change_lines,
        compare_results,
        read_result_file,
    )

    changes = compare_results(read_result_file(old), read_result_file(new), allowed=allow)
    if as_json:
        echo(json.dumps([asdict(change) for change in changes], indent=2))
    else:
        for line in change_lines(changes):
            echo(line)
    if any(change.verdict == "worse" for change in changes):
        sys.exit(1)


class BenchCommand(click.Command):
    """The command, or `compare` where that is the first word: a model may be called anything."""

    sub_commands = {"compare": compare}  # noqa: RUF012 -- the reference reads it, nobody writes

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Parse the words by the command that they are for."""
        if args and args[0] in self.sub_commands:
            chosen = self.sub_commands[args[0]]
            return chosen.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that the words were parsed by."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)
