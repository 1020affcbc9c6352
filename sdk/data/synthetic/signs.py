"""Traffic signs, drawn from the pages of coordinates in `styles`."""

from collections.abc import Callable, Mapping
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from leansight.runtime.preprocessing import Image
from leansight.sdk.data.synthetic.styles import GLYPHS, LABELS, PLATE_OF, Style

Points = npt.NDArray[np.float64]
Colour = tuple[int, int, int, int]

MIN_SIGN_PX: Final = 8
CANVAS_PX: Final = 600  # drawn at this size, then reduced: 3 px for each hundredth
SHIFT: Final = 4  # OpenCV's fixed point: 1/16 px


def draw_sign(label: str, style: Style, size: int) -> Image:
    """Draw one sign, facing the camera, as (size, size, 4) uint8 BGRA with a smooth edge.

    Alpha is not premultiplied.

    Raises:
        ValueError: `label` is not in `LABELS`, or `size` not in `MIN_SIGN_PX` to `CANVAS_PX`.

    """
    if label not in PLATE_OF:
        raise ValueError(f"no sign is called {label!r}; the signs are: {', '.join(LABELS)}")
    if not MIN_SIGN_PX <= size <= CANVAS_PX:
        raise ValueError(f"size must be {MIN_SIGN_PX} to {CANVAS_PX} px, not {size}")
    # The ground around the sign has the rim's colour, or a dark seam would show at its edge.
    canvas = np.full((CANVAS_PX, CANVAS_PX, 4), (*style.paints["rim"], 0), np.uint8)
    for drawing in (style.plates[PLATE_OF[label]], style.pictograms.get(label, "")):
        for mark in drawing.strip().splitlines():
            _paint(canvas, mark, style)
    return np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _paint(canvas: Image, mark: str, style: Style) -> None:
    """Paint one line of a drawing onto the canvas (CANVAS_PX, CANVAS_PX, 4) BGRA."""
    head, paint, *rest = mark.split()
    verb, _, number = head.partition(":")
    colour = (*style.paints[paint], 255)
    if verb == "text":
        _write(canvas, rest[0], float(number), colour, style)
    else:
        VERBS[verb](canvas, _points(rest), float(number or 0), colour)


def _points(words: list[str]) -> Points:
    """Read `x,y` words as (N, 2) float64."""
    return np.array([word.split(",") for word in words], np.float64)


def _smooth(points: Points, *, closed: bool = False) -> Points:
    """Return the Catmull-Rom curve through (N, 2) points, eight steps between two of them."""
    ends = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    a, b, c, d = np.lib.stride_tricks.sliding_window_view(
        np.concatenate([ends[0], points, ends[1]]), 4, axis=0
    ).transpose(2, 0, 1)[:, :, None]
    t = np.linspace(0, 1, 9)[:, None]
    curve = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.asarray(curve.reshape(-1, 2), np.float64)


def _fixed(points: Points) -> npt.NDArray[np.int32]:
    """Turn hundredths into OpenCV's fixed-point canvas pixels."""
    pixels = (points / 100 + 1) * (CANVAS_PX / 2)
    return np.rint(pixels * (1 << SHIFT)).astype(np.int32)


def _px(length: float) -> int:
    """Turn hundredths into whole canvas pixels, at least one."""
    return max(1, round(length / 100 * CANVAS_PX / 2))


def _fill(canvas: Image, points: Points, _: float, colour: Colour) -> None:
    cv2.fillPoly(canvas, [_fixed(points)], colour, cv2.LINE_AA, SHIFT)


def _round(canvas: Image, points: Points, width: float, colour: Colour) -> None:
    _fill(canvas, points, width, colour)
    _line(canvas, np.concatenate([points, points[:1]]), width, colour)


def _blob(canvas: Image, points: Points, width: float, colour: Colour) -> None:
    _fill(canvas, _smooth(points, closed=True), width, colour)


def _disc(canvas: Image, points: Points, radius: float, colour: Colour) -> None:
    x, y = _fixed(points)[0].tolist()
    cv2.circle(canvas, (x, y), _px(radius) << SHIFT, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _line(canvas: Image, points: Points, width: float, colour: Colour) -> None:
    cv2.polylines(
        canvas,
        [_fixed(points)],
        isClosed=False,
        color=colour,
        thickness=_px(width),
        lineType=cv2.LINE_AA,
        shift=SHIFT,
    )


def _curve(canvas: Image, points: Points, width: float, colour: Colour) -> None:
    _line(canvas, _smooth(points), width, colour)


VERBS: Final[Mapping[str, Callable[[Image, Points, float, Colour], None]]] = {
    "fill": _fill,
    "round": _round,
    "blob": _blob,
    "disc": _disc,
    "line": _line,
    "curve": _curve,
}


def _write(canvas: Image, text: str, half_height: float, colour: Colour, style: Style) -> None:
    """Write centred text, `half_height` hundredths from its middle to its top."""
    scale = half_height / 100
    advance = 2 * half_height * (style.glyph_width / 2 + style.weight / 2) + 4
    for index, character in enumerate(text):
        middle = (index - (len(text) - 1) / 2) * advance
        for stroke in GLYPHS[character].strip().splitlines():
            verb, *words = stroke.split()
            points = _points(words) * scale
            points[:, 0] = points[:, 0] * style.glyph_width - points[:, 1] * style.slant + middle
            VERBS[verb](canvas, points, half_height * style.weight, colour)
