from leansight.benchmarks.bare_input import bare_input
from leansight.benchmarks.emulation.frames import prepared_by
from leansight.runtime.pixels import compiled


def test_what_prepares_pictures_is_named() -> None:
    """Four channels are no leansight preprocessing: OpenCV makes them."""
    assert prepared_by(bare_input(8, 8, 4)) == "OpenCV"
    ours = "OpenCV" if compiled.library() is None else "leansight's C library"
    assert prepared_by(bare_input(8, 8, 3)) == ours
