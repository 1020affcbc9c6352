"""The signs of northland, as pages of coordinates: white grounds, white rims, upright figures."""

from typing import Final

from leansight.sdk.data.synthetic.styles import COMMON, Style

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
