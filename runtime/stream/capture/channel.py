"""The child's side of the socket between a process and the one that has started it."""

import socket
import sys
from typing import Final

_LONGEST_MESSAGE: Final = 60_000  # bytes


class Channel:
    """A socket of packets to the parent, which hangs up when it wants no more.

    Then both calls end the process, by SystemExit: on the way out it closes what it holds.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def tell(self, kind: str, text: str = "") -> None:
        """Send a message: a word, and a text for people or of JSON."""
        try:
            self._socket.send(f"{kind} {text}".encode(errors="replace")[:_LONGEST_MESSAGE])
        except (BrokenPipeError, ConnectionResetError):
            sys.exit()

    def wait_for_a_request(self) -> None:
        """Wait until the parent asks for more."""
        if not self._socket.recv(1):
            sys.exit()
