"""Run lengths against pycocotools, and strings that are none."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from polarseg.structures.rle import rle_counts


def runs(mask):
    """Run lengths of a mask in columns, background first."""
    pixels = np.concatenate([[0], mask.T.reshape(-1), [2]])
    changes = np.flatnonzero(np.diff(pixels)[1:]) + 1
    lengths = np.diff(np.concatenate([[0], changes]))
    return ([0] if pixels[1] == 1 else []) + lengths.tolist()


@pytest.mark.parametrize('seed', range(12))
def test_compressed_counts(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 200, 2)
    share = rng.choice([0.0, 0.01, 0.5, 0.99, 1.0])
    mask = np.asfortranarray(rng.uniform(size=(height, width)) < share, dtype=np.uint8)
    counts = coco_mask.encode(mask)['counts'].decode()
    decoded = rle_counts(counts)
    assert decoded.sum() == mask.size
    assert decoded[1::2].sum() == mask.sum()
    assert decoded.tolist() == runs(mask)


def test_long_runs():
    mask = np.zeros((3000, 3000), np.uint8, order='F')
    mask[1500, 1500] = 1
    counts = coco_mask.encode(mask)['counts'].decode()
    assert rle_counts(counts).tolist() == [1500 * 3000 + 1500, 1, 1499 * 3000 + 1499]


def test_lists_and_nothing():
    assert rle_counts([3, 4, 5]).tolist() == [3, 4, 5]
    assert rle_counts([]).tolist() == rle_counts('').tolist() == []


@pytest.mark.parametrize(
    'counts',
    ['{}', 'o', '  ', 'é', '0' + 'o' * 9 + '0', 'OOO', [1, -2], [1.5, 2], ['3'], [[1], [2]]],
)
def test_malformed(counts):
    with pytest.raises(ValueError):
        rle_counts(counts)
