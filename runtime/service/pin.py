"""A GPIO pin that is on while a label is seen: a lamp, a relay, a buzzer."""

import warnings
from typing import Any

from leansight.runtime.errors import LeansightError
from leansight.runtime.extras import require
from leansight.runtime.stream.classified_stream import StreamResult


class Pin:
    """Switches a pin on while an event of one label lasts.

    It is off where no prediction is made (stale, frozen, unusable, ...), and after `close`.
    """

    trouble = ""

    def __init__(self, label: str, number: int) -> None:
        """Take the pin `number`, as the processor counts its GPIO pins, and switch it off.

        Raises:
            MissingExtraError: gpiozero is not installed.
            LeansightError: there is no such pin, or it may not be used.

        """
        gpiozero: Any = require(
            "gpiozero", package="gpiozero", extra=None, system_package="python3-gpiozero"
        )
        self._label = label
        self._lasting = set[int]()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of each library for pins that is not there
                self._device = gpiozero.OutputDevice(number)
        except Exception as error:  # gpiozero lets pass what its library for pins raises
            reason = str(error).rstrip("!.")
            raise LeansightError(
                f"pin {number} cannot be used: {reason}. On a Raspberry Pi: sudo apt install "
                "python3-gpiozero python3-lgpio, and be in the group gpio",
                parameter="pin",
            ) from error

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        for event in result.events:
            if event.label == self._label and event.end_s is None:
                self._lasting.add(event.number)
            else:
                self._lasting.discard(event.number)
        wanted = bool(self._lasting) and result.prediction is not None
        if wanted != bool(self._device.value):
            self._device.value = wanted

    def close(self) -> None:
        """See `Output`."""
        self._device.off()
        self._device.close()
