"""The pictures of a report, drawn with matplotlib, as SVG text to stand in a page."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from leansight.runtime.extras import opencv
from leansight.sdk.data.images import images_folder, read_sample
from leansight.sdk.data.samples import Sample
from leansight.sdk.evaluation.metrics import BINS, CalibrationBin
from leansight.sdk.system.text import no_formula

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
_COLOURS: Final = ("#2f6690", "#e08e45", "#5b8e7d", "#a4508b")
_MARKS: Final = ("o", "^", "s", "x")  # matplotlib has ten colours
_FAINT: Final = "#d9d9d9"
_DARK: Final = 0.5  # share from which the ground of a count is too dark for black
_LEGEND_INSIDE: Final = 8  # classes that a legend in the axes holds
_LEGEND_BESIDE: Final = 25  # classes that a legend beside them holds
_WRITTEN: Final = 30  # classes whose counts still have room in the confusion matrix


def draw_selective(curves: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> str:
    """Draw the accuracy of what is kept over the share kept; curves by the name of the images."""
    figure, axes = _figure(5, 3.6)
    lowest = 1.0
    for (name, (shares, accuracies)), colour in zip(curves.items(), _cycle(curves), strict=True):
        axes.plot(100 * shares, 100 * accuracies, color=colour, label=no_formula(name))
        lowest = min(lowest, float(accuracies.min()))
    axes.set(xlabel="share kept, %", ylabel="accuracy of what is kept, %", xlim=(0, 100))
    axes.set_ylim(max(0, 100 * lowest - 2), 100.2)
    axes.legend(frameon=False)
    return _svg(figure)


def draw_calibration(bins: Sequence[CalibrationBin]) -> str:
    """Draw how often the model is right where it says so, beside how often it says so."""
    figure, axes = _figure(4.2, 3.6)
    axes.plot([0, 100], [0, 100], color=_FAINT, zorder=0)
    total = max(sum(b.images for b in bins), 1)
    for b in bins:
        share = b.images / total
        axes.bar(
            100 * b.low, 100 * b.accuracy, 100 / BINS, align="edge", color=_COLOURS[0],
            alpha=0.25 + 0.75 * share, edgecolor="white",
        )  # fmt: skip
    axes.plot([100 * b.confidence for b in bins], [100 * b.accuracy for b in bins], "o",
              color=_COLOURS[1], markersize=4)  # fmt: skip
    axes.set(xlabel="probability given, %", ylabel="right, %", xlim=(0, 100), ylim=(0, 101))
    return _svg(figure)


def draw_confusion(counts: NDArray[np.int64], labels: Sequence[str]) -> str:
    """Draw the confusion matrix: rows are true classes, coloured by their share."""
    side = 2.2 + 0.24 * len(labels)
    figure, axes = _figure(side, side)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places, names = np.arange(len(labels)), [no_formula(label) for label in labels]
    axes.set_xticks(places, names, rotation=90, fontsize=7)
    axes.set_yticks(places, names, fontsize=7)
    axes.set(xlabel="predicted", ylabel="true")
    axes.grid(visible=False)
    if len(labels) <= _WRITTEN:
        for row, column in np.argwhere(counts):
            dark = shares[row, column] > _DARK
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", fontsize=6,
                color="white" if dark else "black",
            )  # fmt: skip
    return _svg(figure)


def draw_roc(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float64], labels: Sequence[str]
) -> str:
    """Draw the ROC curve of each class against all others; (N, K) both."""
    figure, axes = _figure(4.6, 3.8)
    axes.plot([0, 100], [0, 100], color=_FAINT, zorder=0)
    for k, label in enumerate(labels):
        if truth[:, k].any() and not truth[:, k].all():
            false, true, _ = roc_curve(truth[:, k], probabilities[:, k])
            axes.plot(100 * false, 100 * true, linewidth=0.8, label=no_formula(label))
    axes.set(xlabel="false positives, %", ylabel="true positives, %", xlim=(-1, 100), ylim=(0, 101))
    if len(labels) <= _LEGEND_INSIDE and len(axes.lines) > 1:  # of one class there is no curve
        axes.legend(frameon=False, fontsize=7)
    return _svg(figure)


def draw_radar(scores: Mapping[str, Sequence[float]], axes_names: Sequence[str]) -> str:
    """Draw the figures (0 to 1) of one or more models around a circle; rings are shares."""
    figure, axes = _figure(4.6, 4.2, projection="polar")
    angles = np.linspace(0, 2 * np.pi, len(axes_names), endpoint=False)
    around = np.append(angles, angles[0])
    for (name, values), colour in zip(scores.items(), _cycle(scores), strict=True):
        closed = [*values, values[0]]
        axes.plot(around, closed, color=colour, label=no_formula(name))
        axes.fill(around, closed, color=colour, alpha=0.1)
    lowest = min(min(values) for values in scores.values())
    axes.set_ylim(max(0.0, lowest - 0.05), 1)
    axes.set_xticks(angles, axes_names, fontsize=8)
    axes.tick_params(axis="y", labelsize=6)
    figure.legend(loc="outside lower center", frameon=False, fontsize=7)
    return _svg(figure)


def draw_map(
    points: NDArray[np.floating[Any]], classes: NDArray[np.int64], labels: Sequence[str]
) -> str:
    """Draw the images (N, 2) of a map of features, coloured by class (N,)."""
    figure, axes = _figure(6.4, 4.6)
    for k in np.unique(classes):
        axes.plot(*points[classes == k].T, _MARKS[k // 10 % len(_MARKS)], markersize=3,
                  label=no_formula(labels[k]))  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    if len(labels) <= _LEGEND_BESIDE:
        axes.legend(frameon=False, fontsize=6, bbox_to_anchor=(1, 1), loc="upper left")
    return _svg(figure)


def draw_beside(
    exact: NDArray[np.float64], given: NDArray[np.float64], differs: NDArray[np.bool_]
) -> str:
    """Draw the probabilities that a file gives over torch's; all (N,).

    Where the decisions differ, the points are larger and of another colour.
    """
    figure, axes = _figure(4.2, 3.6)
    axes.plot([0, 100], [0, 100], color=_FAINT, zorder=0)
    for chosen, colour, size in ((~differs, _COLOURS[0], 2), (differs, _COLOURS[1], 4)):
        # As pixels: thousands of points would make the page slow.
        axes.plot(100 * exact[chosen], 100 * given[chosen], "o", color=colour, markersize=size,
                  markeredgewidth=0, rasterized=True)  # fmt: skip
    axes.set(xlabel="torch, %", ylabel="file, %", xlim=(-1, 101), ylim=(-1, 101))
    return _svg(figure)


def draw_tiles(tiles: NDArray[np.floating[Any]]) -> str:
    """Draw the first 64 pictures side by side: gray (N, H, W) or colour (N, H, W, 3).

    Each goes from its own darkest to its own brightest value.
    """
    shown = tiles[:64]
    columns = min(8, len(shown))
    rows = -(-len(shown) // columns)
    figure, _ = _figure(0.7 * columns, 0.7 * rows)
    figure.clear()
    for place, tile in enumerate(shown, start=1):
        axes = figure.add_subplot(rows, columns, place)
        low, high = float(tile.min()), float(tile.max())
        axes.imshow((tile - low) / max(high - low, 1e-9), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    return _svg(figure)


def _cycle(names: Mapping[str, object]) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(len(names))]


def _figure(width: float, height: float, **subplot: Any) -> "tuple[Figure, Axes]":  # noqa: ANN401 -- matplotlib's
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Any = figure.add_subplot(**subplot)
    if not subplot:
        axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: "Figure") -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


_THUMBNAIL: Final = 112  # pixels


def thumbnail(data: Path, sample: Sample) -> str:
    """Return an image as a data URL, no side longer than `_THUMBNAIL`."""
    cv2 = opencv()
    image = read_sample(images_folder(data), sample)
    scale = _THUMBNAIL / max(image.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    _, jpeg = cv2.imencode(".jpg", cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"
