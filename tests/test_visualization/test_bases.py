"""Bases as a picture."""

import math

import numpy as np
import pytest
import torch

from polarseg.visualization import draw_bases


def test_colours_of_values():
    bases = torch.tensor([0.0, 1e4, -1e4, 8 * math.atanh(0.4)])[:, None, None].expand(4, 3, 5)
    drawn = draw_bases(bases)
    assert drawn.shape == (2 * 3 + 2, 2 * 5 + 2, 3)
    assert drawn.dtype == np.uint8
    white, red, blue = [255, 255, 255], [0, 0, 255], [255, 0, 0]
    assert drawn[0, 0].tolist() == white
    assert drawn[0, -1].tolist() == red
    assert drawn[-1, 0].tolist() == blue
    assert drawn[-1, -1].tolist() == [153, 153, 255]


@pytest.mark.parametrize(('count', 'shape'), [(1, (20, 30)), (2, (20, 62)), (3, (42, 62))])
def test_sizes(count, shape):
    assert draw_bases(torch.randn(count, 5, 7), (20, 30)).shape == (*shape, 3)


@pytest.mark.parametrize('shape', [(0, 4, 4), (4, 4)])
def test_no_bases(shape):
    with pytest.raises(ValueError, match=r'bases must be \[K, h, w\]'):
        draw_bases(torch.zeros(shape))
