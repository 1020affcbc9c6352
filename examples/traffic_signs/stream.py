"""Record which signs a stream of 30 frames a second finds, misses and makes up.

python stream.py signs/ run/ signs.bundle

The frames of each sign go through the smoothing of `leansight stream`: once each sign alone, as
`leansight evaluate --per-video` does it, and once one sign right after the other, as one stream.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from records import update_record
from signs import ask_about, load_countries, networks, parse, run_main

from leansight.runtime import Smoothing
from leansight.sdk import Answers, measure_events

FRAME_RATE = 30
# A Belgian pole has about three frames: the window of its stream is a tenth of a second.
SMOOTHING = {"Germany": Smoothing(), "Belgium": Smoothing(window_s=0.1)}


def in_a_row(answers: Answers) -> Answers:
    """Return the same answers as frames of one video: whole signs, those of a class spread out."""
    signs: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index in sorted(range(len(answers.samples)), key=lambda i: answers.samples[i].path):
        sample = answers.samples[index]
        signs[sample.label, sample.video].append(index)
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for (label, _), frames in signs.items():
        by_label[label].append(frames)
    placed = [
        ((number + 0.5) / len(videos), label, frames)
        for label, videos in by_label.items()
        for number, frames in enumerate(videos)
    ]
    order = [index for *_, frames in sorted(placed) for index in frames]
    samples = tuple(
        replace(answers.samples[index], video="row", path=Path(f"{number}.png"))
        for number, index in enumerate(order)
    )
    return replace(
        answers, samples=samples, classes=answers.classes[order], logits=answers.logits[order]
    )


def long_enough(answers: Answers, frames: int) -> Answers:
    """Return the answers to signs of so many frames or more: no stream finds shorter ones."""
    videos, counts = np.unique(answers.videos, return_counts=True)
    return answers.only(np.isin(answers.videos, videos[counts >= frames]))


def main() -> None:
    """Play each country's signs to each network."""
    args = parse(__doc__)
    rows: list[dict[str, Any]] = []
    countries = load_countries(args.signs, args.run)
    for network in networks(args.models, both=False):
        for country in countries:
            smoothing = SMOOTHING[country.name]
            answers = long_enough(ask_about(country, network), smoothing.least_frames)
            about = {"network": network.name, "kind": network.kind, "country": country.name}
            for way, played in (("alone", answers), ("in a row", in_a_row(answers))):
                events = measure_events(played, smoothing, FRAME_RATE)
                setting = {"way": way, "threshold": answers.policy.threshold}
                window = {"window_s": smoothing.window_s, "frames": events["frames"]}
                rows.append(about | setting | window | {"events": events["all"]})
                print(about | setting | events["all"])
    update_record("stream", args.results, rows)


if __name__ == "__main__":
    run_main(main)
