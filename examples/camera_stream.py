"""Classify what a camera sees: newest frame wins, a label or "not sure" for each.

python camera_stream.py signs.bundle --source 0              camera 0, JSON lines
python camera_stream.py signs.bundle --source picamera2      the Pi's own camera
python camera_stream.py signs.bundle --source drive.mp4 --save labelled.mp4

Needs the extra `pi`, and for picamera2 an environment made with --system-site-packages.
"""

import json
import signal
import sys
from argparse import ArgumentParser, RawTextHelpFormatter

import cv2

from leansight import runtime


def main() -> None:
    """Run until the source ends or Ctrl-C."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--source", default="0", help="a camera, picamera2, a file, a URL, ...")
    parser.add_argument("--save", metavar="VIDEO.mp4", help="write the frames with their labels")
    args = parser.parse_args()
    classifier = runtime.Classifier.load(args.bundle)
    video = cv2.VideoWriter()
    with runtime.CameraStream(args.source, on_state=tell) as frames:
        for frame in frames:
            prediction = classifier(frame.image)
            line = {"frame": frame.number, "time": frame.time_s, **prediction.to_dict()}
            print(json.dumps(line), flush=True)
            if args.save:
                height, width = frame.image.shape[:2]
                if not video.isOpened():
                    video.open(args.save, cv2.VideoWriter.fourcc(*"mp4v"), 12, (width, height))
                draw(prediction, frame.image)
                video.write(frame.image)
    video.release()


def tell(state: str, reason: str) -> None:
    """Print how the stream is from now on: "running", "stale" or "reconnecting"."""
    print(json.dumps({"state": state, "reason": reason}), flush=True)


def draw(prediction: runtime.Prediction, image: runtime.Image) -> None:
    """Draw the labels and the best one's score, or "not sure", top left."""
    none = "no label" if prediction.status == "sure" else "not sure"
    text = f"{', '.join(prediction.labels) or none} {prediction.score:.0%}"
    cv2.rectangle(image, (0, 0), (image.shape[1], 32), (0, 0, 0), cv2.FILLED)
    cv2.putText(image, text, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (190, 190, 190))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as systemd ends it, and Ctrl-C
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
    except runtime.LeansightError as error:
        sys.exit(f"camera_stream: {error}")
