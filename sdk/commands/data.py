"""`leansight data`: a look at a data set, and data that are drawn, not downloaded."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from leansight.runtime.errors import DataError
from leansight.runtime.extras import opencv, require
from leansight.sdk.commands.options.flags import FlagNamingGroup
from leansight.sdk.commands.options.images import videos_option
from leansight.sdk.recipes.schema import DataRecipe, Layout
from leansight.sdk.system.files import require_writable
from leansight.sdk.system.text import echo

if TYPE_CHECKING:
    from leansight.sdk.data.statistics import Statistics


_seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the random numbers.",
)


@click.group(name="data", cls=FlagNamingGroup)
def command() -> None:
    """Look at a data set before training; draw traffic signs to train on, and a video of them."""


@command.command(epilog="Example: leansight data signs photos/ --images 5000 --seed 0")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--images", default=5000, show_default=True, help="How many images to draw.")
@_seed_option
def signs(out: Path, images: int, seed: int) -> None:
    """Write images of 21 traffic signs of three countries into the new folder OUT.

    They are frames of short videos, OUT/COUNTRY/CLASS/VIDEO_FRAME.png. Three in four are from
    northland and eastland, to train on; the others, from southland, test how well a network
    generalises.
    """
    opencv()
    progress = require("rich.progress", package="rich", extra="train")
    from leansight.sdk.data.synthetic import videos
    from leansight.sdk.data.synthetic.countries import STYLES
    from leansight.sdk.data.synthetic.styles import LABELS
    from leansight.sdk.system.console import console

    hidden = not console().is_terminal
    with progress.Progress(console=console(), transient=True, disable=hidden) as bar:
        task = bar.add_task("Drawing signs", total=images)
        videos.write_signs(
            out, images=images, seed=seed, written=lambda frames: bar.advance(task, frames)
        )
    echo(
        f"{images} images, {len(LABELS)} classes, "
        f"{len(STYLES)} countries ({', '.join(STYLES)}): {out}"
    )


@command.command(epilog="Example: leansight data video demo.mp4 --seconds 12")
@click.argument("out", type=click.Path(path_type=Path))
@_seed_option
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=12,
    show_default=True,
    help="Length of the video.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV file to write what each frame shows to: frame,label.",
)
def video(out: Path, seed: int, seconds: float, labels: Path | None) -> None:
    """Write the video OUT, whose name ends in .mp4: one sign after another, pauses between."""
    opencv()
    from leansight.sdk.data.synthetic import videos

    frames = videos.write_video(out, seed=seed, seconds=seconds, labels=labels)
    echo(f"{frames} frames of {videos.DEMO_PX} x {videos.DEMO_PX} px: {out}")


@command.command(epilog="Example: leansight data stats photos/ --out photos.png")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--layout",
    type=click.Choice(get_args(Layout)),
    default="auto",
    show_default=True,
    help="Layout of DATA; auto detects it.",
)
@click.option(
    "--regions",
    is_flag=True,
    help="Measure the regions that the label files give, not whole images.",
)
@videos_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Draw the figures as well, to this .png, .svg or .pdf file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def stats(
    *,
    data: Path,
    layout: Layout,
    regions: bool,
    videos: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Count and measure the images of DATA: classes, videos, sizes, exposure, colours.

    Images that cannot be read are listed on standard error and left out; those that can, though
    a strict decoder says that they are damaged, are listed as well.
    """
    opencv()
    require("rich", package="rich", extra="train")
    if out is not None:
        require("matplotlib", package="matplotlib", extra="train")
        require_writable(out)
    from leansight.sdk.data import statistics
    from leansight.sdk.data.dataset import show
    from leansight.sdk.data.layouts.detect import find_data

    if out is not None and out.suffix.lower() not in statistics.PICTURES:
        raise DataError(f"--out {out}: name a {', '.join(statistics.PICTURES)} file")
    recipe = DataRecipe(layout=layout, regions=regions, videos=videos or "auto")
    data_set = find_data(data, recipe)
    show(data_set)
    found = statistics.measure(data, data_set.samples)
    for problem in (*found.unreadable, *found.damaged):
        echo(f"leansight: {problem}", err=True)
    echo(json.dumps(found.to_dict(), indent=2) if as_json else _table(found))
    if out is not None:
        statistics.draw(found, out, title=data.resolve().name)


def _table(found: "Statistics") -> str:
    """Return the statistics as lines of aligned columns."""
    from leansight.sdk.data.statistics import BRIGHT, DARK, LEVELS, describe

    classes = [(c.label, f"{c.images:,}", f"{c.videos:,}", f"{c.share:.1%}") for c in found.classes]
    classes.append(("all", f"{found.images:,}", f"{found.videos:,}", ""))
    others = [f"{country}: {count:,} images" for country, count in found.countries.items()]
    if found.unlabelled:
        others.append(f"images without a label: {found.unlabelled:,}")
    sides = []
    for name, values in (("width", found.widths), ("height", found.heights)):
        low, high, mean, mode = describe(values).values()
        sides.append((name, f"{low}", f"{high}", f"{mean:.1f}", f"{mode}"))
    colours = []
    for row in zip(("red", "green", "blue"), found.mean, found.deviation, strict=True):
        name, *levels = row
        of_1 = (f"{level / LEVELS:.4f}" for level in levels)
        colours.append((name, *(f"{level:.2f}" for level in levels), *of_1))
    exposure = (
        f"exposure: mean gray level {found.exposures.mean():.1f} ± {found.exposures.std():.1f}, "
        f"{found.dark_share:.1%} of the images dark (below {DARK}), "
        f"{found.bright_share:.1%} bright (above {BRIGHT})"
    )
    parts = (
        _columns(("class", "images", "videos", "share"), classes) + others,
        _columns(("pixels", "min", "max", "mean", "mode"), sides),
        _columns(("all pixels", "mean", "deviation", "mean of 1", "deviation of 1"), colours),
        [exposure],
    )
    return "\n\n".join("\n".join(part) for part in parts)


def _columns(names: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Align a table: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in (names, *rows)
    ]
