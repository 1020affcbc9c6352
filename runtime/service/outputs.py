"""Outputs: where the results of a stream go, one after the other."""

from collections.abc import Callable, Mapping
from typing import Protocol

from leansight.runtime.stream.classified_stream import StreamResult

# Called with the name of an output and its new trouble, "" where that is over.
OnTrouble = Callable[[str, str], None]


class Output(Protocol):
    """One place where results go.

    What cannot begin (a folder that is not there, a codec that is refused) raises when the output
    is made. What fails later (a full disk, a broker that is gone) raises nothing: it is `trouble`,
    and the stream goes on.
    """

    @property
    def trouble(self) -> str:
        """What keeps the output from working now, a line for people; "" while it works."""

    def write(self, result: StreamResult) -> None:
        """Take one result, in the thread of the stream: never wait for a network or a person."""

    def close(self) -> None:
        """Finish what was written and let go of everything, within a second."""


class Outputs:
    """Gives each result to all outputs, and tells of each one's trouble when it changes."""

    def __init__(self, on_trouble: OnTrouble) -> None:
        self._outputs: dict[str, Output] = {}
        self._on_trouble = on_trouble
        self._troubles: dict[str, str] = {}

    def add(self, outputs: Mapping[str, Output]) -> None:
        """Take outputs, by names that are not taken; `close` closes them."""
        self._outputs |= outputs
        self._troubles |= dict.fromkeys(outputs, "")

    def write(self, result: StreamResult) -> None:
        """Give the result to each output."""
        for name, output in self._outputs.items():
            output.write(result)
            self._tell(name, output.trouble)

    def close(self) -> None:
        """Close all outputs, also after one of them has failed to close."""
        errors = []
        for name, output in self._outputs.items():
            try:
                output.close()
            except Exception as error:  # noqa: BLE001 -- raised again when the others are closed
                errors.append(error)
            self._tell(name, output.trouble)
        if errors:
            raise errors[0]

    def _tell(self, name: str, trouble: str) -> None:
        if trouble != self._troubles[name]:
            self._troubles[name] = trouble
            self._on_trouble(name, trouble)
