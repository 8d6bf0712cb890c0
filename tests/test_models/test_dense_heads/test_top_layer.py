"""The convolution that is computed where it is asked for."""

import pytest
import torch

from polarseg.models.dense_heads.dense_outputs import flatten_levels
from polarseg.models.dense_heads.top_layer import TopLayer

SIZES = [(5, 7), (3, 4), (2, 1), (1, 1)]
LOCATIONS = sum(height * width for height, width in SIZES)


@pytest.fixture
def layer():
    layer = TopLayer(4, 6)
    torch.nn.init.normal_(layer.bias)
    return layer.double()


@pytest.fixture
def levels():
    return [torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True) for size in SIZES]


def everywhere(layer, levels):
    maps = [layer(level) for level in levels]
    return torch.cat([level.flatten(2).mT for level in maps], dim=1).flatten(0, 1)


@pytest.mark.parametrize(
    'index',
    [
        torch.arange(2 * LOCATIONS),
        torch.randperm(2 * LOCATIONS, generator=torch.Generator().manual_seed(1))[:20],
        torch.tensor([99, 0, 99, 35, 34, 99]),
        torch.tensor([], dtype=torch.int64),
    ],
    ids=['all', 'some', 'again', 'none'],
)
def test_as_the_convolution(layer, levels, index):
    found, expected = layer.at(levels, index), everywhere(layer, levels)[index]
    assert found.shape == (len(index), 6)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    inputs = [*layer.parameters(), *levels]
    mine = torch.autograd.grad((found * weights).sum(), inputs)
    theirs = torch.autograd.grad((expected * weights).sum(), inputs)
    for gradient, wanted in zip(mine, theirs):
        torch.testing.assert_close(gradient, wanted)


def test_order_of_locations_is_that_of_flatten_levels(layer, levels):
    maps = [layer(level) for level in levels]
    index = torch.tensor([3, 40, 97])
    torch.testing.assert_close(layer.at(levels, index).float(), flatten_levels(maps)[index])


def test_bfloat16(layer, levels):
    layer = layer.float()
    levels = [level.detach().float() for level in levels]
    index = torch.arange(0, 2 * LOCATIONS, 3)
    expected = layer.at(levels, index)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = layer.at([level.bfloat16() for level in levels], index)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.gpu
def test_devices_agree(layer, levels):
    index = torch.arange(0, 2 * LOCATIONS, 3)
    expected = layer.at(levels, index)
    found = layer.cuda().at([level.cuda() for level in levels], index.cuda())
    torch.testing.assert_close(found.cpu(), expected)
