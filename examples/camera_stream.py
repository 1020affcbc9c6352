"""Classify what a camera sees: newest frame wins, a label or "not sure" for each.

python camera_stream.py signs.bundle --source 0              camera 0, JSON lines
python camera_stream.py signs.bundle --picamera2             the Pi's own camera
python camera_stream.py signs.bundle --source drive.mp4 --save labelled.mp4
"""

import argparse
import json
import sys

import cv2

from leansight.runtime import (
    CameraStream,
    Classifier,
    Frame,
    LeansightError,
    PiCamera2Source,
    Prediction,
)


def main() -> None:
    """Run until the source ends or Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle")
    parser.add_argument("--source", default="0", help="a camera's number, a file or a URL")
    parser.add_argument("--picamera2", action="store_true", help="the Pi's camera module")
    parser.add_argument("--save", metavar="VIDEO.mp4", help="write the frames with their labels")
    args = parser.parse_args()
    classifier = Classifier.load(args.bundle)
    writer: cv2.VideoWriter | None = None
    with CameraStream(PiCamera2Source if args.picamera2 else args.source) as frames:
        for frame in frames:
            prediction = classifier(frame.image)
            line = {"frame": frame.number, "time": frame.time_s, **prediction.to_dict()}
            print(json.dumps(line), flush=True)
            if args.save:
                size = frame.image.shape[1::-1]
                writer = writer or cv2.VideoWriter(
                    args.save, cv2.VideoWriter.fourcc(*"mp4v"), 12, size
                )
                writer.write(labelled(frame, prediction))
    if writer:
        writer.release()


def labelled(frame: Frame, prediction: Prediction) -> cv2.typing.MatLike:
    """Return the frame with the label and its score, or "not sure", in its top left corner."""
    text = f"{prediction.label} {prediction.score:.0%}" if prediction.label else "not sure"
    colour = (80, 220, 80) if prediction.label else (160, 160, 160)
    image = frame.image.copy()
    cv2.putText(image, text, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 4, cv2.LINE_AA)
    cv2.putText(image, text, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 1, cv2.LINE_AA)
    return image


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
    except LeansightError as error:
        sys.exit(f"camera_stream: {error}")
