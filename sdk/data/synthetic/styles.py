"""The language in which signs are drawn, and what the styles of all countries share.

A drawing is text, one mark per line: `VERB[:NUMBER] COLOUR x,y x,y ...`, painted in order.
Coordinates and numbers are hundredths of half the sign's width, x to the right, y down,
(0, 0) in the middle. The verbs:

    fill      polygon                          disc:R    disc of radius R
    round:W   polygon, grown by W/2            line:W    polyline of width W, round ends
    blob      closed smooth curve, filled      curve:W   smooth curve of width W through the points
    text:H    the words instead of points, half as tall as H says, in the country's lettering
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BGR = tuple[int, int, int]

# The plate on which each sign is drawn; the order of the labels is the alphabet's.
PLATE_OF: Final = {
    "ahead-only": "mandatory",
    "children": "warning",
    "cyclists": "warning",
    "danger": "warning",
    "give-way": "give-way",
    "keep-right": "mandatory",
    "left-hand-curve": "warning",
    "no-entry": "no-entry",
    "no-overtaking": "prohibition",
    "no-vehicles": "prohibition",
    "priority-road": "priority",
    "right-hand-curve": "warning",
    "right-of-way": "warning",
    "road-narrows-right": "warning",
    "road-works": "warning",
    "roundabout": "mandatory",
    "slippery-road": "warning",
    "speed-limit-50": "prohibition",
    "speed-limit-70": "prohibition",
    "stop": "stop",
    "uneven-road": "warning",
}
LABELS: Final = tuple(PLATE_OF)

# Strokes in a box from -50,-100 to 50,100: every character that a sign needs.
ROUND_GLYPH: Final = """
    curve 0,-100 36,-86 50,-42 50,0 50,42 36,86 0,100 -36,86 -50,42 -50,0 -50,-42 -36,-86 0,-100"""
GLYPHS: Final = {
    "0": ROUND_GLYPH,
    "O": ROUND_GLYPH,
    "5": """
    line 42,-100 -36,-100 -42,-8
    curve -42,-8 -8,-30 34,-14 48,34 34,84 -4,100 -48,76""",
    "7": """
    line -48,-100 48,-100
    curve 48,-100 16,-40 -6,30 -14,100""",
    "S": "curve 46,-72 18,-99 -24,-97 -47,-62 -34,-22 0,-3 34,18 47,60 26,96 -18,99 -48,74",
    "T": """
    line -50,-100 50,-100
    line 0,-100 0,100""",
    "P": """
    line 4,8 -42,8 -42,100 -42,-100 4,-100
    curve 4,-100 38,-86 48,-46 38,-6 4,8""",
}


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one country makes its signs: paints (BGR, 0 to 255), lettering, plates, pictograms.

    `weight` is the width of a stroke of text relative to half its height, `glyph_width` that of
    a character relative to its height / 2, `slant` how far its top leans to the right.
    """

    name: str
    paints: Mapping[str, BGR]
    weight: float
    glyph_width: float
    slant: float
    plates: Mapping[str, str]
    pictograms: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuse a style that cannot draw every sign."""
        if missing := set(PLATE_OF.values()) - set(self.plates):
            raise ValueError(f"style {self.name!r} has no plate for: {', '.join(sorted(missing))}")


# A few pictograms are the same everywhere.
COMMON: Final = {
    "no-entry": "fill white -70,-17 70,-17 70,17 -70,17",
    "speed-limit-50": "text:33 black 50",
    "speed-limit-70": "text:33 black 70",
    "stop": "text:30 white STOP",
}
