"""The one input of an ONNX graph: how many images, where their channels are, how large."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.preparation.float32 import FLOATS

_LAYOUTS: Final[Mapping[bool, tuple[int, int, int]]] = {  # where channels, height and width are
    False: (1, 2, 3),
    True: (3, 1, 2),
}
# What networks take that are no classifiers of gray or RGB pictures; more is height or width.
_MOST_CHANNELS: Final = 16
_BYTES: Final = onnx.TensorProto.UINT8
_COLOURS: Final[Mapping[int, str]] = {1: "gray", 3: "rgb or bgr"}


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """What an ONNX graph takes: `batch` images at once, of `height` × `width` pixels.

    `takes_bytes`: pixels from 0 to 255 as uint8, which the graph itself scales.
    """

    name: str
    batch: int
    height: int
    width: int
    channels: int
    channels_last: bool
    takes_bytes: bool = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The axes as the file has them."""
        if self.channels_last:
            return (self.batch, self.height, self.width, self.channels)
        return (self.batch, self.channels, self.height, self.width)


def fix_input(
    model: onnx.ModelProto, size: int | tuple[int, int] | None, channels: int, name: str
) -> ImageInput:
    """Give every axis of the input a length, and return it.

    Args:
        model: changed in place: any number of images becomes one.
        size: of the images in pixels, the side of a square or (height, width); None: as the file
            says.
        channels: those of the images that it will be given.
        name: what messages call the file.

    Raises:
        ConversionError: it has several inputs, does not take images, takes images of another
            number of channels or another size, or does not say which.

    """
    value = _only_input(model, name)
    dims = value.type.tensor_type.shape.dim
    lengths = [dim.dim_value if dim.dim_value > 0 else None for dim in dims]
    shown = f"{'×'.join('?' if n is None else str(n) for n in lengths)} ({value.name})"
    channels_last = _find_layout(lengths, channels, f"{name} takes {shown}")
    _, *axes = _LAYOUTS[channels_last]
    height, width = _sides(lengths, axes, size, f"{name} takes {shown}")
    image = ImageInput(
        name=value.name,
        batch=lengths[0] or 1,
        height=height,
        width=width,
        channels=channels,
        channels_last=channels_last,
        takes_bytes=value.type.tensor_type.elem_type == _BYTES,
    )
    set_lengths(model, image.shape)
    return image


def take_floats(model: onnx.ModelProto) -> None:
    """Let the input be float32, in place: what casts bytes to that does nothing then."""
    (value,) = _inputs(model)
    value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def set_lengths(model: onnx.ModelProto, shape: tuple[int, int, int, int]) -> None:
    """Let the input have this shape, and nothing else say what follows from another."""
    (value,) = _inputs(model)
    for dim, length in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = length
    del model.graph.value_info[:]
    for output in model.graph.output:
        if output.HasField("type"):
            output.type.tensor_type.ClearField("shape")


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    weights = {initializer.name for initializer in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _only_input(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    inputs = _inputs(model)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise ConversionError(f"{name} has {len(inputs)} inputs ({names}), not one")
    kind = inputs[0].type.tensor_type
    if kind.elem_type not in {*FLOATS, _BYTES} or len(kind.shape.dim) != IMAGE_AXES:
        given = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise ConversionError(
            f"{name} takes {given} with {len(kind.shape.dim)} axes ({inputs[0].name}), not images: "
            "float or uint8 with 4"
        )
    return inputs[0]


def _find_layout(lengths: list[int | None], channels: int, what: str) -> bool:
    """Return whether the channels are last; ConversionError where no axis is of `channels`."""
    for last, (axis, *_) in _LAYOUTS.items():
        if lengths[axis] == channels:
            return last
    if lengths[1] is None and lengths[3] is None:
        raise ConversionError(f"{what} and does not say how many channels: export it with them")
    own = min(lengths[axis] or _MOST_CHANNELS for axis in (1, 3))
    if own in _COLOURS:
        raise ConversionError(
            f"{what}, images of {own} channel{'s' * (own > 1)}, which are {_COLOURS[own]}",
            parameter="colour",
        )
    if own < _MOST_CHANNELS:
        raise ConversionError(
            f"{what}, images of {own} channels: only gray (1) and colour images (3) can be given "
            "to it"
        )
    raise ConversionError(f"{what}, which has no axis of {channels} channels")


def _sides(
    lengths: list[int | None],
    axes: Sequence[int],
    size: int | tuple[int, int] | None,
    what: str,
) -> tuple[int, int]:
    """Return height and width; ConversionError where they are not known, or not those asked for."""
    own = [lengths[axis] for axis in axes]
    if size is None:
        height, width = own
        if height is None or width is None:
            raise ConversionError(
                f"{what}: say how large its images are, such as 224 or 96x128 (height x width)",
                parameter="size",
            )
        return height, width
    height, width = (size, size) if isinstance(size, int) else size
    if any(length not in (None, asked) for length, asked in zip(own, (height, width), strict=True)):
        raise ConversionError(
            f"{what}, not images of {height}×{width} pixels (height × width)", parameter="size"
        )
    return height, width
