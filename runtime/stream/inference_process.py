"""The inference process: it classifies the frames that its parent writes into shared memory.

`IsolatedClassifier` starts it. Its standard input holds the arguments of `Classifier.load` as JSON.
It ends with its parent.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from leansight.runtime.classifier import Classifier
from leansight.runtime.errors import BundleError, MissingExtraError
from leansight.runtime.stream.capture.channel import Channel
from leansight.runtime.stream.capture.frame_slot import FrameSlot
from leansight.runtime.system.parent import end_with

# What the process tells, each with a text:
# ready: the model is loaded and warm. prediction (JSON of its fields): of the frame in the slot.
# failed (reason): another process may do better. No other would: bundle (reason), missing (JSON of
# the `remedy` of a MissingExtraError).


def main(parent: int, channel: int, slot: int) -> None:
    """Do the job from standard input, with the descriptors of the channel and of the slot."""
    if not end_with(parent):
        return
    told = Channel(channel)
    try:
        job = json.load(sys.stdin)
        trust = job.pop("trust")
        classifier = Classifier.load(**job, trust=None if trust is None else Path(trust))
        classifier.warm_up()
        told.tell("ready")
        _answer(classifier, told, FrameSlot(slot))
    except MissingExtraError as error:
        told.tell("missing", json.dumps(error.remedy))
    except BundleError as error:
        told.tell("bundle", str(error))
    except Exception as error:  # noqa: BLE001 -- the parent tells it
        told.tell("failed", f"{type(error).__name__}: {error}")


def _answer(classifier: Classifier, told: Channel, slot: FrameSlot) -> None:
    """Classify the frame in the slot at each request, until the parent hangs up."""
    while True:
        told.wait_for_a_request()
        frame = slot.read()
        assert frame is not None, "the parent writes before it asks"
        told.tell("prediction", json.dumps(asdict(classifier(frame.image))))
