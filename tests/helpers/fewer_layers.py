"""Networks of timm with few layers: what is not about their depth needs no more."""

import re

import timm
from torch import nn

_build = timm.create_model


def with_fewer_layers(name: str, **options: object) -> nn.Module:
    """Build timm's network with the first block alone of each of its stages.

    That whole ones learn is tested beside `sdk/models/backbones.py`.
    """
    if name.startswith("densenet"):
        return _build(name, block_config=(2, 2, 2, 2), **options)
    network = _build(name, **options)
    for child, stage in network.named_children():
        if re.fullmatch(r"layer\d|repeat(_\d)?", child):
            del stage[1:]
        elif child == "blocks":
            for blocks in stage:
                del blocks[1:]
    return network
