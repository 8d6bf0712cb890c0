"""Blender: pooling, targets, loss, prediction."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from torch import nn
from torch.nn import functional as F

from polarseg.models import Blender
from polarseg.registry import MODELS
from polarseg.structures import BoxMaskInstances, crop_masks

HEIGHT, WIDTH = 64, 96
BOXES = (
    [[4.0, 6.0, 60.0, 50.0], [30.5, 10.0, 90.0, 40.25], [70.0, 30.0, 95.0, 63.0]],
    [],
    [[10.0, 12.0, 44.0, 58.0]],
)
SMALL = dict(num_bases=3, attention_size=5, resolution=12)
LENGTH = 3 * 5 * 5


def diamonds(boxes):
    """Ground truth that touches the middle of each side of its box."""
    polygons = []
    for x1, y1, x2, y2 in boxes:
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        polygons.append([np.array([x, y1, x2, y, x, y2, x1, y])])
    return InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.zeros(len(boxes), dtype=torch.long),
        masks=PolygonMasks(polygons, HEIGHT, WIDTH),
    )


@pytest.fixture
def ground_truth():
    """Three pictures with 3, 0 and 1 instances."""
    return [diamonds(boxes) for boxes in BOXES]


@pytest.fixture
def bases():
    return torch.randn(3, 3, HEIGHT // 4, WIDTH // 4)


@pytest.fixture
def locations():
    """Attentions, batch-wide index and weights; instance 1 has no location."""
    return torch.randn(7, LENGTH), torch.tensor([2, 0, 3, 0, 3, 2, 0]), torch.rand(7)


def detections(boxes):
    count = len(boxes)
    return InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.linspace(0.9, 0.5, max(count, 1))[:count],
        labels=torch.arange(count),
        attentions=torch.randn(count, LENGTH),
    )


@pytest.fixture
def results():
    return [
        detections([[4.0, 6.0, 60.0, 50.0], [100.0, 3.0, 120.0, 9.0], [-9.0, 20.0, 99.0, 80.0]]),
        detections([]),
        detections([[30.0, 10.0, 90.0, 40.0]]),
    ]


@pytest.fixture
def samples():
    """The last picture was twice as large."""
    metas = [dict(img_shape=(HEIGHT, WIDTH)) for _ in range(3)]
    for meta, factor in zip(metas, (1, 1, 2)):
        meta['ori_shape'] = (factor * HEIGHT, factor * WIDTH)
        meta['scale_factor'] = (1 / factor, 1 / factor)
    return [DetDataSample(metainfo=meta) for meta in metas]


def rois_of(results):
    rows = [
        torch.cat([torch.full((len(found), 1), float(k)), found.bboxes], dim=1)
        for k, found in enumerate(results)
    ]
    return torch.cat(rows)


def test_registered_without_parameters_or_state():
    blender = MODELS.build(dict(type='Blender'))
    assert blender.attention_channels == 784
    assert list(blender.parameters()) == []
    assert blender.state_dict() == {}


# -- blending ---------------------------------------------------------------------------------


@pytest.mark.parametrize('resolution', [28, 56])
@pytest.mark.parametrize('side', [2, 4, 7, 14])
@pytest.mark.parametrize('bases', [1, 4])
def test_sizes(results, bases, side, resolution):
    blender = Blender(num_bases=bases, attention_size=side, resolution=resolution)
    maps, rois = torch.randn(3, bases, 16, 24), rois_of(results)
    logits = blender(maps, torch.randn(4, bases * side**2), rois)
    assert logits.shape == (4, resolution, resolution)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def test_order_of_an_attention_is_basis_row_column():
    """Attention on base 1 in the bottom left corner only."""
    attention = torch.zeros(1, 2, 4, 4)
    attention[0, 1, 3, 0] = 50.0
    bases = torch.ones(1, 2, 16, 16) * torch.tensor([-3.0, 5.0])[:, None, None]
    blender = Blender(num_bases=2, attention_size=4, resolution=8, top_interp='nearest')
    logits = blender(bases, attention.flatten(1), torch.tensor([[0, 8.0, 8, 56, 56]]))
    expected = torch.ones(8, 8)
    expected[6:, :2] = 5.0
    torch.testing.assert_close(logits[0], expected)


def test_logits_are_0_beyond_the_map(bases):
    attentions = torch.randn(1, LENGTH)
    blender = Blender(**SMALL)
    box = [0, WIDTH - 24.0, 8, WIDTH + 24, 56]  # half of it
    logits = blender(bases, attentions, torch.tensor([box]))[0]
    assert logits[:, :6].all()
    assert not logits[:, 7:].any()


@pytest.mark.parametrize(('corner', 'left'), [(float('inf'), 2), (3e38, 2), (float('nan'), 1)])
def test_boxes_that_are_not_finite(bases, samples, results, corner, left):
    """Of a diverged network; mmcv's pooling would break the process."""
    results[0].bboxes[0] = torch.tensor([-corner, 0.0, corner, 8.0])
    found = Blender(**SMALL).predict(bases, results, samples)
    assert len(found[0]) == left
    assert found[0].bboxes.isfinite().all()
    assert found[0].masks.probabilities.isfinite().all()


def test_the_pooling_is_an_option(bases, results):
    rois = rois_of(results)
    plain = Blender(**SMALL).pool(bases, rois)
    finer = Blender(**SMALL, pooler=dict(sampling_ratio=4, aligned=True)).pool(bases, rois)
    shifted = Blender(**SMALL, pooler=dict(sampling_ratio=1, aligned=False)).pool(bases, rois)
    assert plain.shape == finer.shape == (4, 3, 12, 12)
    assert (plain - finer).abs().max() > 0.1
    moved = rois + torch.tensor([0, 2.0, 2, 2, 2])  # half a position of stride 4
    torch.testing.assert_close(shifted[0], Blender(**SMALL).pool(bases, moved)[0])


@pytest.mark.parametrize('softmax', [True, False])
def test_any_chunks_give_the_same_logits(bases, results, softmax):
    attentions = torch.cat([found.attentions for found in results])
    whole, *others = (
        Blender(**SMALL, softmax=softmax, chunk_size=size)(bases, attentions, rois_of(results))
        for size in (None, 1, 3, 4)
    )
    for other in others:
        torch.testing.assert_close(other, whole, rtol=1e-6, atol=1e-6)


def test_logits_have_gradients(bases, results):
    bases.requires_grad_()
    attentions = torch.cat([found.attentions for found in results]).requires_grad_()
    Blender(**SMALL, chunk_size=3)(bases, attentions, rois_of(results)).sum().backward()
    assert bases.grad[0].any()
    assert not bases.grad[1].any()
    assert attentions.grad.any()


def test_no_region(bases):
    logits = Blender(**SMALL)(bases, torch.zeros(0, LENGTH), torch.zeros(0, 5))
    assert logits.shape == (0, 12, 12)


# -- loss -------------------------------------------------------------------------------------


def expected_loss(blender, bases, locations, avg_factor, ground_truth):
    """Location by location, through ``forward``."""
    boxes = torch.cat([gt.bboxes for gt in ground_truth])
    owner = torch.tensor([k for k, gt in enumerate(ground_truth) for _ in gt.bboxes])
    targets = torch.cat(
        [crop_masks(gt.masks, torch.arange(len(gt)), gt.bboxes, 12) for gt in ground_truth]
    )
    total = 0
    for attention, index, weight in zip(*locations):
        roi = torch.cat([owner[index, None].float(), boxes[index]])[None]
        logits = blender(bases, attention[None], roi)[0]
        target = targets[index].float()
        total += weight * F.binary_cross_entropy_with_logits(logits, target)
    return total / avg_factor


@pytest.mark.parametrize('softmax', [True, False])
@pytest.mark.parametrize('chunk_size', [1, 4, None])
def test_loss_and_gradients(bases, locations, ground_truth, chunk_size, softmax):
    blender = Blender(**SMALL, softmax=softmax, chunk_size=chunk_size)
    trained = bases.requires_grad_(), locations[0].requires_grad_()
    losses = blender.loss(bases, *locations, torch.tensor(2.5), ground_truth)
    assert list(losses) == ['loss_mask']
    expected = expected_loss(blender, bases, locations, 2.5, ground_truth)
    torch.testing.assert_close(losses['loss_mask'], expected)
    found = torch.autograd.grad(losses['loss_mask'], trained)
    for own, other in zip(found, torch.autograd.grad(expected, trained)):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-7)
    assert not found[0][1].any()  # the picture without instances


def test_loss_weight_and_divisor(bases, locations, ground_truth):
    plain = Blender(**SMALL).loss(bases, *locations, 1.0, ground_truth)['loss_mask']
    other = Blender(**SMALL, loss_weight=3.0).loss(bases, *locations, 6.0, ground_truth)
    torch.testing.assert_close(other['loss_mask'], plain / 2)


def test_bitmap_masks(bases, locations, ground_truth):
    blender = Blender(**SMALL)
    polygons = blender.loss(bases, *locations, 1.0, ground_truth)['loss_mask']
    for gt in ground_truth:
        pixels = gt.masks.to_ndarray().reshape(-1, HEIGHT, WIDTH)
        gt.masks = BitmapMasks(pixels, HEIGHT, WIDTH)
    bitmaps = blender.loss(bases, *locations, 1.0, ground_truth)['loss_mask']
    assert bitmaps.item() == pytest.approx(polygons.item(), rel=0.1)


def test_each_ground_truth_is_pooled_once(bases, locations, ground_truth, monkeypatch):
    blender, seen = Blender(**SMALL), []
    pool = blender.pool
    monkeypatch.setattr(blender, 'pool', lambda maps, rois: seen.append(rois) or pool(maps, rois))
    blender.loss(bases, *locations, 1.0, ground_truth)
    (rois,) = seen
    assert rois[:, 0].tolist() == [0, 0, 2]
    assert torch.equal(rois[:, 1:], torch.tensor(BOXES[0] + BOXES[2])[[0, 2, 3]])


@pytest.mark.parametrize('instances', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_no_location(ground_truth, instances, dtype):
    """Zero with a gradient for every parameter, even where sums leave the range of float16."""
    if not instances:
        ground_truth = [diamonds([]) for _ in range(3)]
    basis, top = nn.Conv2d(2, 3, 1), nn.Conv2d(2, LENGTH, 1)
    feats = torch.full((3, 2, 16, 24), 1e3)
    attentions = top(feats).permute(0, 2, 3, 1).flatten(0, 2)[:0]
    none = torch.zeros(0, dtype=torch.long)
    args = attentions.to(dtype), none, torch.zeros(0), 1e-6, ground_truth
    loss = Blender(**SMALL).loss(basis(feats).to(dtype), *args)['loss_mask']
    assert loss == 0
    loss.backward()
    parameters = [*basis.parameters(), *top.parameters()]
    assert all(p.grad is not None and not p.grad.any() for p in parameters)


def test_pictures_without_boxes_add_nothing_to_the_count(bases, locations, ground_truth):
    blender = Blender(**SMALL)
    whole = blender.loss(bases, *locations, 1.0, ground_truth)['loss_mask']
    without = blender.loss(bases[[0, 2]], *locations, 1.0, [ground_truth[0], ground_truth[2]])
    assert torch.equal(without['loss_mask'], whole)


def test_losses_of_single_pictures_add_up(bases, locations, ground_truth):
    blender = Blender(**SMALL)
    attentions, index, weights = locations
    parts = []
    for rows, first, k in ((index < 3, 0, 0), (index >= 3, 3, 2)):
        args = attentions[rows], index[rows] - first, weights[rows], 1.0, [ground_truth[k]]
        parts.append(blender.loss(bases[k, None], *args)['loss_mask'])
    whole = blender.loss(bases, *locations, 1.0, ground_truth)['loss_mask']
    torch.testing.assert_close(sum(parts), whole)


def test_a_box_without_area(bases):
    gt = diamonds([[10.0, 10.0, 10.0, 40.0]])
    args = torch.randn(1, LENGTH), torch.tensor([0]), torch.ones(1), 1.0, [gt]
    assert Blender(**SMALL).loss(bases[:1], *args)['loss_mask'].isfinite()


# -- precision --------------------------------------------------------------------------------


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_blends_in_float32(bases, locations, results, ground_truth, dtype):
    blender = Blender(**SMALL)
    half, attentions = bases.to(dtype), locations[0].to(dtype)
    args = *locations[1:], 1.0, ground_truth
    expected = blender.loss(half.float(), attentions.float(), *args)['loss_mask']
    rois = rois_of(results)
    logits = blender(half.float(), attentions[:4].float(), rois)
    trained = half.requires_grad_(), attentions.requires_grad_()
    with torch.autocast('cpu', dtype=dtype):
        found = blender.loss(*trained, *args)['loss_mask']
        assert torch.equal(blender(half, attentions[:4], rois), logits)
    assert torch.equal(found, expected)
    found.backward()
    assert all(one.grad.dtype == dtype and one.grad.any() for one in trained)


# -- prediction -------------------------------------------------------------------------------


def test_masks_are_those_of_the_whole_boxes(bases, samples, results):
    blender = Blender(**SMALL)
    found = blender.predict(bases, results, samples)
    attentions = torch.cat([one.attentions for one in results])
    expected = blender(bases, attentions, rois_of(results)).sigmoid()
    torch.testing.assert_close(found[0].masks.probabilities, expected[[0, 2]])
    torch.testing.assert_close(found[2].masks.probabilities, expected[3:])
    assert sorted(found[0].keys()) == ['bboxes', 'labels', 'masks', 'scores']


def test_boxes_are_clipped_and_empty_ones_removed(bases, samples, results):
    found = Blender(**SMALL).predict(bases, results, samples)
    expected = torch.tensor([[4.0, 6.0, 60.0, 50.0], [0.0, 20.0, WIDTH, HEIGHT]])
    assert torch.equal(found[0].bboxes, expected)
    assert torch.equal(found[0].masks.boxes, expected)
    assert found[0].labels.tolist() == [0, 2]
    assert found[0].scores.tolist() == pytest.approx([0.9, 0.5])
    masks = found[0].masks
    assert isinstance(masks, BoxMaskInstances)
    assert (masks.rule, masks.threshold) == ('half_pixel', 0.5)


def test_rescaled_to_the_original_picture(bases, samples, results):
    blender = Blender(**SMALL)
    plain = blender.predict(bases, results, samples)[2]
    rescaled = blender.predict(bases, results, samples, rescale=True)[2]
    torch.testing.assert_close(rescaled.bboxes, plain.bboxes * 2)
    assert torch.equal(rescaled.masks.probabilities, plain.masks.probabilities)
    assert plain.masks.to_ndarray().shape == (1, HEIGHT, WIDTH)
    assert rescaled.masks.to_ndarray().shape == (1, 2 * HEIGHT, 2 * WIDTH)


def test_a_batch_is_its_single_pictures(bases, samples, results):
    blender = Blender(**SMALL)
    both = blender.predict(bases, results, samples)
    for k in range(3):
        (single,) = blender.predict(bases[k, None], [results[k]], [samples[k]])
        assert torch.equal(single.bboxes, both[k].bboxes)
        torch.testing.assert_close(single.masks.probabilities, both[k].masks.probabilities)


@pytest.mark.parametrize('rescale', [False, True])
def test_no_detection(bases, samples, rescale):
    found = Blender(**SMALL).predict(bases, [detections([])] * 3, samples, rescale)
    assert [len(one) for one in found] == [0, 0, 0]
    assert found[0].bboxes.shape == (0, 4)
    assert found[0].masks.to_rle() == []


def test_threshold_and_rule_and_clipping_are_options(bases, samples, results):
    options = dict(mask_thr_binary=0.3, paste_rule='integer_box', clip_boxes=False)
    found = Blender(**SMALL, **options).predict(bases, results, samples)[0]
    assert torch.equal(found.bboxes, results[0].bboxes)
    assert (found.masks.rule, found.masks.threshold) == ('integer_box', 0.3)


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['num_bases', 'attention_size', 'resolution', 'chunk_size'])
def test_sizes_below_1(name):
    with pytest.raises(ValueError, match=rf'{name} must be at least 1, got -1'):
        Blender(**{name: -1})


def test_unknown_interpolation():
    with pytest.raises(ValueError, match=r"bilinear.*'area'"):
        Blender(top_interp='area')


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (dict(bases=torch.zeros(3, 4, 8, 8)), r'bases must be \[B, 3, H, W\], got \[3, 4, 8, 8\]'),
        (dict(attentions=torch.zeros(2, 9)), r'attentions must be \[N, 75\], got \[2, 9\]'),
        (dict(rois=torch.zeros(3, 5)), r'attentions must be of 3 rois, got 2'),
    ],
)
def test_shapes_that_do_not_fit(bases, change, sentence):
    args = dict(bases=bases, attentions=torch.zeros(2, LENGTH), rois=torch.zeros(2, 5)) | change
    with pytest.raises(ValueError, match=sentence):
        Blender(**SMALL)(**args)


@pytest.mark.parametrize(
    ('index', 'weights', 'sentence'),
    [
        ([0, 4], 2, r'gt_index must be in 0 \.\. 3, got 0 \.\. 4'),
        ([-1, 2], 2, r'gt_index must be in 0 \.\. 3, got -1 \.\. 2'),
        ([0, 1, 2], 2, r'must be \[2\], got \[3\] and \[2\]'),
        ([0, 1], 1, r'must be \[2\], got \[2\] and \[1\]'),
    ],
)
def test_wrong_index_or_weights(bases, ground_truth, index, weights, sentence):
    args = torch.zeros(2, LENGTH), torch.tensor(index), torch.ones(weights), 1.0, ground_truth
    with pytest.raises(ValueError, match=sentence):
        Blender(**SMALL).loss(bases, *args)
