"""What runs on the device: preprocessing, bundle, interpreter, decision, stream.

Importing it loads numpy and nothing heavier: OpenCV, interpreter and stream come at first use.
"""

from typing import TYPE_CHECKING

from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy, Prediction
from leansight.runtime.errors import (
    BrokenPackageError,
    BundleError,
    DamagedFrameError,
    DataError,
    LeansightError,
    MissingExtraError,
    SourceError,
    SourceOptionError,
)
from leansight.runtime.images import read_image
from leansight.runtime.lazy import import_on_first_use
from leansight.runtime.preprocessing import Clahe, Image, Preprocessing

if TYPE_CHECKING:
    from leansight.runtime.stream.camera_stream import CameraStream
    from leansight.runtime.stream.capture.frame_slot import Frame
    from leansight.runtime.stream.capture.health import Health
    from leansight.runtime.stream.classified_stream import ClassifiedStream, StreamResult
    from leansight.runtime.stream.events import Event, Smoothing
    from leansight.runtime.stream.sources.options import SourceOptions
    from leansight.runtime.stream.sources.picamera import PiCamera2Source
    from leansight.runtime.stream.sources.source import FrameFormat
else:
    __getattr__, __dir__ = import_on_first_use(
        __name__,
        {
            "stream.camera_stream": "CameraStream",
            "stream.classified_stream": "ClassifiedStream StreamResult",
            "stream.events": "Event Smoothing",
            "stream.capture.frame_slot": "Frame",
            "stream.capture.health": "Health",
            "stream.sources.options": "SourceOptions",
            "stream.sources.picamera": "PiCamera2Source",
            "stream.sources.source": "FrameFormat",
        },
        extra="pi",
    )

__all__ = [
    "BrokenPackageError",
    "Bundle",
    "BundleError",
    "CameraStream",
    "Clahe",
    "ClassifiedStream",
    "Classifier",
    "DamagedFrameError",
    "DataError",
    "DecisionPolicy",
    "Event",
    "Frame",
    "FrameFormat",
    "Health",
    "Image",
    "LeansightError",
    "MissingExtraError",
    "PiCamera2Source",
    "Prediction",
    "Preprocessing",
    "Smoothing",
    "SourceError",
    "SourceOptionError",
    "SourceOptions",
    "StreamResult",
    "read_image",
]
