"""Fork while a thread classifies, and let the children classify as well.

python fork_while_classifying.py BUNDLE FORMAT THREADS FORKS

Exit code 0 if every child has got the parent's answers within its time.
"""

import os
import signal
import sys
import threading
from typing import Any

import numpy as np

from leansight.runtime import Classifier

SECONDS = 30


def main() -> None:
    """Fork, and compare answers."""
    bundle, model_format, threads, forks = sys.argv[1:]
    wanted: Any = model_format
    classifier = Classifier.load(bundle, model_format=wanted, threads=int(threads))
    size = classifier.preprocessing.size
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    expected = classifier(image)
    done = threading.Event()

    def classify() -> None:
        while not done.is_set():
            classifier(image)

    worker = threading.Thread(target=classify)
    worker.start()
    try:
        for _ in range(int(forks)):
            if (child := os.fork()) == 0:
                signal.alarm(SECONDS)
                wrong = [answer for _ in range(3) if (answer := classifier(image)) != expected]
                os._exit(len(wrong))
            _, status = os.waitpid(child, 0)
            if status:
                sys.exit(f"a child ended with status {status}")
    finally:
        done.set()
        worker.join()


if __name__ == "__main__":
    main()
