"""Adaptive RoI extractor: levels, pooling in both flavours, batches, precision."""

import math

import pytest
import torch

from polarseg.models.roi_heads import AdaptiveRoIExtractor
from polarseg.registry import MODELS

CHANNELS = 4
FLAVOURS = [dict(sampling_ratio=0, aligned=True), dict(sampling_ratio=2, aligned=False)]


def build(num_levels=3, layer=None, **options):
    strides = [8 * 2**level for level in range(num_levels)]
    roi_layer = dict(type='RoIAlign', output_size=14) | (layer or FLAVOURS[0])
    return MODELS.build(
        dict(
            type='AdaptiveRoIExtractor',
            roi_layer=roi_layer,
            out_channels=CHANNELS,
            featmap_strides=strides,
            **options,
        )
    )


@pytest.fixture
def feats():
    """Of two pictures, at most 128 x 192, P3 to P7."""
    sizes = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    return [torch.randn(2, CHANNELS, *size) for size in sizes]


@pytest.fixture
def sizes():
    return torch.tensor([[128, 192], [100, 120]])


@pytest.fixture
def rois():
    """Of every level, in no order, some across the border."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(24, 2, generator=generator) * 60 - 8
    side = torch.rand(24, 2, generator=generator).square() * torch.tensor([180.0, 130]) + 3
    pictures = torch.arange(24)[:, None] % 2
    return torch.cat([pictures, corner, corner + side], 1)


def boxes_of(*areas):
    """Squares of given areas."""
    sides = torch.tensor(areas, dtype=torch.float32).sqrt()
    return torch.stack([sides * 0, sides * 0, sides * 0, sides, sides], 1)


@pytest.mark.parametrize(
    ('num_levels', 'expected'),
    [
        (2, [1, 1, 0, 0, 0, 0, 0, 0]),
        (3, [2, 2, 1, 1, 0, 0, 0, 0]),
        (4, [3, 3, 2, 2, 1, 1, 0, 0]),
        (5, [4, 4, 3, 3, 2, 2, 1, 0]),
    ],
)
def test_area_ratio(num_levels, expected):
    """Half of the picture belongs to the lower level; P3 to P4, P5, P6, P7."""
    area = 256.0 * 256
    fractions = [1.0, 0.501, 0.5, 0.26, 0.25, 0.13, 0.07, 0.0]
    rois = boxes_of(*(area * fraction for fraction in fractions))
    levels = build(num_levels).map_roi_levels(rois, num_levels, torch.tensor([[256, 256]]))
    assert levels.tolist() == expected


def test_area_ratio_takes_the_size_of_each_picture():
    rois = boxes_of(60.0**2, 60.0**2)
    rois[:, 0] = torch.tensor([0.0, 1.0])
    sizes = torch.tensor([[400, 600], [70, 80]])
    assert build().map_roi_levels(rois, 3, sizes).tolist() == [0, 2]


def test_canonical_rule():
    sides = [0.0, 20, 111, 112, 223.9, 224, 447, 448, 2000]
    rois = boxes_of(*(side**2 for side in sides))
    extractor = build(level_rule='canonical')
    assert extractor.map_roi_levels(rois, 3).tolist() == [0, 0, 0, 0, 0, 1, 1, 2, 2]
    assert extractor.map_roi_levels(rois, 4).tolist() == [0, 0, 0, 0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize('rule', ['area_ratio', 'canonical'])
def test_inclusive_boxes_are_larger(rule):
    size = torch.tensor([[224 * 2, 224]])
    rois = boxes_of(223.5**2)
    assert build(level_rule=rule).map_roi_levels(rois, 3, size).tolist() == [
        dict(area_ratio=1, canonical=0)[rule]
    ]
    inclusive = build(level_rule=rule, inclusive_boxes=True)
    assert inclusive.map_roi_levels(rois, 3, size).tolist() == [
        dict(area_ratio=2, canonical=1)[rule]
    ]


def sample(feat, y, x):
    """Bilinear value at a position of the map; 0 beyond a cell outside, else the border."""
    height, width = feat.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return feat.new_zeros(len(feat))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), height - 1), min(int(x), width - 1)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    y, x = y - top, x - left
    above = feat[:, top, left] * (1 - x) + feat[:, top, right] * x
    below = feat[:, bottom, left] * (1 - x) + feat[:, bottom, right] * x
    return above * (1 - y) + below * y


def pooled_bin(feat, box, stride, row, column, sampling_ratio, aligned):
    """One of 14 x 14 bins by the definition."""
    shift = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (value / stride - shift for value in box)
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = max(width, 1.0), max(height, 1.0)
    counts = [sampling_ratio or math.ceil(side / 14) for side in (height, width)]
    total = feat.new_zeros(len(feat))
    for i in range(counts[0]):
        for j in range(counts[1]):
            y = y1 + (row + (i + 0.5) / counts[0]) * height / 14
            x = x1 + (column + (j + 0.5) / counts[1]) * width / 14
            total += sample(feat, y, x)
    return total / max(counts[0] * counts[1], 1)


@pytest.mark.parametrize('layer', FLAVOURS, ids=['centermask2', 'original'])
def test_pooling(feats, sizes, rois, layer):
    """Against the definition: alignment, samples, and a cell at least where not aligned."""
    extractor = build(layer=layer)
    # smaller than a cell, empty, and with more than one adaptive sample in a bin
    tiny = torch.tensor([[0, 20.0, 30, 22, 31], [1, 50.5, 50.5, 50.5, 50.5]])
    wide = torch.tensor([[0, 10.0, 20, 150, 70]])
    rois = torch.cat([rois, tiny, wide])
    feats = [feat.repeat_interleave(2, -1).repeat_interleave(2, -2) for feat in feats]
    extractor.roi_layers[0].spatial_scale = 1 / 4
    extractor.roi_layers[1].spatial_scale = 1 / 8
    extractor.roi_layers[2].spatial_scale = 1 / 16
    found = extractor(feats, rois, sizes)
    levels = extractor.map_roi_levels(rois, 3, sizes)
    assert sorted(levels.unique().tolist()) == [0, 1, 2]
    for k, roi in enumerate(rois.tolist()):
        level = levels[k]
        feat, stride = feats[level][int(roi[0])], 4 * 2 ** int(level)
        for row, column in ((0, 0), (3, 11), (13, 13)):
            expected = pooled_bin(feat, roi[1:], stride, row, column, **layer)
            torch.testing.assert_close(found[k, :, row, column], expected, atol=2e-5, rtol=1e-4)


def test_a_batch_is_its_single_regions(feats, sizes, rois):
    extractor = build()
    single = [extractor(feats, roi[None], sizes) for roi in rois]
    assert torch.equal(extractor(feats, rois, sizes), torch.cat(single))


def test_no_region(feats, sizes):
    feats = [feat.requires_grad_() for feat in feats]
    pooled = build()(feats, torch.zeros(0, 5), sizes)
    assert pooled.shape == (0, CHANNELS, 14, 14)
    pooled.sum().backward()
    assert [feat.grad is not None for feat in feats] == [True] * 3 + [False] * 2


def test_unused_levels_have_a_gradient(feats, sizes):
    feats = [feat.requires_grad_() for feat in feats]
    build()(feats, torch.tensor([[0, 1.0, 1, 20, 20]]), sizes).sum().backward()
    assert feats[0].grad.any()
    assert not feats[1].grad.any()
    assert not feats[2].grad.any()


def test_half_precision_features(feats, sizes, rois):
    """Coordinates keep their precision, and so do the levels."""
    extractor = build()
    half = [feat.bfloat16() for feat in feats]
    expected = extractor([feat.float() for feat in half], rois, sizes)
    found = extractor(half, rois, sizes)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_bad_input(feats, rois):
    with pytest.raises(ValueError, match=r"canonical.*'level'"):
        build(level_rule='level')
    with pytest.raises(ValueError, match='needs image_sizes'):
        build()(feats, rois)
    with pytest.raises(ValueError, match=r'got \[8, 32\]'):
        AdaptiveRoIExtractor(dict(type='RoIAlign', output_size=14), CHANNELS, [8, 32])
