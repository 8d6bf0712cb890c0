"""Ray lengths of the published program, run here and run where the fixtures were made."""

import numpy as np
import torch

EMPTY = 1e-6


def assert_published_lengths(lengths, stored):
    """Bit for bit what torch's root gives here, and at most a unit from what it gave there.

    The published lengths are torch's roots of whole numbers, which can be told from them. That root
    is not the same on every processor: it comes from a vector maths library, which may be off by a
    unit in the last place, on each kind of processor in its own way.
    """
    squares = torch.from_numpy(stored).double().square().round().float()
    here = torch.where(torch.from_numpy(stored) == np.float32(EMPTY), EMPTY, squares.sqrt())
    np.testing.assert_array_equal(lengths, here.numpy())
    np.testing.assert_array_max_ulp(lengths, stored, maxulp=1)
