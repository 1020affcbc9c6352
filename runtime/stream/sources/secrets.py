"""What may be shown of a source's name: not who logs in at a camera, and with which password."""

import re
from typing import Final

# A URL's user and password end at the last "@" before a "/" (RFC 3986, 3.2); many cameras take them
# in the query, and GStreamer's elements as properties.
_SECRETS: Final = (
    (re.compile(r"://[^/\s]*@"), "://…@"),
    (re.compile(r"(://[^\s?\"']*\?)[^\s\"']+"), r"\1…"),
    (re.compile(r"\b((?:user|proxy)-(?:id|pw))\s*=\s*(?:\"[^\"]*\"|'[^']*'|\S+)"), r"\1=…"),
)


def without_secrets(text: str) -> str:
    """Return text with dots for the user, the password and the query of each URL."""
    for secret, dots in _SECRETS:
        text = secret.sub(dots, text)
    return text
