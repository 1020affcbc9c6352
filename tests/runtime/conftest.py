"""Both ways to prepare an image."""

from collections.abc import Iterator

import pytest

from leansight.runtime.pixels import compiled


@pytest.fixture(scope="module", params=["in C", "with OpenCV"])
def each_implementation(request: pytest.FixtureRequest) -> Iterator[None]:
    """What asks for it holds for both ways to prepare an image."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "with OpenCV":
            patch.setattr(compiled, "library", lambda: None)
        elif compiled.library() is None:
            pytest.skip("prepare.c was not compiled when leansight was installed")
        yield
