"""A classifier in a process of its own: native code that crashes or hangs ends with it alone."""

import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import Prediction
from leansight.runtime.errors import (
    BundleError,
    InferenceError,
    LeansightError,
    MissingExtraError,
)
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.capture.process import ChildProcess, Message

# How long a model may take to load, and one image to be classified; a slow Pi takes its time.
START_TIMEOUT_S: Final = 60.0
INFERENCE_TIMEOUT_S: Final = 10.0
# From one start to the next, at least; the last value repeats.
START_INTERVALS_S: Final = (0.0, 1.0, 2.0, 4.0)
# So many failures without so many seconds of predictions between them: the next bundle is tried.
FAILURES: Final = 3
STEADY_S: Final = 60.0
MODULE: Final = "leansight.runtime.stream.inference_process"


class IsolatedClassifier:
    """Classifies images as `Classifier` does, with the first of some bundles that does not fail.

    `bundle` is the one at work; `fallback_reason` says why it is not the first, a line for people.

    Examples:
        >>> with IsolatedClassifier(["signs.bundle", "last-good.bundle"]) as classifier:
        ...     print(classifier(image).label)

    """

    def __init__(
        self,
        bundles: Sequence[Path | str],
        *,
        model_format: Format | None = None,
        threads: int = 1,
        threshold: float | None = None,
        trust: Path | None = None,
    ) -> None:
        """Load the first bundle, and wait until it is warm.

        Args:
            bundles: the bundle, and those that take its place, in this order, when it cannot be
                read, or when its process fails three times within a minute.
            model_format: see `Classifier.load`.
            threads: see `Classifier.load`.
            threshold: see `Classifier.load`.
            trust: see `Bundle.load`; asked of each of the bundles.

        Raises:
            BundleError: no bundle can be read; it tells of the last one.
            InferenceError: the process of the last bundle fails again and again.
            MissingExtraError: the interpreter is not installed.

        """
        self.fallback_reason = ""
        self._options = {
            "model_format": model_format,
            "threads": threads,
            "threshold": threshold,
            "trust": None if trust is None else str(trust),
        }
        self._trust = trust
        self._others = [Path(bundle) for bundle in bundles]
        self._process: ChildProcess | None = None
        self._failures = 0
        self._failure = ""
        self._start_at = 0.0
        self._steady_at = 0.0
        self.bundle = self._next_readable()
        while self._process is None:
            time.sleep(max(0, self._start_at - time.monotonic()))
            try:
                self._process = self._started()
            except InferenceError:
                if self._failures >= FAILURES:
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, image: Image) -> Prediction:
        """Classify an image (H, W, 3) uint8 BGR.

        Raises:
            InferenceError: the process crashed, or did not answer; a later call starts another.

        """
        if self._process is None:
            if time.monotonic() < self._start_at:
                raise InferenceError(self._failure)
            self._process = self._started()
        self._process.slot.write(Frame(image=image, number=1, time_s=0))
        self._process.ask()
        answer = self._process.receive(INFERENCE_TIMEOUT_S)
        if answer is None or answer.kind != "prediction":
            raise self._failed(self._process, answer, INFERENCE_TIMEOUT_S)
        if time.monotonic() >= self._steady_at:
            self._failures = 0
        return _prediction_of(answer.text)

    @property
    def pid(self) -> int:
        """The number of the process at work, 0 while there is none."""
        return self._process.pid if self._process else 0

    def close(self) -> None:
        """End the process; a second call does nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.close()
        self._process = None

    def _next_readable(self) -> Bundle:
        """Return the first bundle of the others that can be read."""
        while True:
            try:
                return Bundle.load(self._others.pop(0), trust=self._trust)
            except BundleError as error:
                if not self._others:
                    raise
                self.fallback_reason = str(error)

    def _started(self) -> ChildProcess:
        """Return a process whose model is warm."""
        job = json.dumps({"path": str(self.bundle.path), **self._options})
        process = _start_deaf(job.encode())
        try:
            answer = process.receive(START_TIMEOUT_S)
        except BaseException:  # Ctrl-C while it loads
            process.kill()
            process.close()
            raise
        if answer is None or answer.kind != "ready":
            raise self._failed(process, answer, START_TIMEOUT_S)
        self._steady_at = time.monotonic() + STEADY_S
        return process

    def _failed(
        self, process: ChildProcess, answer: Message | None, timeout_s: float
    ) -> LeansightError:
        """End the process; return the error of it, and have the next bundle used if need be."""
        process.kill()
        reason = f"{self.bundle.path}: {_reason_of(process, answer, timeout_s)}"
        process.close()
        self._process = None
        if answer is not None and answer.kind == "missing":
            return MissingExtraError(*json.loads(answer.text))
        self._failures += 1
        self._failure = reason
        interval_s = START_INTERVALS_S[min(self._failures, len(START_INTERVALS_S)) - 1]
        self._start_at = time.monotonic() + interval_s
        if self._failures >= FAILURES and self._others:
            self.fallback_reason = reason
            self.bundle = self._next_readable()
            self._failures = 0
        return InferenceError(reason)


def _start_deaf(job: bytes) -> ChildProcess:
    """Start the process so that Ctrl-C and systemd do not reach it: we end it, in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        return ChildProcess(job, MODULE)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _reason_of(process: ChildProcess, answer: Message | None, timeout_s: float) -> str:
    """Return why a process that has been ended has failed."""
    if answer is None:
        return f"no answer for {timeout_s:g} s"
    return answer.text if answer.kind in {"failed", "bundle"} else process.end_text()


def _prediction_of(text: str) -> Prediction:
    values = json.loads(text)
    top = tuple((label, score) for label, score in values["top"])
    return Prediction(**values | {"labels": tuple(values["labels"]), "top": top})
