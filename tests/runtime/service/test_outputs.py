import pytest

from leansight.runtime.service.outputs import Output, Outputs


class Double(Output):
    """An output that fails to close where it is told to."""

    trouble = ""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.closed = False

    def close(self) -> None:
        self.closed = True
        if self.fails:
            raise OSError("no")


def test_what_was_added_is_closed_although_another_output_fails() -> None:
    outputs, first, second = Outputs(lambda *_: None), Double(fails=True), Double()
    outputs.add({"first": first})
    outputs.add({"second": second})
    with pytest.raises(OSError, match="no"):
        outputs.close()
    assert first.closed
    assert second.closed
