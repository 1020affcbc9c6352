"""A result in a few words, for people."""

from leansight.runtime.decision import Prediction
from leansight.runtime.stream.classified_stream import StreamResult


def caption(result: StreamResult) -> str:
    """Return "stop 98 %", "not sure (stop 41 %)", or the state and why there is no label.

    Control characters, which labels of a bundle might have, are question marks.
    """
    if result.prediction is not None:
        text = of_prediction(result.prediction)
    else:
        text = ": ".join(filter(None, (result.health.state, result.health.reason)))
    return printable(text)


def printable(text: str) -> str:
    """Return the text with a question mark for each control character."""
    return "".join(c if c.isprintable() else "?" for c in text)


def percent(share: float) -> str:
    """Return such as "98 %"."""
    return f"{share * 100:.0f} %"


def of_prediction(prediction: Prediction) -> str:
    """Return the labels given, "not sure" and what was most probable, or "invalid output"."""
    if prediction.labels:
        return f"{', '.join(prediction.labels)} {percent(prediction.score)}"
    if prediction.status == "sure":
        return "no label"
    if not prediction.top:
        return prediction.status
    return f"not sure ({prediction.top[0][0]} {percent(prediction.score)})"
