"""Where a page is served, and the token that opens it."""

import ipaddress
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from leansight.runtime.errors import DataError, LeansightError

_LEAST_TOKEN: Final = 16  # characters
# Reserved for documentation (RFC 5737): nothing is sent there, but a route has to be chosen.
_ELSEWHERE: Final = ("192.0.2.1", 9)


@dataclass(frozen=True, kw_only=True)
class Address:
    """A host name or IP address of this machine, and a port (0: any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, default: str, parameter: str) -> "Address":
        """Return the address in "HOST:PORT", "HOST" or "PORT"; IPv6 as in "[::1]:8080".

        What is not given is taken from `default`, which has both.

        Raises:
            LeansightError: it is none.

        """
        usual = urlsplit(f"//{default}")
        assert usual.hostname
        assert usual.port
        try:
            parts = urlsplit(f"//{usual.hostname}:{text}" if text.isdigit() else f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.path or parts.query or parts.username is not None:
            raise LeansightError(
                f"{text!r} is no address: give HOST:PORT, such as {default}", parameter=parameter
            )
        return cls(host=host, port=usual.port if port is None else port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def listen(self, parameter: str) -> socket.socket:
        """Return a socket that listens there.

        Raises:
            LeansightError: the port is in use, or it is no address of this machine.

        """
        try:
            family, *_, where = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            return socket.create_server(where, family=family, backlog=64)
        except OSError as error:
            is_name = isinstance(error, socket.gaierror) or error.errno is None
            reason = str(error.strerror) if is_name else os.strerror(error.errno or 0)
            raise LeansightError(
                f"{self} cannot be listened at: {reason.lower()}. Choose another port or address",
                parameter=parameter,
            ) from error

    def url(self, port: int, token: str | None) -> str:
        """Return what a person types into a browser, for the port that was got."""
        shown = Address(host=_reachable(self.host), port=port)
        return f"http://{shown}/" + (f"?token={token}" if token else "")


def token_for(address: Address, file: Path | None, parameter: str) -> str | None:
    """Return the token in the file, or a new one; None on loopback where there is no file.

    Raises:
        DataError: the file cannot be read, or its token is too short.

    """
    if file is None:
        return None if address.is_loopback else secrets.token_urlsafe(18)
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}", parameter=parameter) from error
    if len(token) < _LEAST_TOKEN or not token.replace("-", "").replace("_", "").isalnum():
        raise DataError(
            f"{file} holds no token: {_LEAST_TOKEN} letters and digits or more, such as "
            f"{secrets.token_urlsafe(18)}",
            parameter=parameter,
        )
    return token


def _reachable(host: str) -> str:
    """Return an address of this machine that others can reach, for one that means all of them."""
    try:
        is_all = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host
    if not is_all:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        try:
            route.connect(_ELSEWHERE)
        except OSError:  # no network yet, as at boot
            return socket.gethostname()
        return str(route.getsockname()[0])
