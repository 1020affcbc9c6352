"""The signs of eastland, as pages of coordinates: yellow grounds, broad rims, slender figures."""

from typing import Final

from leansight.sdk.data.synthetic.styles import COMMON, Style

EASTLAND: Final = Style(
    name="eastland",
    paints={
        "rim": (34, 30, 170),
        "ground": (70, 206, 246),
        "white": (240, 240, 232),
        "black": (20, 20, 20),
        "red": (34, 30, 170),
        "blue": (140, 60, 26),
        "yellow": (40, 170, 250),
    },
    weight=0.3,
    glyph_width=0.86,
    slant=0.0,
    plates={
        "warning": """
            round:20 ground 0,-72 84,73 -84,73
            round:16 red 0,-70 82,71 -82,71
            round:6 ground 0,-40 58,59 -58,59""",
        "give-way": """
            round:20 ground 0,72 84,-73 -84,-73
            round:16 red 0,70 82,-71 -82,-71
            round:6 ground 0,40 58,-59 -58,-59""",
        "prohibition": """
            disc:97 ground 0,0
            disc:93 red 0,0
            disc:67 ground 0,0""",
        "mandatory": """
            disc:97 white 0,0
            disc:93 blue 0,0
            disc:86 white 0,0
            disc:82 blue 0,0""",
        "no-entry": """
            disc:97 ground 0,0
            disc:92 red 0,0""",
        "priority": """
            round:16 black 0,-88 88,0 0,88 -88,0
            round:12 white 0,-86 86,0 0,86 -86,0
            round:8 yellow 0,-58 58,0 0,58 -58,0""",
        "stop": """
            fill white -40,-97 40,-97 97,-40 97,40 40,97 -40,97 -97,40 -97,-40
            fill red -38,-92 38,-92 92,-38 92,38 38,92 -38,92 -92,38 -92,-38
            fill white -35,-84 35,-84 84,-35 84,35 35,84 -35,84 -84,35 -84,-35
            fill red -33,-80 33,-80 80,-33 80,33 33,80 -33,80 -80,33 -80,-33""",
    },
    pictograms=COMMON
    | {
        "no-entry": "fill ground -64,-20 64,-20 64,20 -64,20",
        "speed-limit-50": "text:36 black 50",
        "speed-limit-70": "text:36 black 70",
        "stop": "text:26 white STOP",
        "ahead-only": "fill white -11,64 -11,-24 -33,-24 0,-70 33,-24 11,-24 11,64",
        "keep-right": """
            line:22 white -42,-42 20,20
            fill white 50,50 46,0 0,46""",
        "roundabout": """
            curve:9 white 49,6 47,-14 36,-34 18,-46
            curve:9 white -30,-39 -42,-25 -48,-10 -47,8
            curve:9 white -18,46 0,50 18,46 32,36
            fill white 24,-28 26,-64 -8,-50
            fill white -32,2 -66,4 -44,30
            fill white 20,24 44,50 48,14""",
        "no-overtaking": """
            fill red -60,20 -60,0 -48,-2 -42,-18 -22,-18 -14,-2 -6,0 -6,20
            disc:7 red -47,22
            disc:7 red -18,22
            fill black 6,20 6,0 14,-2 22,-18 42,-18 48,-2 60,0 60,20
            disc:7 black 18,22
            disc:7 black 47,22
            fill ground -42,-3 -38,-13 -26,-13 -21,-3
            fill ground 42,-3 38,-13 26,-13 21,-3""",
        "danger": """
            line:14 black 0,-18 0,22
            disc:9 black 0,45""",
        "children": """
            disc:7 black -10,-4
            fill black -10,2 3,34 -23,34
            line:5 black -10,8 -22,20
            line:5 black -10,8 4,22
            line:6 black -14,34 -16,54
            line:6 black -6,34 -4,54
            disc:6 black 17,12
            line:9 black 17,24 17,36
            line:5 black 17,24 6,24
            line:5 black 17,24 28,36
            line:5 black 16,38 9,54
            line:5 black 19,38 28,54""",
        "cyclists": """
            disc:15 black -22,40
            disc:11 ground -22,40
            disc:15 black 22,40
            disc:11 ground 22,40
            line:4 black 22,40 8,22 -10,24 -2,40 22,40
            line:4 black -22,40 -12,18 -18,16
            line:8 black 10,20 -2,0
            disc:7 black -6,-11
            line:4 black -2,2 -12,16
            line:5 black 9,22 -3,28 -2,41""",
        "right-hand-curve": """
            curve:11 black -14,52 -14,36 -6,22 4,12 8,2
            fill black -6,2 22,6 10,-20""",
        "left-hand-curve": """
            curve:11 black 14,52 14,36 6,22 -4,12 -8,2
            fill black 6,2 -22,6 -10,-20""",
        "right-of-way": """
            fill black -11,56 -11,2 -11,2 0,-20 11,2 11,56
            fill black -36,26 36,26 36,34 -36,34""",
        "road-narrows-right": """
            curve:8 black -22,54 -22,38 -16,20 -16,0
            curve:8 black 28,54 24,38 12,24 8,0""",
        "road-works": """
            disc:7 black -8,-8
            curve:10 black -5,3 6,8 12,22
            line:6 black 12,24 4,38 6,54
            line:6 black 13,24 20,38 26,54
            line:5 black -4,4 -6,18 2,26
            line:4 black 8,24 -24,40
            blob black -8,57 -18,46 -28,42 -38,48 -48,57""",
        "slippery-road": """
            fill black -18,16 -18,2 -10,-2 -7,-14 9,-14 13,-3 20,0 20,14
            fill ground -5,-3 -3,-10 6,-10 9,-3
            fill black -16,14 -8,14 -8,22 -16,22
            fill black 18,14 10,14 10,22 18,22
            curve:5 black -12,28 -19,36 -9,46 -16,56
            curve:5 black 14,28 7,36 17,46 10,56""",
        "uneven-road": """
            fill black -50,58 -50,50 50,50 50,58
            blob black -40,52 -30,42 -20,34 -10,42 0,52
            blob black 0,52 10,42 20,34 30,42 40,52""",
    },
)
