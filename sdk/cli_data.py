"""`leansight data`: a data set and a demo video that are drawn, not downloaded."""

from pathlib import Path

import click

from leansight.runtime.extras import opencv, require


@click.group(name="data")
def command() -> None:
    """Draw traffic signs: a data set to train on, a video to try the classifier on."""


@command.command(epilog="Example: leansight data signs photos/ --images 5000 --seed 0")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--images", default=5000, show_default=True, help="How many images to draw.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def signs(out: Path, images: int, seed: int) -> None:
    """Write images of 21 traffic signs of two countries into the new folder OUT.

    They are frames of short videos, OUT/COUNTRY/CLASS/VIDEO_FRAME.png. Three in four are
    from northland, to train on; the others, from southland, show how well it travels.
    """
    opencv()
    progress = require("rich.progress", package="rich", extra="train")
    from leansight.sdk import scenes
    from leansight.sdk.console import console
    from leansight.sdk.signs import LABELS, STYLES

    hidden = not console().is_terminal
    with progress.Progress(console=console(), transient=True, disable=hidden) as bar:
        task = bar.add_task("Drawing signs", total=images)
        scenes.write_signs(
            out, images=images, seed=seed, written=lambda frames: bar.advance(task, frames)
        )
    click.echo(
        f"{images} images, {len(LABELS)} classes, "
        f"{len(STYLES)} countries ({', '.join(STYLES)}): {out}"
    )


@command.command(epilog="Example: leansight data video demo.mp4 --seconds 12")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--seconds", type=click.FloatRange(1, 3600), default=12, show_default=True)
def video(out: Path, seed: int, seconds: float) -> None:
    """Write the video OUT, whose name ends in .mp4: one sign after another, pauses between."""
    opencv()
    from leansight.sdk import scenes

    frames = scenes.write_video(out, seed=seed, seconds=seconds)
    click.echo(f"{frames} frames of {scenes.DEMO_PX} x {scenes.DEMO_PX} px: {out}")
