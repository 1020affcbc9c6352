"""Classify what a camera sees: newest frame wins, a label or "not sure" for each.

python camera_stream.py signs.bundle --source 0              camera 0
python camera_stream.py signs.bundle --source picamera2      the Pi's own camera
python camera_stream.py signs.bundle --source drive.mp4      every frame of a video

Needs the extra `pi`, and for picamera2 an environment made with --system-site-packages.
`leansight stream` does the same and more: events, a page, a pin, MQTT, a video file.
"""

import argparse
import json
import signal
import sys

from leansight import runtime


def main() -> None:
    """Print a line for each frame and each new state, until the source ends or Ctrl-C."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("bundle")
    parser.add_argument("--source", default="0", help="a camera, a file, a URL or picamera2")
    args = parser.parse_args()
    classifier = runtime.Classifier.load(args.bundle)
    with runtime.CameraStream(args.source) as frames:
        for result in runtime.ClassifiedStream(frames, classifier):
            line: dict[str, object] = {"frame": result.frame.number} if result.frame else {}
            if result.prediction:
                line |= result.prediction.to_dict()
            if result.health.state != "running":
                line |= {"state": result.health.state, "reason": result.health.reason}
            if line:
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as systemd ends it, and Ctrl-C
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
    except runtime.LeansightError as error:
        sys.exit(f"camera_stream: {error}")
