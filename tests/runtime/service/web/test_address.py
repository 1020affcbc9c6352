import re
import socket
from pathlib import Path

import pytest

from leansight.runtime.errors import DataError, LeansightError
from leansight.runtime.service.web.address import Address, token_for

EVERYWHERE = "0.0.0.0"  # noqa: S104 -- nothing listens there
LOOPBACK = Address(host="127.0.0.1", port=8080)


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("8099", "127.0.0.1", 8099, True),
        (EVERYWHERE, EVERYWHERE, 8080, False),
        (f"{EVERYWHERE}:80", EVERYWHERE, 80, False),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:8081", "::1", 8081, True),
        ("[::]", "::", 8080, False),
        ("pi.local:8080", "pi.local", 8080, False),
        ("127.0.0.2", "127.0.0.2", 8080, True),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int, is_loopback: object) -> None:
    address = Address.parse(text, default="127.0.0.1:8080", parameter="web")
    assert address == Address(host=host, port=port)
    assert address.is_loopback == is_loopback


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:b", "127.0.0.1:99999", "70000", "signs.bundle/", "u@h:1", "[::1", "http://x"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(LeansightError, match=re.escape(f"{text!r} is no address")) as error:
        Address.parse(text, default="127.0.0.1:8080", parameter="web")
    assert error.value.parameter == "web"


def test_an_address_of_another_machine_is_one_clear_line() -> None:
    with pytest.raises(LeansightError, match=r"192\.0\.2\.7:8080 cannot be listened at: "):
        Address(host="192.0.2.7", port=8080).listen("web")


def test_an_address_listens_in_ipv6_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    try:
        listening = Address(host="::1", port=0).listen("web")
    except LeansightError as error:
        pytest.skip(f"there is no IPv6 here: {error}")
    with listening:
        port = listening.getsockname()[1]
        socket.create_connection(("::1", port)).close()
        assert Address(host="::1", port=0).url(port, None) == f"http://[::1]:{port}/"


def test_the_address_that_means_all_of_them_is_not_what_a_visitor_types() -> None:
    url = Address(host=EVERYWHERE, port=0).url(8080, "secret")
    assert re.fullmatch(r"http://(?!0\.0\.0\.0)[\w.-]+:8080/\?token=secret", url)


def test_a_loopback_needs_no_token_and_elsewhere_a_new_one_is_made() -> None:
    assert token_for(LOOPBACK, None, "web") is None
    everywhere = Address(host=EVERYWHERE, port=80)
    tokens = {token_for(everywhere, None, "web") for _ in range(3)}
    assert len(tokens) == 3
    assert all(token and len(token) >= 22 for token in tokens)


def test_a_token_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    assert token_for(LOOPBACK, file, "web_token_file") == "0123456789abcdef"


@pytest.mark.parametrize("text", ["", "short", "0123456789 abcdef", "<0123456789abcdef>"])
def test_a_file_without_a_good_token_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(DataError, match="holds no token") as error:
        token_for(LOOPBACK, file, "web_token_file")
    assert error.value.parameter == "web_token_file"


def test_a_token_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent cannot be read"):
        token_for(LOOPBACK, tmp_path / "absent", "web_token_file")
