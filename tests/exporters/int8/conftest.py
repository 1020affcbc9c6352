"""A small residual network that has learnt, and one that int8 spoils."""

import copy

import pytest
import torch
from residual_network import PREPROCESSING, Residual, prepared, spoil, teach
from trained_networks import ignore

from leansight.exporters.conversion.convert import convert
from leansight.exporters.int8.calibrated_network import CalibratedNetwork, calibrate_network


@pytest.fixture(scope="session")
def network() -> Residual:
    torch.manual_seed(0)
    taught = teach(Residual())
    assert isinstance(taught, Residual)
    return taught


@pytest.fixture(scope="session")
def found(network: Residual) -> CalibratedNetwork:
    """The network, calibrated."""
    return calibrate_network(convert(network, PREPROCESSING), prepared(60, seed=1).pixels, ignore)


@pytest.fixture(scope="session")
def spoilt(network: Residual) -> CalibratedNetwork:
    """The same network with one channel that is too large."""
    other = copy.deepcopy(network)
    spoil(other)
    return calibrate_network(convert(other, PREPROCESSING), prepared(60, seed=1).pixels, ignore)
