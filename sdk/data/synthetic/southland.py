"""The signs of southland, as pages of coordinates: cream grounds, no rims, leaning figures."""

from typing import Final

from leansight.sdk.data.synthetic.styles import COMMON, Style

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
