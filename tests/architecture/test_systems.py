"""What differs from one operating system to another stands in two small rooms."""

import io
import re
import tokenize
from pathlib import Path

import pytest
from house import FILES, name_of, room_of

ROOMS = {"runtime/system", "sdk/system"}
OF_ONE_SYSTEM = re.compile(
    r"/proc\b|/sys/|\bprctl\b|\bos\.fork\b|\"fork\"|\bsched_\w+|\bfcntl\b|\bflock\b|\bmallopt\b"
    r"|sys\.platform|platform\.system"
)


def named_in(code: str) -> list[str]:
    """Return what a file names of one system, but for its comments."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    lines = code.splitlines()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            line, column = token.start
            lines[line - 1] = lines[line - 1][:column]
    return OF_ONE_SYSTEM.findall("\n".join(lines))


# Run by other environments, which have no leansight whose rooms it could ask.
ALONE = {"benchmarks/peers/peer_worker.py"}
ASKED = [p for p in FILES if room_of(p) not in ROOMS and name_of(p) not in ALONE]


@pytest.mark.parametrize("path", ASKED, ids=name_of)
def test_other_rooms_name_nothing_of_one_operating_system(path: Path) -> None:
    assert not named_in(path.read_text())


def test_what_is_of_one_system_is_found() -> None:
    assert named_in('import fcntl\nx = Path("/proc/self")\nif sys.platform == "linux": pass')
    assert not named_in("x = 1  # not by fcntl, nor /proc")
