"""What a data set holds, before anything is trained on it: as numbers and as a picture."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.errors import DataError
from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image
from leansight.sdk.data.damage import damage_of
from leansight.sdk.data.images import images_folder, require_pictures, visit_images
from leansight.sdk.data.samples import Sample
from leansight.sdk.system.text import first_five, no_formula

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Mean gray levels beyond which a picture counts as badly exposed.
DARK: Final = 40
BRIGHT: Final = 215
LEVELS: Final = 255

PICTURES: Final = (".png", ".svg", ".pdf")
_FLAT: Final = 1.0  # levels² of variance in each colour: up to it, an image is one colour
_BIN: Final = 8  # gray levels of one bar of the exposure histogram
_MOST_NAMED: Final = 100  # classes that have room for their names
_LOGARITHMIC: Final = 6  # a side this many times as long as another asks for logarithmic axes
_ROUND: Final = [digit * 10**power for power in range(6) for digit in (1, 2, 5)]
_BLUE, _ORANGE, _INK, _FAINT = "#2f6690", "#e08e45", "#333333", "#d9d9d9"


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """How often a label is there; an image that belongs to no video counts as one."""

    label: str
    images: int
    videos: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What was measured of the images that can be read.

    Args:
        classes: in the order of their labels; with many labels per image the shares, of the
            images, need not add up to 1.
        images, videos: how many there are; an image that belongs to no video counts as one.
        unlabelled: images without any label.
        countries: images of each country; empty without countries.
        widths, heights: (N,) int64, pixels, of the regions where there are some.
        exposures: (N,) float64, mean gray level (0 to 255) of each image.
        mean, deviation: (3,) float64, of all pixels (0 to 255), red first; every image weighs
            the same, whatever its size.
        unreadable: what is wrong with the images that cannot be read.
        damaged: what a strict decoder says against images that can; they are counted.

    """

    classes: tuple[ClassCount, ...]
    images: int
    videos: int
    unlabelled: int
    countries: dict[str, int]
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    exposures: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    unreadable: tuple[str, ...]
    damaged: tuple[str, ...] = ()

    @property
    def dark_share(self) -> float:
        """The share (0 to 1) of images with a mean gray level below `DARK`."""
        return float((self.exposures < DARK).mean())

    @property
    def bright_share(self) -> float:
        """The share (0 to 1) of images with a mean gray level above `BRIGHT`."""
        return float((self.exposures > BRIGHT).mean())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; the histogram counts images for each 8 gray levels."""
        return {
            "images": self.images,
            "videos": self.videos,
            "unlabelled": self.unlabelled,
            "countries": self.countries,
            "classes": [asdict(each) for each in self.classes],
            "width": describe(self.widths),
            "height": describe(self.heights),
            "exposure": {
                "mean": float(self.exposures.mean()),
                "deviation": float(self.exposures.std()),
                "dark_share": self.dark_share,
                "bright_share": self.bright_share,
                "histogram": np.histogram(self.exposures, _bins())[0].tolist(),
            },
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "mean_of_1": (self.mean / LEVELS).tolist(),
            "deviation_of_1": (self.deviation / LEVELS).tolist(),
            "unreadable": list(self.unreadable),
            "damaged": list(self.damaged),
        }


def measure(root: Path, samples: Sequence[Sample]) -> Statistics:
    """Read every image once, one at a time in each thread, and count what there is.

    Raises:
        DataError: no image can be read, or most are one flat colour.

    """
    cv2 = opencv()
    sizes = np.zeros((len(samples), 2), np.int64)
    exposures = np.zeros(len(samples))
    means, squares = np.zeros((2, len(samples), 3))
    damages = [""] * len(samples)
    folder = images_folder(root)

    def look(index: int, image: Image) -> None:
        damages[index] = damage_of(folder / samples[index].path)
        sizes[index] = image.shape[1], image.shape[0]
        exposures[index] = cv2.mean(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))[0]
        means[index], squares[index] = (each[::-1] for each in colour_moments(image))  # to RGB

    problems = visit_images(root, samples, look, what="Measuring images")
    read = [index for index in range(len(samples)) if index not in problems]
    if not read:
        raise DataError(
            f"none of {len(samples)} images can be read: {first_five(problems.values())}"
        )
    seen = [samples[index] for index in read]
    variances = squares[read] - means[read] ** 2
    require_pictures(seen, variances.max(axis=1) <= _FLAT)
    mean, deviation = mean_and_deviation(means[read], squares[read])
    return Statistics(
        classes=count_classes(seen),
        images=len(seen),
        videos=_videos(seen),
        unlabelled=sum(not sample.labels for sample in seen),
        countries=dict(sorted(Counter(s.country for s in seen if s.country).items())),
        widths=sizes[read, 0],
        heights=sizes[read, 1],
        exposures=exposures[read],
        mean=mean,
        deviation=deviation,
        unreadable=tuple(problems[index] for index in sorted(problems)),
        damaged=tuple(f"{folder / samples[i].path}: {damages[i]}" for i in read if damages[i]),
    )


def colour_moments(image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the mean square of each channel of an image (H, W, C) uint8, (C,)."""
    mean, deviation = (values[:, 0] for values in opencv().meanStdDev(image))
    return mean, deviation**2 + mean**2


def mean_and_deviation(
    means: NDArray[np.float64], squares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return those of all images, each of the same weight, from the moments of each, (N, C)."""
    mean = means.mean(0)
    return mean, np.sqrt(np.maximum(squares.mean(0) - mean**2, 0))


def count_classes(samples: Sequence[Sample]) -> tuple[ClassCount, ...]:
    """Return the counts of each label, in the order of the labels."""
    by_label: dict[str, list[Sample]] = {}
    for sample in samples:
        for label in sample.labels:
            by_label.setdefault(label, []).append(sample)
    return tuple(
        ClassCount(label=label, images=len(own), videos=_videos(own), share=len(own) / len(samples))
        for label, own in sorted(by_label.items())
    )


def describe(values: NDArray[np.int64]) -> dict[str, float]:
    """Return min, max, mean and mode (the smallest of several)."""
    distinct, counts = np.unique(values, return_counts=True)
    return {
        "min": int(values.min()),
        "max": int(values.max()),
        "mean": float(values.mean()),
        "mode": int(distinct[counts.argmax()]),
    }


def _videos(samples: Sequence[Sample]) -> int:
    return len({sample.video for sample in samples if sample.video}) + sum(
        not sample.video for sample in samples
    )


def _bins() -> NDArray[np.float64]:
    """Return the edges of the exposure histogram: 0, 8, …, 256."""
    return np.linspace(0, LEVELS + 1, (LEVELS + 1) // _BIN + 1)


# The picture


def draw(statistics: Statistics, out: Path, *, title: str) -> None:
    """Write the statistics as a picture, PNG, SVG or PDF by the name of `out`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(statistics.classes)
    named = count <= _MOST_NAMED
    figure = Figure(figsize=(13, max(6.5, 1.8 + 0.23 * count) if named else 12), dpi=110)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    with_videos = statistics.videos != statistics.images
    widths = [1.5, 1, 1.5] if with_videos else [2.5, 0.01, 1.5]
    grid = figure.add_gridspec(2, 3, width_ratios=widths)
    images = figure.add_subplot(grid[:, 0] if with_videos else grid[:, :2])
    ranked = sorted(statistics.classes, key=lambda each: (each.images, each.label))
    _draw_bars(images, [c.images for c in ranked], "Images of each class", _BLUE)
    images.set_yticks(range(count), [_name(c.label) for c in ranked] if named else [""] * count)
    if with_videos:
        videos = figure.add_subplot(grid[:, 1])
        _draw_bars(videos, [c.videos for c in ranked], "Videos of each class", _ORANGE)
        videos.set_yticks([])
    _draw_sizes(figure.add_subplot(grid[0, 2]), statistics)
    _draw_exposures(figure.add_subplot(grid[1, 2]), statistics)
    _caption(figure, statistics, title)
    figure.savefig(out)


def _draw_bars(axes: "Axes", counts: Sequence[int], title: str, colour: str) -> None:
    bars = axes.barh(range(len(counts)), counts, color=colour, height=0.75)
    if len(counts) <= _MOST_NAMED:
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3, color=_INK, size=9)
    axes.set_ylim(-0.6, len(counts) - 0.4)
    axes.set_xlim(0, max(counts) * 1.14)
    axes.tick_params(axis="y", length=0)
    _plain(axes, title)


def _draw_sizes(axes: "Axes", statistics: Statistics) -> None:
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    sizes = np.stack((statistics.widths, statistics.heights))
    (width, height), counts = np.unique(sizes, axis=1, return_counts=True)
    low, high = int(sizes.min()), int(sizes.max())
    axes.axline((low, low), slope=1, color=_INK, lw=0.8, ls=":", zorder=1)
    # As large as many images have that size; the sum of all areas is about the same.
    area = np.clip(2500 * counts / counts.sum(), 4, 300)
    axes.scatter(width, height, area, color=_BLUE, alpha=0.5, linewidths=0, zorder=2)
    if high > _LOGARITHMIC * low:
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(ScalarFormatter())
            axis.set_ticks([t for t in _ROUND if low / 1.2 <= t <= high * 1.2])
            axis.set_ticks([], minor=True)
    else:
        axes.set(xlim=(0, 1.1 * high), ylim=(0, 1.1 * high))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_aspect("equal")
    axes.set_anchor("W")
    axes.set(xlabel="width (pixels)", ylabel="height (pixels)")
    _plain(axes, f"Sizes: {_range(statistics.widths)} × {_range(statistics.heights)} pixels")


def _range(values: NDArray[np.int64]) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low}–{high}"


def _draw_exposures(axes: "Axes", statistics: Statistics) -> None:
    axes.axvspan(0, DARK, color=_FAINT, lw=0)
    axes.axvspan(BRIGHT, LEVELS + 1, color=_FAINT, lw=0)
    axes.hist(statistics.exposures, [float(edge) for edge in _bins()], color=_BLUE, rwidth=0.9)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
    for x, share, side in (
        (4, statistics.dark_share, "left"),
        (LEVELS - 3, statistics.bright_share, "right"),
    ):
        axes.text(
            x,
            0.97,
            _percent(share),
            ha=side,
            va="top",
            color=_INK,
            transform=axes.get_xaxis_transform(),
        )
    axes.set(xlim=(0, LEVELS + 1), xlabel="mean gray level", ylabel="images")
    axes.set_xticks([0, DARK, 128, BRIGHT, LEVELS])
    _plain(axes, "Exposure")


def _plain(axes: "Axes", title: str) -> None:
    axes.set_title(title, loc="left", size=11, color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=9)


def _caption(figure: "Figure", statistics: Statistics, title: str) -> None:
    parts = [f"{statistics.images:,} images", f"{len(statistics.classes)} classes"]
    if statistics.videos != statistics.images:
        parts.insert(1, f"{statistics.videos:,} videos")
    if statistics.unlabelled:
        parts.append(f"{statistics.unlabelled:,} without a label")
    if statistics.unreadable:
        parts.append(f"{len(statistics.unreadable)} unreadable")
    if statistics.damaged:
        parts.append(f"{len(statistics.damaged)} damaged")
    figure.suptitle(f"{_name(title)}: {', '.join(parts)}", size=14, x=0.012, ha="left", color=_INK)
    levels = "   ".join(
        f"{name} {mean:.1f} ± {deviation:.1f}"
        for name, mean, deviation in zip(
            ("red", "green", "blue"), statistics.mean, statistics.deviation, strict=True
        )
    )
    shares = ", ".join(f"{mean:.4f}" for mean in statistics.mean / LEVELS)
    spread = ", ".join(f"{deviation:.4f}" for deviation in statistics.deviation / LEVELS)
    figure.supxlabel(
        f"All pixels, mean ± standard deviation:   {levels}      (of 1: {shares} ± {spread})",
        size=10,
        x=0.012,
        ha="left",
        color=_INK,
    )


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def _name(label: str, longest: int = 34) -> str:
    """Return a name as matplotlib shows it: not as a formula, and not longer than fits."""
    short = label if len(label) <= longest else f"{label[: longest - 1]}…"
    return no_formula(short)
