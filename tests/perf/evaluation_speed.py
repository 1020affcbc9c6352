"""Print how much longer judging a bundle takes than its inference alone, and in what memory.

    python tests/perf/evaluation_speed.py BUNDLE DATA [--images 10000] [--rounds 3]

Judging reads and prepares every image; inference alone runs the same model as often on images
that are prepared and in memory. In turns, so that a busy machine slows both.
"""

import argparse
import itertools
import resource
import statistics
import time
from pathlib import Path

from leansight.sdk.data.images import images_folder, read_sample
from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.evaluation.answers import BATCH, ask, load_model


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = load_model(arguments.bundle)
    known = [s for s in find_samples(arguments.data) if set(s.labels) <= set(model.labels)]
    samples = list(itertools.islice(itertools.cycle(known), arguments.images))
    folder = images_folder(arguments.data)
    batch = model.preprocessing(read_sample(folder, samples[0])).repeat(BATCH, axis=0)
    judging, inference = [], []
    ask(model, arguments.data, samples[:BATCH])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        ask(model, arguments.data, samples)
        judged = time.perf_counter()
        for _ in range(0, len(samples), BATCH):
            model.answer(batch)
        judging.append(judged - start)
        inference.append(time.perf_counter() - judged)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    pairs = zip(judging, inference, strict=True)
    ratio = statistics.median(both / alone for both, alone in pairs)
    print(f"{len(samples)} images: judging {statistics.median(judging):.1f} s, "
          f"inference alone {statistics.median(inference):.1f} s, ratio {ratio:.2f}")  # fmt: skip
    print(f"peak memory grew by {grown:.0f} MB")


if __name__ == "__main__":
    main()
