"""The whole way of one image: preprocessing, interpreter, decision."""

from dataclasses import dataclass, replace
from pathlib import Path

from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import DecisionPolicy, Prediction, Task, decide
from leansight.runtime.errors import BundleError
from leansight.runtime.interpreter import Format, Interpreter, load_interpreter
from leansight.runtime.preprocessing import Image, Preprocessing


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Says of an image which label it shows (or which labels), or that it is not sure.

    Examples:
        >>> classifier = Classifier.load("signs.bundle")
        >>> classifier(cv2.imread("photo.jpg")).label
        'stop'

    """

    preprocessing: Preprocessing
    interpreter: Interpreter
    labels: tuple[str, ...]
    policy: DecisionPolicy
    task: Task = "classification"

    def __post_init__(self) -> None:
        if self.interpreter.input_shape != self.preprocessing.shape:
            raise BundleError(
                f"the model takes {self.interpreter.input_shape}, but the preprocessing gives "
                f"{self.preprocessing.shape}: they do not belong together"
            )

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        model_format: Format | None = None,
        threads: int = 1,
        threshold: float | None = None,
    ) -> "Classifier":
        """Load a bundle (a folder or a zip of it) once, for many images.

        Args:
            path: the bundle.
            model_format: "tflite" or "onnx"; by default the first that it holds
                and for which something is installed.
            threads: processor threads of the interpreter.
            threshold: replaces the bundle's own, of single labels as well, from 0 to 1.

        Raises:
            BundleError: the bundle is missing, damaged, or lacks the format.
            MissingExtraError: the format's interpreter is not installed.
            ValueError: threads or threshold out of range.

        """
        bundle = Bundle.load(path)
        chosen = bundle.choose_format(model_format)
        policy = bundle.decision
        if threshold is not None:
            policy = replace(policy, threshold=threshold, label_thresholds={})
        model = bundle.read(f"model.{chosen}")
        name = f"model.{chosen} of {bundle.path}"
        return cls(
            preprocessing=bundle.preprocessing,
            interpreter=load_interpreter(model, chosen, threads=threads, name=name),
            labels=bundle.labels,
            policy=policy,
            task=bundle.task,
        )

    def __call__(self, image: Image) -> Prediction:
        """Classify one image, (H, W, 3) uint8 BGR or (H, W) uint8 gray.

        Raises:
            ValueError: the array is no such image.
            BundleError: the model gives another number of logits than there are labels.

        """
        logits = self.interpreter(self.preprocessing(image))
        if len(logits) != len(self.labels):
            raise BundleError(
                f"the model gives {len(logits)} logits, but there are {len(self.labels)} labels: "
                "they do not belong together"
            )
        return decide(logits, self.labels, self.policy, task=self.task)
