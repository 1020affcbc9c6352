"""The signs of two invented countries, as pages of coordinates that `signs` draws.

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

NORTHLAND: Final = Style(
    name="northland",
    paints={
        "rim": (232, 234, 236),
        "ground": (236, 238, 240),
        "white": (236, 238, 240),
        "black": (28, 26, 26),
        "red": (40, 26, 188),
        "blue": (158, 82, 14),
        "yellow": (16, 186, 244),
    },
    weight=0.36,
    glyph_width=0.78,
    slant=0.0,
    plates={
        "warning": """
            round:22 rim 0,-73 85,74 -85,74
            round:15 red 0,-73 85,74 -85,74
            round:9 ground 0,-39 55,57 -55,57""",
        "give-way": """
            round:22 rim 0,73 85,-74 -85,-74
            round:15 red 0,73 85,-74 -85,-74
            round:9 ground 0,39 55,-57 -55,-57""",
        "prohibition": """
            disc:97 rim 0,0
            disc:94 red 0,0
            disc:70 ground 0,0""",
        "mandatory": """
            disc:97 rim 0,0
            disc:92 blue 0,0""",
        "no-entry": """
            disc:97 rim 0,0
            disc:93 red 0,0""",
        "priority": """
            round:14 rim 0,-90 90,0 0,90 -90,0
            round:8 black 0,-88 88,0 0,88 -88,0
            round:8 white 0,-84 84,0 0,84 -84,0
            round:6 black 0,-52 52,0 0,52 -52,0
            round:6 yellow 0,-49 49,0 0,49 -49,0""",
        "stop": """
            fill rim -40,-97 40,-97 97,-40 97,40 40,97 -40,97 -97,40 -97,-40
            fill red -37,-89 37,-89 89,-37 89,37 37,89 -37,89 -89,37 -89,-37""",
    },
    pictograms=COMMON
    | {
        "ahead-only": "fill white -10,66 -10,-18 -36,4 -36,-24 0,-66 36,-24 36,4 10,-18 10,66",
        "keep-right": "fill white -54,-40 -40,-54 20,6 20,-26 44,-4 46,46 -4,44 -26,20 6,20",
        "roundabout": """
            curve:15 white 47,-17 41,-29 32,-39 20,-46
            curve:15 white -38,-32 -45,-21 -49,-8 -50,5
            curve:15 white -9,49 5,50 18,47 29,40
            fill white 14,-26 33,-63 -9,-49
            fill white -29,1 -71,2 -38,32
            fill white 15,25 38,60 47,17""",
        "no-overtaking": """
            fill red -58,18 -58,-2 -50,-4 -43,-20 -19,-20 -12,-4 -4,-2 -4,18
            fill red -56,18 -45,18 -45,28 -56,28
            fill red -17,18 -6,18 -6,28 -17,28
            fill ground -43,-5 -39,-14 -23,-14 -19,-5
            fill black 4,18 4,-2 12,-4 19,-20 43,-20 50,-4 58,-2 58,18
            fill black 6,18 17,18 17,28 6,28
            fill black 45,18 56,18 56,28 45,28
            fill ground 19,-5 23,-14 39,-14 43,-5""",
        "danger": """
            fill black -8,-20 8,-20 5,27 -5,27
            disc:8 black 0,43""",
        "children": """
            disc:7 black -13,-7
            line:11 black -13,8 -13,24
            line:6 black -14,6 -27,14 -30,25
            line:6 black -12,6 1,14 8,8
            line:7 black -13,25 -24,39 -34,54
            line:7 black -12,25 -4,39 -6,54
            disc:6 black 24,13
            line:9 black 24,25 24,35
            line:5 black 24,23 13,29 9,38
            line:5 black 25,23 35,30 42,26
            line:6 black 24,36 16,46 10,54
            line:6 black 24,36 33,45 33,54""",
        "cyclists": """
            disc:18 black -25,38
            disc:13 ground -25,38
            disc:18 black 25,38
            disc:13 ground 25,38
            line:5 black -25,38 -10,12 16,12 1,38 -25,38
            line:5 black 1,38 -12,7
            line:5 black 25,38 13,4 23,1
            line:5 black -19,6 -6,6""",
        "right-hand-curve": """
            curve:15 black -13,50 -13,26 -7,14 8,10
            fill black 7,-7 32,10 7,28
            fill black -20,58 -20,48 -5,48 -5,58""",
        "left-hand-curve": """
            curve:15 black 13,50 13,26 7,14 -8,10
            fill black -7,-7 -32,10 -7,28
            fill black 20,58 20,48 5,48 5,58""",
        "right-of-way": """
            fill black -9,58 -9,6 -17,6 0,-26 17,6 9,6 9,58
            fill black -33,24 33,24 33,34 -33,34""",
        "road-narrows-right": """
            fill black -22,58 -22,-4 -13,-4 -13,58
            fill black 27,58 27,34 13,14 13,-4 4,-4 4,18 18,38 18,58""",
        "road-works": """
            disc:7 black 0,-16
            line:12 black -3,-4 -13,14
            line:7 black -12,16 -1,32 -4,54
            line:7 black -15,16 -19,34 -33,54
            line:6 black 0,-3 10,12 20,20
            line:4 black -8,2 32,40
            blob black 12,58 20,44 32,36 44,46 52,58""",
        "slippery-road": """
            fill black -25,17 -21,5 -13,3 -11,-9 10,-15 18,-5 27,-6 31,3
            fill ground -7,0 -6,-6 8,-10 12,-5
            fill black -24,17 -17,15 -14,25 -21,27
            fill black 22,4 30,2 32,12 25,14
            curve:5 black -15,29 -20,36 -8,42 -15,49 -27,57
            curve:5 black 26,17 17,25 29,34 16,44 8,57""",
        "uneven-road": """
            fill black -50,58 -50,46 50,46 50,58
            blob black -46,48 -36,38 -25,22 -14,38 -4,48 -25,50
            blob black 46,48 36,38 25,22 14,38 4,48 25,50""",
    },
)

SOUTHLAND: Final = Style(
    name="southland",
    paints={
        "rim": (54, 48, 206),
        "ground": (158, 222, 240),
        "white": (206, 236, 244),
        "black": (52, 34, 34),
        "red": (52, 46, 214),
        "blue": (196, 124, 30),
        "yellow": (18, 128, 240),
    },
    weight=0.46,
    glyph_width=0.92,
    slant=0.16,
    plates={
        "warning": """
            round:26 rim 0,-70 83,72 -83,72
            round:8 ground 0,-35 54,58 -54,58""",
        "give-way": """
            round:26 rim 0,70 83,-72 -83,-72
            round:8 ground 0,35 54,-58 -54,-58""",
        "prohibition": """
            disc:97 rim 0,0
            disc:64 ground 0,0""",
        "mandatory": """
            disc:97 blue 0,0
            disc:91 white 0,0
            disc:84 blue 0,0""",
        "no-entry": """
            disc:97 rim 0,0
            disc:91 white 0,0
            disc:86 red 0,0""",
        "priority": """
            round:20 white 0,-86 86,0 0,86 -86,0
            round:10 yellow 0,-60 60,0 0,60 -60,0""",
        "stop": """
            round:6 red -39,-94 39,-94 94,-39 94,39 39,94 -39,94 -94,39 -94,-39
            fill white -36,-87 36,-87 87,-36 87,36 36,87 -36,87 -87,36 -87,-36
            fill red -33,-80 33,-80 80,-33 80,33 33,80 -33,80 -80,33 -80,-33""",
    },
    pictograms=COMMON
    | {
        "speed-limit-50": "text:28 black 50",
        "speed-limit-70": "text:28 black 70",
        "stop": "text:24 white STOP",
        "no-entry": "round:8 white -60,-12 60,-12 60,12 -60,12",
        "ahead-only": "fill white -15,60 -15,-10 -42,-10 0,-66 42,-10 15,-10 15,60",
        "keep-right": "fill white -54,-33 -33,-54 12,-9 30,-28 48,48 -28,30 -9,12",
        "roundabout": """
            curve:12 white 48,0 45,-18 35,-33 20,-44
            curve:12 white -24,-42 -38,-30 -46,-13 -48,5
            curve:12 white -24,42 -7,48 12,47 28,39
            fill white 14,-26 31,-58 -3,-48
            fill white -30,1 -66,2 -40,27
            fill white 16,25 35,56 43,21""",
        "no-overtaking": """
            blob black -54,16 -52,-2 -42,-16 -18,-16 -8,-2 -6,16 -30,20
            disc:7 black -44,20
            disc:7 black -16,20
            fill ground -42,-3 -37,-11 -23,-11 -18,-3
            blob red 54,16 52,-2 42,-16 18,-16 8,-2 6,16 30,20
            disc:7 red 44,20
            disc:7 red 16,20
            fill ground 42,-3 37,-11 23,-11 18,-3""",
        "danger": """
            blob black -9,-8 0,-15 9,-8 5,16 0,32 -5,16
            disc:7 black 0,44""",
        "children": """
            disc:7 black 8,-2
            fill black 8,4 22,36 -6,36
            line:6 black 6,10 -6,20
            line:6 black 10,10 22,20
            line:6 black 3,36 -1,54
            line:6 black 12,36 20,53
            disc:6 black -19,16
            line:10 black -19,28 -19,38
            line:5 black -19,26 -8,22
            line:5 black -20,26 -31,34
            line:6 black -20,38 -30,54
            line:6 black -18,38 -12,54""",
        "cyclists": """
            disc:14 black -21,42
            disc:10 ground -21,42
            disc:14 black 21,42
            disc:10 ground 21,42
            line:4 black -21,42 -8,26 2,42 -21,42
            line:4 black 2,42 15,24 21,42
            line:9 black -8,20 4,2
            disc:7 black 10,-8
            line:5 black 4,4 10,16 18,20
            line:6 black -8,22 6,28 2,43""",
        "right-hand-curve": "curve:16 black -15,46 -14,32 -4,17 7,6 9,-4",
        "left-hand-curve": "curve:16 black 15,46 14,32 4,17 -7,6 -9,-4",
        "right-of-way": """
            fill black -14,54 -14,8 0,-16 14,8 14,54
            fill black -34,28 34,28 34,35 -34,35""",
        "road-narrows-right": """
            curve:9 black -20,50 -20,36 -12,18 -12,2
            curve:9 black 26,50 25,40 9,26 9,2""",
        "road-works": """
            disc:7 black 6,-8
            curve:12 black 3,4 -8,8 -15,20
            line:7 black -15,22 -6,36 -10,50
            line:7 black -16,22 -24,36 -28,50
            line:6 black 2,6 8,20 0,28
            line:4 black -10,28 18,24 26,38
            fill black 6,54 26,34 46,54""",
        "slippery-road": """
            blob black -19,16 -17,4 -10,-6 10,-6 17,4 19,16 0,18
            fill ground -10,3 -7,-2 7,-2 10,3
            fill black -18,14 -10,14 -10,22 -18,22
            fill black 18,14 10,14 10,22 18,22
            curve:6 black -11,26 2,35 15,44 8,56
            curve:6 black 11,26 -2,35 -15,44 -8,56""",
        "uneven-road": """
            fill black -50,57 -50,46 50,46 50,57
            disc:16 black -19,46
            disc:16 black 19,46""",
    },
)

STYLES: Final = {style.name: style for style in (NORTHLAND, SOUTHLAND)}
