"""What keeps an export from being made."""

from leansight.runtime.errors import LeansightError


class ConversionError(LeansightError):
    """The network cannot be made one int8 network in both formats; the message names the layer."""


class PruningError(LeansightError):
    """Channels cannot be taken out as was asked."""


FLOAT_ONLY = "this network can be exported in float32 only"
