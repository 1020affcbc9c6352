"""Switch a pin on while a camera sees one label: a lamp, a relay, a buzzer.

python 03_react_to_a_label.py signs.bundle stop --pin 17 --source 0
GPIOZERO_PIN_FACTORY=mock python 03_react_to_a_label.py signs.bundle stop --source drive.mp4

`leansight stream signs.bundle --pin stop=17` does the same; this is where your own reaction goes.

Needs the extra `pi`, and gpiozero: `sudo apt install python3-gpiozero`, in an environment that
was made with --system-site-packages. The second line runs anywhere, with pins that are not there.
"""

import argparse
import sys
from pathlib import Path

from gpiozero import OutputDevice

from leansight import runtime


def main() -> None:
    """Print when the pin goes on and off, until the source ends or Ctrl-C."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("label")
    parser.add_argument("--source", default="0", help="a camera's number, a file or a URL")
    parser.add_argument("--pin", type=int, default=17, help="its GPIO number")
    args = parser.parse_args()
    classifier = runtime.Classifier.load(args.bundle)
    if args.label not in classifier.labels:
        sys.exit(f"{args.bundle} knows no {args.label}, but {', '.join(classifier.labels)}")
    with OutputDevice(args.pin) as pin, runtime.CameraStream(args.source) as frames:
        for result in runtime.ClassifiedStream(frames, classifier):
            for event in result.events:  # several frames agreed: one alone may err
                if event.label == args.label:
                    pin.value = event.end_s is None
                    state = "on" if pin.value else "off"
                    print(f"{args.label}: pin {args.pin} is {state}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
    except runtime.LeansightError as error:
        sys.exit(f"03_react_to_a_label: {error}")
