import pickle

import pytest

from leansight.runtime.errors import (
    BundleError,
    DataError,
    LeansightError,
    MissingExtraError,
    SourceError,
)

KINDS = [LeansightError, BundleError, DataError, SourceError]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_names_the_parameter_also_in_another_process(kind: type[LeansightError]) -> None:
    error = kind("a.bundle exists already", parameter="out")
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own bytes
    for found in (error, copied):
        assert (type(found), str(found)) == (kind, "a.bundle exists already")
        assert found.parameter == "out"


@pytest.mark.parametrize("kind", KINDS)
def test_most_errors_are_of_no_parameter(kind: type[LeansightError]) -> None:
    assert kind("a.bundle is damaged").parameter is None


def test_a_missing_package_names_each_way_to_get_it() -> None:
    apt = "sudo apt install python3-x (for a virtual environment made with --system-site-packages)"
    said = {
        str(MissingExtraError("X", "pi")): "X is not installed. Type: pip install 'leansight[pi]'",
        str(MissingExtraError("X", None, "python3-x")): f"X is not installed. Type: {apt}",
        str(MissingExtraError("X", "pi", "python3-x")): (
            f"X is not installed. Type: pip install 'leansight[pi]', or: {apt}"
        ),
    }
    assert list(said) == list(said.values())
