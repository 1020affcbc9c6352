"""Where an MQTT broker is, and who asks it."""

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from leansight.runtime.errors import DataError

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, kw_only=True)
class MqttBroker:
    """Where a broker is, and with what all topics there begin, without a slash at its end."""

    host: str
    port: int
    prefix: str
    is_encrypted: bool = False
    user: str | None = None
    password: str | None = None

    @classmethod
    def from_url(cls, url: str, *, prefix: str, password: str | None = None) -> Self:
        """Read mqtt://USER@HOST:PORT/PREFIX, or mqtts:// for TLS; `prefix` where it has none.

        Raises:
            DataError: it is no such URL, or it holds a password, which all could read who list
                the processes of the machine.

        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise DataError(f"{url!r} is no URL: {error}", parameter="mqtt") from error
        if parts.password is not None:
            raise DataError(
                "a password does not belong into the URL of a broker, where others can read it: "
                "put it into a file",
                parameter="mqtt",
            )
        own_prefix = unquote(parts.path).strip("/") or prefix
        if parts.scheme not in _PORTS or not parts.hostname or set("+#") & set(own_prefix):
            raise DataError(
                f"{url!r} is no URL such as mqtt://user@host:1883/garden", parameter="mqtt"
            )
        return cls(
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            prefix=own_prefix,
            is_encrypted=parts.scheme == "mqtts",
            user=unquote(parts.username) if parts.username else None,
            password=password,
        )
