"""The keys whose bundles this machine loads, as its owner has written them down."""

from pathlib import Path
from typing import Final

from leansight.runtime.system.regular_files import read_regular

POLICY: Final = Path("/etc/leansight/trust.toml")
SIGNATURE: Final = "model.sig"  # the file of a bundle that says who has made it
MOST_BYTES: Final = 1 << 20  # of it, of a policy, and of a key


def trusted_keys(policy: Path | None = None) -> list[Path] | None:
    """Return the files of the trusted public keys, None where there is no policy.

    `policy` is a TOML file, by default `POLICY`, which need not be there; its `keys` are paths,
    relative to it.

    Raises:
        ValueError: it is no such file, or names no keys.
        OSError: it cannot be read.

    """
    try:
        text = read_regular(policy or POLICY, MOST_BYTES).decode()
    except FileNotFoundError:
        if policy is None:
            return None
        raise
    import tomllib  # milliseconds that machines without a policy do not pay

    try:
        values = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    keys = values.pop("keys", None)
    if not isinstance(keys, list) or not keys or values or not all(type(k) is str for k in keys):
        raise ValueError('it must hold a list of files of public keys, such as keys = ["mine.pem"]')
    return [(policy or POLICY).parent / key for key in keys]
