"""Numbered tensors."""

import pytest
import torch


@pytest.fixture
def numbered():
    """A model's tensors, each filled with a number of its own, under the names of a function."""

    def make(model, rename):
        published = {}
        for number, (name, tensor) in enumerate(model.state_dict().items(), start=1):
            value = torch.tensor(number, dtype=tensor.dtype)
            new = rename(name)
            assert new not in published, f'the test itself names two tensors {new}'
            published[new] = value.expand(tensor.shape)
        return published

    return make


@pytest.fixture
def assert_filled():
    """Each of a model's tensors has the number that ``numbered`` gave it."""

    def check(model):
        for number, (name, tensor) in enumerate(model.state_dict().items(), start=1):
            assert (tensor == number).all(), name

    return check
