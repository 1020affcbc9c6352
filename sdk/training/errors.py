"""What ends a training, and is told from other errors by commands that have not loaded torch."""

from leansight.runtime.errors import LeansightError


class ReaderError(LeansightError):
    """A process that reads the images of a training was killed, or crashed."""
