"""Judge what scripts/demo made, and show it on one page: FOLDER/index.html.

    scripts/demo_page.py FOLDER [--accuracy 0.95] [--sure 0.9] [--right 0.98]

Exit code 1 if the int8 network is right on less than --accuracy of southland's signs, if it is
sure of less than --sure of the video's frames that show a sign, or if less than --right of those
are right. The page is written either way.
"""

import argparse
import base64
import csv
import io
import itertools
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import matplotlib.figure
from jinja2 import Environment

TEST_COUNTRY = "southland"
THUMBNAIL_PX = 64
FRAME_PX = 160
CANDIDATES = 60
DARK, BRIGHT = 40, 250


class Check(NamedTuple):
    """One figure that the demo promises, and the least that it may be (shares, 0 to 1)."""

    name: str
    share: float
    least: float

    def __str__(self) -> str:
        """Say the figure, the least, and whether that is reached."""
        verdict = "ok" if self.share >= self.least else "TOO LOW"
        return f"{self.name}: {self.share:.1%} (at least {self.least:.0%}): {verdict}"


def main() -> None:
    """Write the page, print the figures, and exit 1 if one is too low."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    for name, least in (("accuracy", 0.95), ("sure", 0.9), ("right", 0.98)):
        parser.add_argument(f"--{name}", type=float, default=least)
    wanted = parser.parse_args()
    folder: Path = wanted.folder
    manifest = json.loads((folder / "signs.bundle/bundle.json").read_text())
    frames = read_frames(folder)
    checks = judge(manifest, frames, wanted.accuracy, wanted.sure, wanted.right)
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        Path(__file__).with_name("demo_page.html").read_text()
    )
    html = page.render(
        checks=checks,
        tested=manifest["metrics"]["test"],
        benchmarks=json.loads((folder / "bench.json").read_text()),
        signs=signs(folder / "signs", manifest["labels"]),
        curve=draw_curve(folder / "run/checkpoints/metrics.csv"),
        pauses=[frame for frame in frames if not frame["truth"]],
        strip=strip(folder / "labelled.mkv", frames),
        kilobytes=round(manifest["files"]["model.tflite"]["size_bytes"] / 1000),
        threshold=manifest["decision"]["threshold"],
        folder=folder,
    )
    (folder / "index.html").write_text(html)
    print(*checks, sep="\n")
    if any(check.share < check.least for check in checks):
        sys.exit("demo: the network did not learn what it should: see above")


def read_frames(folder: Path) -> list[dict[str, Any]]:
    """Return what the stream answered, with what each frame shows as `truth` ("": no sign).

    A picture that shows nothing got no label; a line without a frame tells how an event ended.
    """
    with (folder / "drive.csv").open(newline="") as rows:
        truth = {int(row["frame"]): row["label"] for row in csv.DictReader(rows)}
    lines = (folder / "labels.jsonl").read_text().splitlines()
    answers = [answer for answer in map(json.loads, lines) if "frame" in answer]
    return [{"label": None} | answer | {"truth": truth[answer["frame"]]} for answer in answers]


def judge(
    manifest: dict[str, Any],
    frames: list[dict[str, Any]],
    accuracy: float,
    sure: float,
    right: float,
) -> list[Check]:
    """Return the figures that the demo promises; a stream that saw no sign is right in none."""
    files = manifest["metrics"]["test"]["formats"][1:]  # the first is torch's float network
    shown = [frame for frame in frames if frame["truth"]]
    given = [frame for frame in shown if frame["label"]]
    correct = [frame for frame in given if frame["label"] == frame["truth"]]
    return [
        Check(f"right on {TEST_COUNTRY}'s signs", min(f["accuracy"] for f in files), accuracy),
        Check("sure of the video's signs", len(given) / max(len(shown), 1), sure),
        Check("right where it is sure", len(correct) / max(len(given), 1), right),
    ]


def signs(folder: Path, labels: list[str]) -> dict[str, list[tuple[str, str]]]:
    """Return for each country one picture of each class: (class, data URL)."""
    return {
        country.name: [
            (label, picture(cv2.imread(str(sharpest(country / label))), THUMBNAIL_PX))
            for label in labels
        ]
        for country in sorted(folder.iterdir())
    }


def sharpest(folder: Path) -> Path:
    """Return the image of a class with the most saturated edges: well lit, near and in focus."""

    def edges(path: Path) -> float:
        small = cv2.resize(cv2.imread(str(path)), (48, 48), interpolation=cv2.INTER_AREA)
        saturation, light = cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2HSV))[1:]
        clipped = float(((light < DARK) | (light > BRIGHT)).mean())
        return float(cv2.Laplacian(saturation, cv2.CV_32F).std()) * (1 - clipped)

    return max(sorted(folder.glob("*.png"))[-CANDIDATES:], key=edges)


def picture(image: cv2.typing.MatLike, side: int) -> str:
    """Return an image as a JPEG of `side` pixels in a data URL."""
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    jpeg = base64.b64encode(cv2.imencode(".jpg", small)[1].tobytes()).decode()
    return f"data:image/jpeg;base64,{jpeg}"


def draw_curve(metrics: Path) -> str:
    """Return the accuracies of each epoch, as SVG."""
    with metrics.open(newline="") as rows:
        epochs = [row for row in csv.DictReader(rows) if row["val_accuracy"]]
    figure = matplotlib.figure.Figure((6.4, 3), layout="constrained")
    axes = figure.subplots()
    for column, name in (
        ("val_accuracy", "held-out videos"),
        ("shifted_accuracy", "the same, worse seen"),
    ):
        axes.plot(
            range(1, len(epochs) + 1), [100 * float(e[column]) for e in epochs], "o-", label=name
        )
    axes.set(xlabel="epoch", ylabel="right, %", ylim=(0, 101))
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    svg = drawn.getvalue()
    return svg[svg.index("<svg") :]


def strip(video: Path, frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last frame of each sign and of each pause, with what was said of it."""
    pairs = enumerate(itertools.pairwise(frames))
    ends = {i for i, (one, other) in pairs if one["truth"] != other["truth"]} | {len(frames) - 1}
    capture = cv2.VideoCapture(str(video))
    chosen = []
    for number, frame in enumerate(frames):
        seen, image = capture.read()
        if seen and number in ends:
            chosen.append(frame | {"picture": picture(image, FRAME_PX)})
    return chosen


if __name__ == "__main__":
    main()
