"""`leansight evaluate`: what a run or a bundle scores on labelled images, as a page and as JSON."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed
from leansight.runtime.interpreter import Format
from leansight.runtime.stream.events import Smoothing
from leansight.runtime.system.collector import importing
from leansight.sdk.commands.options.flags import line_of
from leansight.sdk.commands.options.images import (
    PATH,
    choose_samples,
    image_options,
    skip_bad_option,
)
from leansight.sdk.commands.options.modules import EVALUATION_MODULES
from leansight.sdk.commands.options.smoothing import smoothing_options
from leansight.sdk.system.files import require_writable
from leansight.sdk.system.text import echo, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from leansight.sdk.data.samples import Part
    from leansight.sdk.evaluation.answers import AnsweringModel, Answers


@click.command()
@click.argument("model", type=PATH)
@click.argument("data", type=PATH)
@click.option(
    "--out",
    type=PATH,
    required=True,
    help="Folder to write report.html and report.json to.",
)
@click.option("--against", type=PATH, metavar="MODEL", help="Compare with this run or bundle.")
@click.option(
    "--shifted",
    metavar="RECIPE",
    help="Change every image first, as [[shift]] of this recipe says: how it might look elsewhere.",
)
@click.option(
    "--per-video", is_flag=True, help="Score the events that a stream of each video would have."
)
@click.option(
    "--frame-rate",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    help="Frames a second of the videos, for --per-video.",
)
@smoothing_options
@click.option("--json", "as_json", is_flag=True, help="Print the content of report.json.")
@skip_bad_option
@image_options
def command(
    *,
    model: Path,
    data: Path,
    out: Path,
    against: Path | None,
    shifted: str | None,
    per_video: bool,
    frame_rate: float,
    smoothing: Smoothing,
    as_json: bool,
    lists: Path | None,
    part: "Part | None",
    country: str,
    videos: str | None,
    model_format: Format | None,
    skip_bad: bool,
) -> None:
    """Evaluate MODEL, a run or a bundle, on the labelled images in DATA.

    Writes an HTML page and the same numbers as JSON: the accuracy with a confidence interval
    over videos, the figures of every class, coverage and accuracy at several thresholds, the
    calibration, the most confident mistakes, and labels that may be wrong. With --against, it
    also says which of the two models is better, if a paired comparison over videos shows it. With
    --per-video, the frames of each video are smoothed as by `leansight stream`: how many signs
    have an event, how late, and how many events are false. With --shifted, another recipe's or the
    run's own, every image is changed first, always in the same way.

    Images that cannot be read are named on standard error and left out; the exit code is then 1,
    with --skip-bad 0.

    \b
    leansight evaluate signs.bundle photos/ --out report/
    leansight evaluate run/ signs/ --lists run/ --part test --against other.bundle --out report/
    leansight evaluate signs.bundle signs/ --per-video --out report/
    leansight evaluate signs.bundle signs/ --shifted traffic-signs-tiny --out report/
    """
    check_installed(*EVALUATION_MODULES, extra="evaluate")
    with importing():
        from leansight.sdk.evaluation.answers import ask, load_model
        from leansight.sdk.evaluation.evaluate import measure_report
        from leansight.sdk.evaluation.events import measure_events
        from leansight.sdk.evaluation.report import write_report
        from leansight.sdk.recipes.load import load_recipe

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already: choose another --out")
    require_writable(out)
    shift = load_recipe(shifted).shift if shifted is not None else ()
    if shifted is not None and not shift:
        raise DataError(f"recipe {shifted} has no [[shift]]")
    judged = load_model(model, model_format=model_format)
    rival = load_model(against, model_format=model_format) if against is not None else None
    if rival and (rival.task, set(rival.labels)) != (judged.task, set(judged.labels)):
        raise DataError(f"{against} knows other classes than {model}")
    unreadable: list[str] = []
    samples = choose_samples(data, lists=lists, part=part, country=country, videos=videos)
    answers = ask(judged, data, samples, unreadable.append, shift=shift)
    for problem in unreadable:
        echo(line_of(DataError(problem)), err=True)
    other = ask(rival, data, answers.samples, shift=shift) if rival else None
    report = measure_report(answers, other) | {"shifted": shifted}
    if per_video:
        report["events"] = measure_events(answers, smoothing, frame_rate)
    write_report(report, answers, data, out, drawings=_draw_features(judged, answers, data))
    if as_json:
        echo(json.dumps(report))
    else:
        _write_lines(report)
        echo(f"report: {out / 'report.html'}")
    if unreadable and not skip_bad:
        sys.exit(1)


def _write_lines(report: "Mapping[str, Any]") -> None:
    """Write the accuracy, beside that of guesses, and what is kept at several thresholds."""
    found, skill = report["accuracy_interval"]["all"], report["skill"]
    many = report["task"] == "multilabel"
    guesses = f"chance {skill['chance']:.4f}, always the commonest class {skill['commonest']:.4f}"
    if many:
        guesses = guesses.replace("commonest class", "commoner answer")
        echo(
            f"label accuracy: {skill['accuracy']:.4f} (of single labels, {skill['low']:.4f} to "
            f"{skill['high']:.4f}); {guesses}"
        )
    echo(
        f"{'image ' * many}accuracy: {found['mean']:.4f} ({found['low']:.4f} to "
        f"{found['high']:.4f}, {report['images']} images, {report['videos']} videos)"
        + f"; {guesses}"
        * (not many)
    )
    if skill["doubt"]:
        echo(skill["doubt"])
    for kept in report["selective"]["all"]:
        right = "nothing" if kept["accuracy"] is None else f"{kept['accuracy']:.4f}"
        echo(f"kept at {kept['threshold']:g}: {kept['share']:.4f}, right of these: {right}")
    if "events" in report:
        _write_events(report["events"])


def _write_events(events: "Mapping[str, Any]") -> None:
    """Write how the events of the videos were found, as a table of the classes that have any."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Events of", overflow="fold")
    for name in ("Shown", "Found", "Missed", "False", "Delay, frames"):
        table.add_column(name, justify="right")
    for scores in (*events["classes"], events["all"]):
        if scores["shown"] or scores["false"]:
            counts = (str(scores[name]) for name in ("shown", "found", "missed", "false"))
            delay = "-" if scores["delay_frames"] is None else f"{scores['delay_frames']:g}"
            table.add_row(escape(printable(scores["label"])), *counts, delay)
    Console().print(table)


def _draw_features(model: "AnsweringModel", answers: "Answers", data: Path) -> dict[str, str]:
    """Return pictures of what a run's network sees, SVG text by heading; none of a bundle."""
    if model.network is None:
        return {}
    from leansight.sdk.evaluation import features, figures

    filters = features.first_filters(model.network).transpose(0, 2, 3, 1)
    pixels, chosen = features.read_some(data, answers.samples, model.preprocessing)
    colour = filters.shape[-1] == len("RGB")
    pictures = {
        "First filters": figures.draw_tiles(filters if colour else filters[..., 0]),
        "An image after the first convolution": figures.draw_tiles(
            features.first_activations(model.network, pixels[0])
        ),
    }
    points = features.map_features(model.network, pixels)
    if points is not None and answers.task == "classification":
        heading = f"Features of {len(chosen)} images (t-SNE)"
        pictures[heading] = figures.draw_map(points, answers.classes[chosen], answers.labels)
    return pictures
