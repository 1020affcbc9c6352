"""A graph for one image gives for many, whatever it does, what it gives for each."""

from collections.abc import Callable
from math import prod

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.nn import functional

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.folding import fold

AXES = 4  # that a tensor has at most


class Drawn:
    """A torch graph of operators that are drawn, on (1, 4, 2, 3)."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.graph, self.root = fx.Graph(), nn.Module()
        self.node, self.shape = self.graph.placeholder("image"), (1, 4, 2, 3)

    def then(self, function: Callable[..., Tensor], *arguments: object) -> None:
        """Add what takes the last result first."""
        self.shape = tuple(function(torch.zeros(self.shape), *arguments).shape)
        self.node = self.graph.call_function(function, (self.node, *arguments))

    def axis(self) -> int:
        return self.data.draw(st.integers(0, len(self.shape) - 1), label="axis")

    def reshape(self) -> None:
        shape, left = [], prod(self.shape)
        for _ in range(self.data.draw(st.integers(1, AXES - 1), label="axes")):
            divisors = [n for n in range(1, left + 1) if left % n == 0]
            shape.append(self.data.draw(st.sampled_from(divisors), label="length"))
            left //= shape[-1]
        self.then(torch.reshape, (*shape, left))

    def permute(self) -> None:
        order = self.data.draw(st.permutations(range(len(self.shape))), label="order")
        self.then(torch.permute, tuple(order))

    def softmax(self) -> None:
        self.then(functional.softmax, self.axis())

    def mean(self) -> None:
        if len(self.shape) > 1:
            self.then(torch.mean, self.axis(), self.data.draw(st.booleans(), label="keep"))

    def narrow(self) -> None:
        axis = self.axis()
        self.then(torch.narrow, axis, 0, (self.shape[axis] + 1) // 2)

    def twice(self) -> None:
        """Put the tensor beside itself: a list of tensors."""
        axis = self.axis()
        if self.shape[axis] < AXES:
            self.node = self.graph.call_function(torch.cat, ((self.node, self.node), axis))
            self.shape = (*self.shape[:axis], 2 * self.shape[axis], *self.shape[axis + 1 :])

    def square(self) -> None:
        """Multiply matrices by themselves, turned."""
        if len(self.shape) > 1 and self.shape[-2] <= AXES:
            turned = self.graph.call_function(torch.transpose, (self.node, -1, -2))
            self.node = self.graph.call_function(torch.matmul, (self.node, turned))
            self.shape = (*self.shape[:-1], self.shape[-2])

    def add(self) -> None:
        """Add a constant as large as one image's tensor."""
        name = f"constant_{len(list(self.root.buffers()))}"
        self.root.register_buffer(name, torch.linspace(-1, 1, prod(self.shape)).view(self.shape))
        self.node = self.graph.call_function(torch.add, (self.node, self.graph.get_attr(name)))

    def finish(self) -> fx.GraphModule:
        self.graph.output(
            self.graph.call_function(torch.reshape, (self.node, (1, prod(self.shape))))
        )
        return fx.GraphModule(self.root, self.graph)


STEPS = ["reshape", "permute", "softmax", "mean", "narrow", "twice", "square", "add"]


@given(st.data())
def test_drawn_operators_give_for_many_what_they_give_for_each(data: st.DataObject) -> None:
    drawn = Drawn(data)
    for step in data.draw(st.lists(st.sampled_from(STEPS), max_size=8), label="steps"):
        getattr(drawn, step)()
    network = drawn.finish()
    images = torch.randn(3, 4, 2, 3, generator=torch.Generator().manual_seed(0))
    wanted = torch.cat([network(image[None]) for image in images])
    free = for_any_number(network, images[:1])
    torch.testing.assert_close(free(images), wanted)
    torch.testing.assert_close(free(images[:1]), wanted[:1])


def test_attention_of_torch_takes_any_number_after_folding() -> None:
    torch.manual_seed(0)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2)  # places first, as torch has them

        def forward(self, image: Tensor) -> Tensor:
            places = image.flatten(2).permute(2, 0, 1)
            return self.attention(places, places, places, need_weights=False)[0].mean(0)

    network = Tokens().eval()
    images = torch.randn(3, 4, 2, 3)
    free = for_any_number(fold(network, images[:1]))
    torch.testing.assert_close(free(images), network(images))


def test_what_treats_images_alike_is_left_as_it_is() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)
    )
    free = for_any_number(fold(network, torch.zeros(1, 3, 8, 8)))
    assert {node.op for node in free.graph.nodes} == {
        "placeholder",
        "get_attr",
        "call_function",
        "output",
    }
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(free(images), network(images))
