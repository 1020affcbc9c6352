import json

import numpy as np
import pytest
from numpy.typing import NDArray
from shapes import LABELS
from trained_networks import Images, Pixels

from leansight.exporters.options import Promise
from leansight.exporters.verification.compare import compare, run_all
from leansight.exporters.verification.refusal import find_refusal
from leansight.exporters.verification.report import ExportReport
from leansight.runtime.decision import DecisionPolicy, Task, decide


def hand_made(policy: DecisionPolicy) -> ExportReport:
    classes = np.array([0, 0, 1, 1, 2], np.int64)
    low, sure = 0.0, 5.0  # softmax of (5, 0, 0) is 0.987, of (0.1, 0, 0) 0.356
    torch_logits = np.array(
        [[sure, 0, 0], [sure, 0, 0], [0, sure, 0], [0, sure, 0], [0, low + 0.1, 0]], np.float32
    )
    tflite = torch_logits.copy()
    tflite[3] = (sure, 0, 0)  # class 1 lost
    onnx_logits = tflite.copy()
    onnx_logits[4] = (0, 0, sure)  # class 2 won, and sure of it
    return compare(
        {"torch float32": torch_logits, "tflite int8": tflite, "onnx int8": onnx_logits},
        {"tflite int8": 10, "onnx int8": 20},
        Images(np.zeros((5, 1, 1, 1), np.uint8), classes),
        labels=LABELS,
        policy=policy,
        shipped=("tflite int8", "onnx int8"),
    )


def test_formats_are_compared_with_torch_class_by_class() -> None:
    report = hand_made(DecisionPolicy(threshold=0.5))
    reference, tflite, onnx_report = report.formats
    assert [f.name for f in report.formats] == ["torch float32", "tflite int8", "onnx int8"]
    assert [f.size_bytes for f in report.formats] == [0, 10, 20]
    assert [f.accuracy for f in report.formats] == [0.8, 0.6, 0.8]
    assert [f.coverage for f in report.formats] == [0.8, 0.8, 1.0]
    assert [f.agreement for f in report.formats] == [1.0, 0.8, 0.6]
    (loss,) = tflite.class_losses
    assert (loss.label, loss.images, loss.lost, loss.gained, loss.drop) == ("cross", 2, 1, 0, 0.5)
    assert onnx_report.class_losses == (loss,)
    # The coin falls so once in two; three classes are tested.
    assert (loss.p_value, loss.p_corrected) == (0.5, 1)
    assert reference.class_losses == ()
    assert report.right_by_class == {LABELS[0]: 2, LABELS[1]: 2, LABELS[2]: 0}
    assert [f.accuracy_drop.share for f in report.formats] == pytest.approx([0, 0.2, 0])
    assert [f.coverage_drop.share for f in report.formats] == pytest.approx([0, 0, -0.2])
    assert onnx_report.accuracy_drop.low == -onnx_report.accuracy_drop.high < 0
    assert reference.largest_difference == 0
    exponential = np.exp(5.0)
    expected = (exponential - 1) / (exponential + 2)
    assert tflite.largest_difference == pytest.approx(expected)
    # Of image 4 two probabilities of three changed places.
    assert tflite.mean_difference == pytest.approx(2 * expected / 15)
    assert report.agreement == 0.8  # the two that are shipped, with each other
    assert report.identical == 0.8
    assert report.images == 5


def test_the_policy_decides_what_agrees() -> None:
    # With no threshold torch's weak guess on the last image is a decision too.
    report = hand_made(DecisionPolicy(threshold=0))
    assert [f.coverage for f in report.formats] == [1, 1, 1]
    assert [f.agreement for f in report.formats] == [1.0, 0.8, 0.6]
    cautious = hand_made(DecisionPolicy(threshold=0.99))
    assert [f.coverage for f in cautious.formats] == [0, 0, 0]
    assert cautious.agreement == 1
    hot = hand_made(DecisionPolicy(threshold=0.5, temperature=50))
    assert [f.coverage for f in hot.formats] == [0, 0, 0]


def test_decisions_are_the_runtimes() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 3)).astype(np.float32)
    policy = DecisionPolicy(threshold=0.6, temperature=0.7)
    images = Images(np.zeros((200, 1, 1, 1), np.uint8), np.zeros(200, np.int64))
    report = compare(
        {"torch float32": logits},
        {},
        images,
        labels=LABELS,
        policy=policy,
        shipped=("torch float32",),
    )
    said = [decide(row, LABELS, policy).label for row in logits]
    assert report.formats[0].coverage == np.mean([label is not None for label in said])


def hand_made_labels(threshold: float, temperature: float = 1.0) -> ExportReport:
    """Compare two files with torch on two images of three labels each."""
    yes, maybe, no = np.log([9, 1.5, 1 / 9])  # sigmoid: 0.9, 0.6, 0.1
    torch_logits = np.array([[yes, no, no], [no, maybe, yes]], np.float32)
    tflite = np.array([[yes, no, no], [no, no, yes]], np.float32)  # one label lost
    onnx_logits = np.array([[yes, maybe, no], [no, no, yes]], np.float32)  # and one too many
    return compare(
        {"torch float32": torch_logits, "tflite int8": tflite, "onnx int8": onnx_logits},
        {"tflite int8": 10, "onnx int8": 20},
        Images(np.zeros((2, 1, 1, 1), np.uint8), np.array([[1, 0, 0], [0, 1, 0]], np.int64)),
        labels=LABELS,
        policy=DecisionPolicy(threshold=threshold, temperature=temperature),
        shipped=("tflite int8", "onnx int8"),
        task="multilabel",
    )


def test_many_labels_are_compared_label_by_label() -> None:
    report = hand_made_labels(threshold=0.5)
    reference, tflite, onnx_report = report.formats
    # Of six labels torch has one wrong (the last), TFLite two, ONNX three.
    assert [f.accuracy for f in report.formats] == pytest.approx([5 / 6, 4 / 6, 3 / 6])
    assert [f.agreement for f in report.formats] == pytest.approx([1, 5 / 6, 4 / 6])
    assert [f.coverage for f in report.formats] == [1, 1, 1]
    # "cross" is the second label: right twice in torch, once in TFLite, never in ONNX.
    assert [(c.label, c.lost, c.drop) for c in tflite.class_losses] == [("cross", 1, 0.5)]
    assert [(c.label, c.lost, c.drop) for c in onnx_report.class_losses] == [("cross", 2, 1)]
    assert onnx_report.class_losses[0].p_corrected == pytest.approx(3 / 4)
    assert tflite.accuracy_drop.share == pytest.approx(1 / 6)
    assert (reference.class_losses, reference.largest_difference) == ((), 0)
    assert tflite.largest_difference == pytest.approx(0.6 - 0.1)
    assert report.agreement == pytest.approx(5 / 6)
    assert report.images == 2


def test_the_threshold_decides_which_labels_agree_and_which_are_undecided() -> None:
    # At 0.8 a probability of 0.6 gives no label any more, and leaves its image undecided.
    report = hand_made_labels(threshold=0.8)
    assert [f.agreement for f in report.formats] == [1, 1, 1]
    assert [f.coverage for f in report.formats] == [0.5, 1, 0.5]
    # Accuracy is not the threshold's business, nor the temperature's.
    assert [f.accuracy for f in report.formats] == pytest.approx([5 / 6, 4 / 6, 3 / 6])
    hot = hand_made_labels(threshold=0.8, temperature=50)
    assert [f.coverage for f in hot.formats] == [0, 0, 0]
    assert [f.accuracy for f in hot.formats] == pytest.approx([5 / 6, 4 / 6, 3 / 6])


def test_labels_that_the_formats_give_differently_are_refused() -> None:
    def refusal(threshold: float, max_drop: float) -> str | None:
        return find_refusal(
            hand_made_labels(threshold), Promise(max_drop=max_drop, max_class_drop=100)
        )

    assert "decide differently on 16.67% of the labels of all images" in str(refusal(0.5, 100))
    assert str(refusal(0.8, 1)).startswith("tflite int8 lost 16.67 points of accuracy")
    assert refusal(0.8, 34) is None


def test_decisions_on_many_labels_are_the_runtimes() -> None:
    logits = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    policy = DecisionPolicy(threshold=0.8, temperature=0.7)
    said = [decide(row, LABELS, policy, task="multilabel") for row in logits]
    report = compare(
        {"torch float32": logits},
        {},
        Images(np.zeros((200, 1, 1, 1), np.uint8), np.zeros((200, 3), np.int64)),
        labels=LABELS,
        policy=policy,
        shipped=("torch float32",),
        task="multilabel",
    )
    assert report.formats[0].coverage == np.mean([p.status == "sure" for p in said])


@pytest.mark.parametrize(
    ("task", "shape"), [("classification", (4, 3)), ("multilabel", (4,)), ("multilabel", (4, 2))]
)
def test_classes_of_another_task_are_refused(task: Task, shape: tuple[int, ...]) -> None:
    given = Images(np.zeros((4, 1, 1, 1), np.uint8), np.zeros(shape, np.int64))
    with pytest.raises(ValueError, match=f"classes for {task} have shape"):
        compare({}, {}, given, labels=LABELS, policy=DecisionPolicy(), shipped=(), task=task)


def test_comparing_needs_an_image() -> None:
    nothing = Images(np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="at least one image"):
        compare({}, {}, nothing, labels=LABELS, policy=DecisionPolicy(), shipped=())


def test_reports_are_plain_json() -> None:
    values = hand_made(DecisionPolicy(threshold=0.5)).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["agreement"] == 0.8
    (loss,) = values["formats"][1]["class_losses"]
    assert loss == {
        "label": "cross",
        "images": 2,
        "lost": 1,
        "gained": 0,
        "drop": 0.5,
        "p_value": 0.5,
        "p_corrected": 1,
    }
    assert values["formats"][1]["accuracy_drop"]["share"] == 0.2
    assert values["promise"] == {"max_drop": 1, "max_class_drop": 5, "significance": 0.05}


def test_every_image_is_run_once_and_told() -> None:
    class Brightness:
        input_shape = (1, 2, 2, 1)

        def __call__(self, batch: Pixels) -> NDArray[np.float32]:
            assert batch.shape == self.input_shape
            return batch.reshape(-1)[:2].astype(np.float32)

    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    told: list[tuple[int, int]] = []
    logits = run_all(Brightness(), pixels, lambda n, of: told.append((n, of)))
    np.testing.assert_array_equal(logits, [[0, 1], [4, 5], [8, 9]])
    assert told == [(1, 3), (2, 3), (3, 3)]
