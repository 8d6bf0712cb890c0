"""CenterMask's RoI head: matching, losses, prediction, both flavours, and nothing to do."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from polarseg.registry import MODELS
from polarseg.structures import BoxMaskInstances

CHANNELS = 16
HEIGHT, WIDTH = 96, 128
CENTERMASK2 = dict(sampling_ratio=0, aligned=True)
ORIGINAL = dict(
    mask_roi_extractor=dict(
        roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2, aligned=False),
        out_channels=CHANNELS,
    ),
    inclusive_boxes=True,
    limit_crops=True,
    crop_min_side=1,
    area_rule='first_part',
    paste_rule='integer_box',
    clip_boxes=False,
    train_cfg=dict(sampler=dict(type='mmdet.PseudoSampler')),
)
FLAVOURS = pytest.mark.parametrize('options', [{}, ORIGINAL], ids=['centermask2', 'original'])


def build(scoring=True, mask_head=None, **options):
    small = dict(num_convs=1, in_channels=CHANNELS, conv_out_channels=CHANNELS, num_classes=3)
    config = dict(
        type='CenterMaskRoIHead',
        mask_roi_extractor=dict(
            roi_layer=dict(type='RoIAlign', output_size=14, **CENTERMASK2), out_channels=CHANNELS
        ),
        mask_head=small | (mask_head or {}),
        mask_iou_head=dict(small, fc_out_channels=32) if scoring else None,
    )
    head = MODELS.build(config | options)
    head.init_weights()
    # masks of both values, and scores of some size
    torch.nn.init.normal_(head.mask_head.conv_logits.weight, std=1.0)
    return head.eval()


@pytest.fixture
def x():
    """P3 to P7 of two pictures of 96 x 128."""
    levels = [(12, 16), (6, 8), (3, 4), (2, 2), (1, 1)]
    return [torch.randn(2, CHANNELS, *size) for size in levels]


@pytest.fixture
def samples():
    """Two and one instances; the second picture was twice as large before it was resized."""
    parts = [
        [
            [np.array([10.0, 10, 60, 12, 55, 50, 12, 48])],
            [np.array([70.0, 30, 110, 30, 90, 80]), np.array([100.0, 5, 120, 5, 120, 25])],
        ],
        [[np.array([5.0, 40, 100, 42, 120, 90, 8, 88])]],
    ]
    boxes = [[[10.0, 10, 60, 50], [70, 5, 120, 80]], [[5.0, 40, 120, 90]]]
    labels = [[2, 0], [1]]
    made = []
    for picture in range(2):
        scale = 1.0 / (picture + 1)
        shape = (HEIGHT * (picture + 1), WIDTH * (picture + 1))
        sample = DetDataSample(
            metainfo=dict(img_shape=(HEIGHT, WIDTH), ori_shape=shape, scale_factor=(scale, scale))
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes[picture]),
            labels=torch.tensor(labels[picture]),
            masks=PolygonMasks(parts[picture], HEIGHT, WIDTH),
        )
        made.append(sample)
    return made


def proposals_of(samples, count=6):
    """Near the instances, so that most match, and two beside them."""
    generator = torch.Generator().manual_seed(5)
    found = []
    for sample in samples:
        boxes = sample.gt_instances.bboxes
        rows = torch.arange(count) % max(len(boxes), 1)
        near = boxes[rows] if len(boxes) else torch.zeros(0, 4)
        near = near + torch.randn(near.shape, generator=generator) * 2
        beside = torch.tensor([[0.0, 80, 9, 95], [120.0, 0, 135, 10]])
        found.append(InstanceData(bboxes=torch.cat([near, beside])))
    return found


@pytest.fixture
def results():
    """Detections of two pictures, some across the border, one beside it."""
    boxes = [
        [[12.3, 8.2, 58.0, 51.9], [-7.0, -3.0, 140.0, 99.0], [130.0, 10.0, 150.0, 30.0]],
        [[60.5, 20.1, 90.0, 40.7], [2.0, 30.0, 50.0, 110.0]],
    ]
    return [
        InstanceData(
            bboxes=torch.tensor(rows),
            scores=torch.linspace(0.9, 0.3, len(rows)),
            labels=torch.arange(len(rows)) % 3,
        )
        for rows in boxes
    ]


def empty(found):
    return [item[:0] for item in found]


# -- matching ---------------------------------------------------------------------------------


def ground_truth(*rows):
    boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    return InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) + 5)


def test_the_class_is_that_of_the_best_ground_truth():
    gt = ground_truth([0, 0, 40, 40], [10, 0, 50, 40])
    boxes = torch.tensor([[1.0, 0, 41, 40], [9.0, 0, 49, 40], [60.0, 60, 80, 80]])
    found = build().match(InstanceData(bboxes=boxes), gt)
    assert torch.equal(found.bboxes, torch.cat([gt.bboxes, boxes[:2]]))
    assert found.labels.tolist() == [5, 6, 5, 6]
    assert found.gt_index.tolist() == [0, 1, 0, 1]


def test_half_overlap_is_foreground_and_no_box_is_lifted():
    gt = ground_truth([0, 0, 40, 40])
    # IoU 0.5 and a bit less; the latter stays background although it is the best there is
    half, less = [0.0, 0, 40, 20], [0.0, 0, 40, 19.9]
    sampler = dict(type='mmdet.RandomSampler', num=512, pos_fraction=0.25)
    head = build(train_cfg=dict(sampler=dict(sampler, add_gt_as_proposals=False)))
    assert len(head.match(InstanceData(bboxes=torch.tensor([half])), gt).labels) == 1
    assert len(head.match(InstanceData(bboxes=torch.tensor([less])), gt).labels) == 0


def test_inclusive_boxes_in_matching():
    # 5 of 9 pixels; without the last ones the boxes have no area
    gt, pred = ground_truth([0, 0, 8, 0]), torch.tensor([[0.0, 0, 4, 0]])
    train_cfg = dict(sampler=dict(type='mmdet.PseudoSampler', add_gt_as_proposals=False))
    inclusive = build(inclusive_boxes=True, train_cfg=train_cfg)
    found = inclusive.match(InstanceData(bboxes=pred), gt)
    assert torch.equal(found.bboxes, pred)
    plain = build(train_cfg=train_cfg)
    assert len(plain.match(InstanceData(bboxes=pred), gt).bboxes) == 0


def test_identical_ground_truth_belongs_to_the_first():
    """Ground truth is matched like any proposal, not to itself."""
    gt = ground_truth([0, 0, 40, 40], [0, 0, 40, 40])
    assert build().match(InstanceData(bboxes=torch.zeros(0, 4)), gt).gt_index.tolist() == [0, 0]


@pytest.mark.parametrize(
    ('sampler', 'expected'),
    [
        (dict(type='mmdet.RandomSampler', num=512, pos_fraction=0.25), 128),
        (dict(type='mmdet.RandomSampler', num=40, pos_fraction=0.25), 10),
        (dict(type='mmdet.PseudoSampler'), 201),
    ],
)
def test_sampling(sampler, expected):
    gt = ground_truth([0, 0, 40, 40])
    boxes = gt.bboxes + torch.rand(200, 4)
    found = build(train_cfg=dict(sampler=sampler)).match(InstanceData(bboxes=boxes), gt)
    assert len(found.bboxes) == len(found.bboxes.unique(dim=0)) == expected


# -- losses -----------------------------------------------------------------------------------


@FLAVOURS
@pytest.mark.parametrize('bitmaps', [False, True])
def test_losses_have_gradients(x, samples, options, bitmaps):
    if bitmaps:
        for sample in samples:
            pixels = sample.gt_instances.masks.to_ndarray()
            sample.gt_instances.masks = BitmapMasks(pixels, HEIGHT, WIDTH)
    head = build(**options)
    x = [feat.requires_grad_() for feat in x]
    losses = head.loss(x, proposals_of(samples), samples)
    assert sorted(losses) == ['loss_mask', 'loss_mask_iou']
    assert all(loss.item() > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(parameter.grad.any() for parameter in head.parameters())
    assert x[0].grad.any() or x[1].grad.any()


def test_without_mask_scoring(x, samples):
    losses = build(scoring=False).loss(x, proposals_of(samples), samples)
    assert list(losses) == ['loss_mask']


def test_mask_scoring_trains_the_mask_head(x, samples):
    head = build()
    head.loss(x, proposals_of(samples), samples)['loss_mask_iou'].backward()
    assert head.mask_head.convs[0].conv.weight.grad.any()
    assert head.mask_head.attention.conv.weight.grad.any()


def test_losses_of_a_batch_are_weighted_means_of_its_pictures(x, samples):
    head, proposals = build(), proposals_of(samples)
    both = head.loss(x, proposals, samples)['loss_mask']
    counts, single = [], []
    for k in range(2):
        counts.append(len(head.match(proposals[k], samples[k].gt_instances).labels))
        feats = [feat[k, None] for feat in x]
        single.append(head.loss(feats, [proposals[k]], [samples[k]])['loss_mask'])
    expected = sum(n * loss for n, loss in zip(counts, single)) / sum(counts)
    torch.testing.assert_close(both, expected)


@FLAVOURS
@pytest.mark.parametrize('without', ['instances', 'proposals', 'both'])
@pytest.mark.parametrize('pictures', [1, 2])
def test_nothing_to_train_on(x, samples, options, without, pictures):
    """In one of the pictures or in both: finite losses, and a gradient for every parameter."""
    proposals = proposals_of(samples)
    for k in range(pictures):
        if without != 'proposals':
            instances = samples[k].gt_instances
            samples[k].gt_instances = InstanceData(
                bboxes=instances.bboxes[:0],
                labels=instances.labels[:0],
                masks=PolygonMasks([], HEIGHT, WIDTH),
            )
        if without != 'instances':
            proposals[k] = InstanceData(bboxes=torch.zeros(0, 4))
    head = build(**options)
    x = [feat.requires_grad_() for feat in x]
    losses = head.loss(x, proposals, samples)
    if pictures == 2 and without != 'proposals':
        assert all(loss == 0 for loss in losses.values())
    else:
        assert losses['loss_mask'] > 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    assert all(feat.grad is not None for feat in x[:3])


def test_bfloat16_features(x, samples, results):
    head = build()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = [feat.bfloat16() for feat in x]
        losses = head.loss(half, proposals_of(samples), samples)
        found = head.predict(half, results, samples)
    assert all(loss.isfinite() for loss in losses.values())
    expected = head.loss(x, proposals_of(samples), samples)
    torch.testing.assert_close(
        losses['loss_mask'].float(), expected['loss_mask'], atol=0.05, rtol=0.05
    )
    assert found[0].masks.probabilities.dtype == torch.float32


# -- prediction -------------------------------------------------------------------------------


def test_masks_and_scores_are_those_of_the_predicted_class(x, samples, results):
    head = build()
    with torch.no_grad():
        found = head.predict(x, results, samples)
        for k in range(2):
            kept = results[k].bboxes[:, 0] < WIDTH
            boxes, labels = results[k].bboxes[kept], results[k].labels[kept]
            rois = torch.cat([torch.full((len(boxes), 1), float(k)), boxes], 1)
            feats = head.mask_roi_extractor(x, rois, torch.tensor([[HEIGHT, WIDTH]] * 2))
            rows = range(len(boxes))
            own = head.mask_head(feats)[rows, labels]
            ious = head.mask_iou_head(feats, own)[rows, labels]
            torch.testing.assert_close(found[k].masks.probabilities, own.sigmoid())
            assert torch.equal(found[k].scores, results[k].scores[kept])
            assert torch.equal(found[k].labels, labels)
            torch.testing.assert_close(found[k].mask_scores, found[k].scores * ious)


def test_boxes_are_clipped_and_empty_ones_removed(x, samples, results):
    found = build().predict(x, results, samples)
    expected = torch.tensor([[12.3, 8.2, 58.0, 51.9], [0.0, 0.0, WIDTH, HEIGHT]])
    assert torch.equal(found[0].bboxes, expected)
    assert torch.equal(found[0].masks.boxes, expected)
    assert found[0].masks.rule == 'half_pixel'
    assert found[0].scores.tolist() == pytest.approx([0.9, 0.6])
    assert len(found[0].masks) == len(found[0].mask_scores) == 2


def test_the_original_leaves_boxes_alone(x, samples, results):
    found = build(**ORIGINAL).predict(x, results, samples)
    for before, after in zip(results, found):
        assert torch.equal(after.bboxes, before.bboxes)
        assert torch.equal(after.masks.boxes, before.bboxes)
        assert after.masks.rule == 'integer_box'
        assert len(after.masks.to_rle()) == len(before)


def test_inclusive_boxes_are_clipped_to_the_last_pixel(x, samples, results):
    found = build(inclusive_boxes=True).predict(x, results, samples)
    assert found[0].bboxes[1].tolist() == [0, 0, WIDTH - 1, HEIGHT - 1]


@FLAVOURS
def test_rescale(x, samples, results, options):
    """The second picture is twice as large: boxes before clipping are, and masks are its size."""
    head = build(**options)
    plain = head.predict(x, results, samples, rescale=False)
    rescaled = head.predict(x, results, samples, rescale=True)
    assert torch.equal(plain[0].bboxes, rescaled[0].bboxes)
    torch.testing.assert_close(rescaled[1].bboxes, plain[1].bboxes * 2)
    assert torch.equal(rescaled[1].mask_scores, plain[1].mask_scores)
    assert torch.equal(rescaled[1].masks.probabilities, plain[1].masks.probabilities)
    assert plain[1].masks.to_ndarray().shape[1:] == (HEIGHT, WIDTH)
    masks = rescaled[1].masks
    assert isinstance(masks, BoxMaskInstances)
    assert masks.to_ndarray().shape[1:] == (2 * HEIGHT, 2 * WIDTH)
    for rle, (x1, y1, x2, y2) in zip(masks.to_rle(), masks.boxes.tolist()):
        left, top, width, height = coco_mask.toBbox(rle)
        assert width > 0
        assert left >= x1 - 2
        assert top >= y1 - 2
        assert left + width <= x2 + 3
        assert top + height <= y2 + 3


@FLAVOURS
def test_a_batch_is_its_single_pictures(x, samples, results, options):
    head = build(**options)
    with torch.no_grad():
        both = head.predict(x, results, samples)
        for k in range(2):
            feats = [feat[k, None] for feat in x]
            single = head.predict(feats, [results[k]], [samples[k]])[0]
            torch.testing.assert_close(single.mask_scores, both[k].mask_scores)
            assert single.masks.to_rle() == both[k].masks.to_rle()


@pytest.mark.parametrize('pictures', [1, 2])
@pytest.mark.parametrize('rescale', [False, True])
def test_no_detection(x, samples, results, pictures, rescale):
    results = empty(results[:pictures]) + results[pictures:]
    found = build().predict(x, results, samples, rescale=rescale)
    assert len(found) == 2
    assert len(found[0]) == len(found[0].masks) == len(found[0].mask_scores) == 0
    assert found[0].bboxes.shape == (0, 4)
    assert found[0].masks.to_rle() == []
    assert len(found[1]) == (2 if pictures == 1 else 0)


def test_prediction_without_mask_scoring(x, samples, results):
    found = build(scoring=False).predict(x, results, samples)
    assert 'mask_scores' not in found[0]
    assert len(found[1].masks) == 2


def test_class_agnostic(x, samples, results):
    head = build(mask_head=dict(class_agnostic=True))
    losses = head.loss(x, proposals_of(samples), samples)
    assert losses['loss_mask'] > 0
    assert len(head.predict(x, results, samples)[1].masks) == 2


def test_threshold(x, samples, results):
    strict = build(test_cfg=dict(mask_thr_binary=0.9)).predict(x, results, samples)[0].masks
    assert strict.threshold == 0.9
    assert len(strict.to_rle()) == 2
