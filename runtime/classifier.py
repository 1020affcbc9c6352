"""The whole way of one image: preprocessing, interpreter, decision."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import DecisionPolicy, DecisionRule, Prediction, Task
from leansight.runtime.errors import BundleError, DataError
from leansight.runtime.first_load import require_runnable
from leansight.runtime.image_inputs import ImageInput, to_bgr
from leansight.runtime.interpreter import Format, Interpreter, load_interpreter, require_shape
from leansight.runtime.preprocessing import Preprocessing

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")
AnyInput = TypeVar("AnyInput", bound=ImageInput)
_READERS: Final = 4  # threads of a batch: OpenCV and interpreters work outside Python's lock


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Says of an image which label it shows (or which labels), or that it is not sure.

    `name` and `digest` are the bundle's, `format` is that of the model it runs. Threads may share
    a classifier: in TFLite their inferences take turns, in ONNX they run side by side. A forked
    process loads the model again at its first image; a classifier can be pickled, model and all.

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
    name: str = ""
    digest: str = ""
    format: Format | None = None
    _rule: DecisionRule = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_shape(self.interpreter, self.preprocessing.shape)
        object.__setattr__(self, "_rule", DecisionRule(self.labels, self.policy, self.task))

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        model_format: Format | None = None,
        threads: int = 1,
        threshold: float | None = None,
        trust: Path | None = None,
    ) -> "Classifier":
        """Load a bundle (a folder or a zip of it) once, for many images.

        One that this user has not loaded before runs in a process of its own first.

        Args:
            path: the bundle.
            model_format: "tflite" or "onnx"; by default the first that it holds
                and for which something is installed.
            threads: processor threads of the interpreter.
            threshold: replaces the bundle's own, of single labels as well, from 0 to 1.
            trust: see `Bundle.load`.

        Raises:
            BundleError: the bundle is missing, damaged, not trusted, or lacks the format; its
                model is no plain network, or crashes, hangs or takes too much memory.
            MissingExtraError: the format's interpreter is not installed.
            ValueError: threads or threshold out of range.

        """
        bundle = Bundle.load(path, trust=trust)
        chosen = bundle.choose_format(model_format)
        require_runnable(bundle, chosen)
        model = bundle.read(f"model.{chosen}")
        model_name = f"model.{chosen} of {bundle.path}"
        classifier = cls(
            preprocessing=bundle.preprocessing,
            interpreter=load_interpreter(model, chosen, threads=threads, name=model_name),
            labels=bundle.labels,
            policy=bundle.decision,
            task=bundle.task,
            name=bundle.name,
            digest=bundle.digest,
            format=chosen,
        )
        return classifier if threshold is None else classifier.with_threshold(threshold)

    def __call__(self, image: ImageInput, *, rgb: bool = False, top: int = 3) -> Prediction:
        """Classify one image.

        Args:
            image: an array, (H, W) or (H, W, 1) gray, (H, W, 3) BGR or (H, W, 4) BGR and alpha,
                uint8; a PIL image; the path of a file, or the bytes of one (JPEG, PNG, ...).
            rgb: the array's colours are in the order RGB.
            top: how many of the best classes the prediction names.

        Raises:
            DataError: the file is no image that can be read.
            ValueError: it is no such image, or `top` is negative; the classifier is closed.
            BundleError: the model gives another number of logits than there are labels.

        """
        return self._rule(self._logits(image, rgb=rgb), top=top)

    def probabilities(self, image: ImageInput, *, rgb: bool = False) -> NDArray[np.float64]:
        """Return the probabilities (K,) float64 of all labels, in their order.

        It takes and raises what a call does.
        """
        return self._rule.probabilities(self._logits(image, rgb=rgb))

    def classify_batch(
        self,
        images: Iterable[AnyInput],
        *,
        rgb: bool = False,
        top: int = 3,
        on_error: Callable[[AnyInput, DataError | OSError], None] | None = None,
    ) -> Iterator[tuple[AnyInput, Prediction]]:
        """Yield each of many images with its prediction, in their order.

        Some images are read ahead by threads, however many there are. With `on_error`, it is
        called with each file that cannot be read and with the error, and the others go on.

        Raises:
            DataError, OSError: a file cannot be read, and there is no `on_error`.
            ValueError: it is one path, and not many images.

        """
        if isinstance(images, str | bytes):
            raise ValueError(
                "images are many: list the files of a folder, or call the classifier for one"
            )
        for image, future in _run_ahead(lambda image: self(image, rgb=rgb, top=top), images):
            try:
                prediction = future.result()
            except (DataError, OSError) as error:
                if on_error is None:
                    raise
                on_error(image, error)
            else:
                yield image, prediction

    def with_threshold(self, threshold: float) -> "Classifier":
        """Return this classifier with another threshold, of all labels, from 0 to 1.

        Both share one model: who closes one has closed the other.
        """
        policy = replace(self.policy, threshold=threshold, label_thresholds={})
        return replace(self, policy=policy)

    def warm_up(self) -> None:
        """Classify a black image: the libraries are then loaded, and their memory is taken."""
        height, width = 2 * self.preprocessing.height, 2 * self.preprocessing.width
        self(np.zeros((height, width, 3), np.uint8))

    def close(self) -> None:
        """Give the model's memory back; later calls raise ValueError."""
        self.interpreter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _logits(self, image: ImageInput, *, rgb: bool) -> NDArray[np.float32]:
        logits = self.interpreter(self.preprocessing(to_bgr(image, rgb=rgb)))
        if len(logits) != len(self.labels):
            raise BundleError(
                f"the model gives {len(logits)} logits, but there are {len(self.labels)} labels: "
                "they do not belong together"
            )
        return logits


def _run_ahead(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, "Future[Result]"]]:
    """Yield each item with the future of its result, in their order, a few of them ahead."""
    from concurrent.futures import ThreadPoolExecutor  # 4 ms that few programs need

    with ThreadPoolExecutor(_READERS) as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > _READERS:
                yield waiting.popleft()
        yield from waiting
