"""No label of the picture hides another."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from leansight.sdk.search import pareto_plot as pareto_picture
from leansight.sdk.search.objectives import OBJECTIVES, pareto_front


def shown(seed: int, count: int) -> list[pareto_picture.PlotPoint]:
    """Return made-up bundles, some of them in the same place, with their front numbered."""
    rng = np.random.default_rng(seed)
    values = [
        {
            "accuracy": round(float(1 - 0.1 / (1 + cost)), 3),
            "coverage": round(float(0.9 - 0.2 / (1 + cost)), 2),
            "latency_ms": float(0.1 + cost),
            "size_bytes": float(round(1e4 * (1 + cost), -4)),
        }
        for cost in rng.lognormal(0, 1.2, count)
    ]
    front = pareto_front([[o.cost(v[o.field]) for o in OBJECTIVES.values()] for v in values])
    return [
        pareto_picture.PlotPoint(
            values=v,
            group=("int8", "float32")[i % 2],
            text="width 16, 48 px, 25% pruned, float32, 2 threads",
            number=front.index(i) + 1 if i in front else None,
        )
        for i, v in enumerate(values)
    ]


def labels_out_of_view(figure: Figure) -> Iterator[Text]:
    """Yield the labels of ticks that matplotlib has made but does not draw."""
    for axes in figure.findobj(Axes):
        assert isinstance(axes, Axes)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not axes.axison or not low <= tick.get_loc() <= high:
                    yield from (tick.label1, tick.label2)


ALL = tuple(OBJECTIVES)


@pytest.mark.parametrize(
    ("seed", "names"),
    [
        (0, ALL),
        (1, ALL),
        (0, ("accuracy", "latency", "size")),
        (1, ("accuracy", "latency")),
        (2, ("accuracy", "coverage")),
    ],
)
def test_no_label_of_the_picture_hides_another(seed: int, names: tuple[str, ...]) -> None:
    points, objectives = shown(seed, 24), [OBJECTIVES[name] for name in names]
    figure = pareto_picture.draw(points, objectives, title="A title", note="Small print. " * 40)
    figure.draw_without_rendering()
    not_drawn = set(labels_out_of_view(figure))
    everything = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    texts = [t for t in everything if isinstance(t, Text) and t.get_text() and t not in not_drawn]
    boxes = {t: Text.get_window_extent(t) for t in texts}
    for a, b in itertools.combinations(texts, 2):
        assert not boxes[a].overlaps(boxes[b]), (a.get_text(), b.get_text())
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0, text.get_text()
        assert box.x1 <= figure.bbox.x1, text.get_text()
        assert figure.bbox.y0 <= box.y0, text.get_text()
        assert box.y1 <= figure.bbox.y1, text.get_text()
    written = " ".join(t.get_text() for t in texts)
    for objective in objectives:
        assert f"{objective.what} ({objective.unit})" in written
    # Every number of the front is written in every panel.
    numbers = [s.number for s in points if s.number]
    gained = [o for o in objectives if o.direction == "maximize"]
    panels = len(gained) * (len(objectives) - len(gained)) or 1
    for number in numbers:
        assert len([t for t in texts if str(number) in t.get_text().split(", ")]) >= panels


@pytest.mark.parametrize("name", ALL)
def test_one_objective_has_a_picture_too(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    pareto_picture.write_pareto_picture(
        shown(0, 3), [OBJECTIVES[name]], picture, title="A", note="B"
    )
    assert cv2.imread(str(picture)) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]


def test_shares_end_at_the_whole() -> None:
    alike = [replace(s, values=s.values | {"accuracy": 0.999}) for s in shown(0, 3)]
    objectives = (OBJECTIVES["accuracy"], OBJECTIVES["size"])
    figure = pareto_picture.draw(alike, objectives, title="A", note="B")
    figure.draw_without_rendering()
    (panel,) = (
        a for a in figure.findobj(Axes) if isinstance(a, Axes) and "right" in a.get_ylabel()
    )
    least, greatest = panel.get_ylim()
    assert 99 < least < 99.9 < greatest < 100.2
